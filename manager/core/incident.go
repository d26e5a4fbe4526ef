package core

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// Brokers pass a message over one route at most. With the link of two sites cut, a manager in
// one does not hear the other, although a third hears both. So the active manager asks the
// others what they hear before a silent site is taken for lost, and gives way to one that
// hears it (ADR 71).
const (
	inquireBefore = 3 * time.Second  // before the members of a silent site may go
	inquireAgain  = 5 * time.Second  // after an answer that the site is heard
	heardFor      = 15 * time.Second // so long such an answer counts: one that is lost does not undo it
	leadAtLeast   = time.Minute      // before this manager gives way for that: in the whole network it happens no more often
)

// An inquiry is the question what other managers hear.
type inquiry struct {
	began   time.Time
	again   bool // those that did not answer were asked once more
	waits   map[subjects.NodeID]bool
	answers map[subjects.NodeID]*subjects.Hearing
}

func (q *inquiry) over(now time.Time) bool {
	return len(q.waits) == 0 || now.Sub(q.began) >= AnswerWithin // who has not answered is asked once more, and then does not count
}

// heard is the manager that hears site and the most nodes; "": none hears it.
func (q *inquiry) heard(site subjects.Site) (best subjects.NodeID) {
	for _, id := range slices.Sorted(maps.Keys(q.answers)) {
		if h := q.answers[id]; h.Hears(site) && (best == "" || h.Heard > q.answers[best].Heard) {
			best = id
		}
	}
	return best
}

// doubted are the silent sites of which others are to be asked now, or could not be asked
// with another result yet.
func (m *Manager) doubted(now time.Time) (out []membership.Incident) {
	for _, i := range m.table.Incidents() {
		if !i.Cleared && !now.Before(i.Due.Add(-inquireBefore)) {
			out = append(out, i)
		}
	}
	return out
}

// inquire asks the other managers about silent sites, and acts when they have answered. It
// reports whether this manager gave way to one that hears more.
func (m *Manager) inquire(now time.Time) (gaveWay bool) {
	r := m.lead
	sites := m.doubted(now)
	switch {
	case len(sites) == 0:
		r.inquiry = nil
	case r.inquiry == nil && now.Sub(r.inquired) >= inquireAgain:
		m.beginInquiry(now)
	}
	q := r.inquiry
	if q == nil || !q.over(now) || m.askAgain(q, sites, now) {
		return false
	}
	r.inquiry, r.inquired = nil, now
	for _, i := range sites {
		id := q.heard(i.Site)
		at, before := r.elsewhere[i.Site]
		before = before && now.Sub(at) < heardFor
		if id == "" {
			if !before {
				m.table.Clear(i.Site, now)
			}
			continue
		}
		r.elsewhere[i.Site] = now
		if !before { // else it was told
			m.note(Warn, "site heard by another manager, its members stay", "site", Field{"site", string(i.Site)}, Field{"peer", string(id)})
		}
		if q.answers[id].Heard > m.table.Hears().Heard && now.Sub(r.began) >= leadAtLeast {
			m.giveWay(id, i.Site, now)
			return true
		}
	}
	return false
}

func (m *Manager) beginInquiry(now time.Time) {
	q := &inquiry{began: now, waits: make(map[subjects.NodeID]bool), answers: make(map[subjects.NodeID]*subjects.Hearing)}
	for _, o := range m.lead.status.Roles[subjects.Manager] {
		if o.Node != m.cfg.Node {
			q.waits[o.Node] = true
			m.emit(AskHearing{o.Node})
		}
	}
	m.lead.inquiry = q
}

// askAgain asks those once more that did not answer q, if there are any: one that stood still for a
// moment may hear a site. Managers of the silent sites cannot answer.
func (m *Manager) askAgain(q *inquiry, silent []membership.Incident, now time.Time) bool {
	if q.again {
		return false
	}
	for _, o := range m.lead.status.Roles[subjects.Manager] {
		if q.waits[o.Node] && !slices.ContainsFunc(silent, func(i membership.Incident) bool { return i.Site == o.Site }) {
			q.began, q.again = now, true
			m.emit(AskHearing{o.Node})
		}
	}
	return q.again
}

// Heard takes what another manager hears, nil if it did not say.
func (m *Manager) Heard(node subjects.NodeID, h *subjects.Hearing) {
	if m.lead == nil {
		return
	}
	if q := m.lead.inquiry; q == nil || !q.waits[node] {
		return
	} else if delete(q.waits, node); h != nil {
		q.answers[node] = h
	}
}

// giveWay ends the leadership in favour of a manager that hears site: this one does not, and
// so comes last in the election that follows, see Handicap.
func (m *Manager) giveWay(to subjects.NodeID, site subjects.Site, now time.Time) {
	m.tellEvent(subjects.Event{Kind: subjects.EventResigned, Role: subjects.Manager, Node: m.cfg.Node, Detail: fmt.Sprintf("%s hears site %s", to, site)}, now)
	m.emit(StepDown{})
	m.loseLead(fmt.Sprintf("%s hears site %s, this manager does not", to, site))
}

// nextInquiry is when inquire has something to do.
func (m *Manager) nextInquiry() (next time.Time, ok bool) {
	switch r := m.lead; {
	case r.inquiry != nil:
		return r.inquiry.began.Add(AnswerWithin), true
	default:
		for _, i := range m.table.Incidents() {
			if at := i.Due.Add(-inquireBefore); !i.Cleared && (!ok || at.Before(next)) {
				next, ok = at, true
			}
		}
		if again := r.inquired.Add(inquireAgain); again.After(next) {
			next = again
		}
		return next, ok
	}
}

// Handicap is how many places further down in an election a manager is that hears nothing of
// some site: one that hears more is to lead. The fewer nodes it hears, the more; one that
// hears all sites has none. Between the two lies the time for a round trip.
func Handicap(h *subjects.Hearing) int {
	if h.Whole() {
		return 0
	}
	return handicap + handicap*(h.Nodes-h.Heard)/cmp.Or(h.Nodes, 1)
}

const handicap = 10
