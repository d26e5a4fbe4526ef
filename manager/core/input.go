package core

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// Announce takes what a member says of itself; a belongs to the manager from now on.
func (m *Manager) Announce(a *subjects.Announcement, now time.Time) {
	m.acceptClaim(a, now)
	if a.Role == subjects.Manager {
		m.askManager(a.Node, true, now)
	}
	role, node, leaves := a.Role, a.Node, a.State == subjects.Leave
	if err := m.table.Announce(a, now); err != nil {
		m.Refuse(subjects.Presence(role, node), err, now)
		return
	}
	if !leaves {
		m.heard[role] = now
	}
}

// Disconnect takes a broker's word that a connection ended.
func (m *Manager) Disconnect(d membership.Disconnect, now time.Time) { m.table.Disconnect(d, now) }

// BrokerAlone takes a broker's word that it is cut off from the others, or no longer.
func (m *Manager) BrokerAlone(n *subjects.BrokerNotice, now time.Time) {
	m.table.Alone(n.Broker, n.Alone, now)
}

// Revoked takes a broker's word that it ended a connection whose certificate is revoked.
func (m *Manager) Revoked(r *subjects.Revoked, now time.Time) {
	m.table.Revoked(r.Node, r.Boot, r.Serial, now)
}

// Cut takes a broker's word that it cut a client off. The broker has logged it,
// and soon refuses a node that goes on; here it goes into the history.
func (m *Manager) Cut(c *subjects.Cut) {
	detail := c.Reason
	if c.Refused > 0 {
		detail += fmt.Sprintf("; the broker refuses it for %d s", c.Refused)
	}
	m.event(subjects.Event{Kind: subjects.EventCut, Node: c.Node, Detail: detail})
}

// askedEvery is the least time between two entries of the history about the same
// request of the same operator.
const askedEvery = 10 * time.Second

const maxAsked = 1000 // within askedEvery

// Asked takes note that an operator asked a node to drain, or to end that: it goes
// into the history, as what the node does then. The history has room for so much:
// what is asked again at once, or of a node that is no member, is left out.
func (m *Manager) Asked(r subjects.RequestSubject, now time.Time) {
	if m.lead == nil || !names(m.lead.status, r.Node) {
		return
	}
	if at, again := m.lead.asked[r]; again && now.Sub(at) < askedEvery {
		return
	}
	maps.DeleteFunc(m.lead.asked, func(_ subjects.RequestSubject, at time.Time) bool { return now.Sub(at) >= askedEvery })
	if len(m.lead.asked) >= maxAsked {
		return
	}
	m.lead.asked[r] = now
	e := subjects.Event{Kind: subjects.EventDrain, Node: r.Node, Role: r.Role, By: r.Sender, Detail: "asked for by " + string(r.Sender)}
	if r.Verb == subjects.VerbResume {
		e.Kind = subjects.EventResume
	}
	if e.Role == subjects.Agent {
		e.Role = ""
	}
	m.event(e)
}

// names reports whether s lists node, as a member or as lost.
func names(s *subjects.Status, node subjects.NodeID) bool {
	for role := range s.Roles {
		if s.Member(role, node) != nil {
			return true
		}
	}
	return slices.ContainsFunc(s.Lost, func(l subjects.Lost) bool { return l.Node == node })
}

// event has e told at the next Step, if this manager leads.
func (m *Manager) event(e subjects.Event) {
	if m.lead != nil {
		m.lead.events = append(m.lead.events, e)
	}
}

// rejects limits what is said about dropped messages to one line a second.
type rejects struct {
	last time.Time
	more int
}

// Refuse takes note that a message on subject was dropped, with a BadMessage
// that says why.
func (m *Manager) Refuse(subject string, err error, now time.Time) {
	code := subjects.CodeOf(err)
	m.emit(Rejected{code})
	if code == subjects.CodeReplay { // normal after a reconnect
		return
	}
	if now.Sub(m.reject.last) < time.Second {
		m.reject.more++
		return
	}
	m.reject.last = now
	m.note(Warn, "message dropped", "rejected",
		Field{"subject", subjects.Printable(subject, 160)}, Field{"more", m.reject.more}, Field{"error", err})
	m.reject.more = 0
	role, node, _ := subjects.ParsePresence(subject) // empty names where the subject is none
	m.event(subjects.Event{Kind: subjects.EventRejected, Role: role, Node: node, Detail: err.Error()})
}
