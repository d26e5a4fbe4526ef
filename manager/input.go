package manager

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"thor/manager/membership"
	"thor/subjects"
)

// take feeds one message to the table.
func (m *Manager) take(msg *nats.Msg, now time.Time) {
	var err error
	switch msg.Subject {
	case subjects.Disconnect:
		err = m.disconnect(msg.Data, now)
	case subjects.CutNode:
		var c *subjects.Cut
		if c, err = subjects.ParseCut(msg.Data); err == nil {
			m.cutOff(c)
		}
	case subjects.RevokedNode:
		var r *subjects.Revoked
		if r, err = subjects.ParseRevoked(msg.Data); err == nil {
			m.log.Warn().Str("peer", string(r.Node)).Str("event", "revoked").Msg("certificate revoked")
			m.table.Revoked(r.Node, r.Boot, r.Serial, now)
		}
	default:
		if strings.HasPrefix(msg.Subject, identityPrefix) {
			err = m.identity(msg, now)
			break
		}
		var a *subjects.Announcement
		if a, err = subjects.ParseAnnouncement(msg.Subject, msg.Data); err == nil {
			m.metrics.announcements.Inc()
			m.acceptClaim(a, now)
			err = m.table.Announce(a, now)
		}
	}
	if err != nil {
		m.refuse(msg.Subject, err, now)
	}
}

// cutOff tells the history of a client that a broker cut off. The broker has
// logged it, and refuses a node soon that goes on.
func (m *Manager) cutOff(c *subjects.Cut) {
	if m.lead == nil {
		return
	}
	detail := c.Reason
	if c.Refused > 0 {
		detail += fmt.Sprintf("; the broker refuses it for %d s", c.Refused)
	}
	m.lead.events = append(m.lead.events, subjects.Event{Kind: subjects.EventCut, Node: c.Node, Detail: detail})
}

// disconnectEvent is the part of the NATS server's event that matters.
type disconnectEvent struct {
	Server struct {
		Name string `json:"name"`
	} `json:"server"`
	Client struct {
		ID   uint64 `json:"id"`
		User string `json:"user"`
		Name string `json:"name"`
	} `json:"client"`
	Reason string `json:"reason"`
}

func (m *Manager) disconnect(b []byte, now time.Time) error {
	var e disconnectEvent
	if err := json.Unmarshal(b, &e); err != nil {
		return &subjects.BadMessage{Code: subjects.CodeJSON, Detail: "disconnect event: " + subjects.Printable(err.Error(), 100)}
	}
	node, err := subjects.ParseNodeID(e.Client.User)
	if err != nil {
		return nil // a connection of the broker itself
	}
	via := fmt.Sprintf("%s#%d", e.Server.Name, e.Client.ID)
	m.table.Disconnect(membership.Disconnect{Node: node, Boot: e.Client.Name, Via: via, Reason: e.Reason}, now)
	m.elect.Disconnected(e.Client.Name, via)
	return nil
}

// rejects limits what is said about dropped messages to one line a second.
type rejects struct {
	last    time.Time
	silence int
}

func (m *Manager) refuse(subject string, err error, now time.Time) {
	code := subjects.CodeOf(err)
	m.metrics.rejected.WithLabelValues(string(code)).Inc()
	if code == subjects.CodeReplay { // normal after a reconnect
		return
	}
	if now.Sub(m.reject.last) < time.Second {
		m.reject.silence++
		return
	}
	m.reject.last = now
	m.log.Warn().Str("subject", subjects.Printable(subject, 160)).Str("event", "rejected").Int("more", m.reject.silence).Err(err).Msg("message dropped")
	m.reject.silence = 0
	if r := m.lead; r != nil {
		role, node, _ := subjects.ParsePresence(subject) // empty names where the subject is none
		r.events = append(r.events, subjects.Event{Kind: subjects.EventRejected, Role: role, Node: node, Detail: err.Error()})
	}
}

// answer replies to a request for the snapshot with what this manager holds.
func (m *Manager) answer(msg *nats.Msg) {
	if subjects.CheckReply(msg.Subject, msg.Reply) != nil {
		return
	}
	h := m.newest.Load()
	if !m.asked.allow(msg.Reply, h.size(), time.Now()) {
		m.metrics.unanswered.Inc()
		return
	}
	r, err := subjects.ParseSnapshotRequest(msg.Data)
	if err != nil {
		m.replyError(msg.Reply, subjects.ErrorBad, err.Error())
		return
	}
	if h == nil || r.AtLeast != nil && r.AtLeast.After(h.status.Mark()) {
		m.replyError(msg.Reply, subjects.ErrorBehind, "this manager does not hold that status yet")
		return
	}
	for _, c := range h.chunks() {
		out := nats.NewMsg(msg.Reply)
		out.Data = c.Data
		for k, v := range c.Header {
			out.Header.Set(k, v)
		}
		m.publish(out)
	}
}

func (m *Manager) replyError(reply string, code subjects.ErrorCode, text string) {
	out := nats.NewMsg(reply)
	out.Header.Set(subjects.HeaderError, string(code))
	out.Data = []byte(text)
	m.publish(out)
}

// publish sends one message; a broken connection is the overlay's to report and mend.
func (m *Manager) publish(msg *nats.Msg) {
	if err := m.cfg.Overlay.Conn().PublishMsg(msg); err != nil {
		m.log.Debug().Err(err).Str("subject", msg.Subject).Msg("not published")
	}
}
