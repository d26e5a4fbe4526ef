package core

import (
	"time"

	"thor/subjects"
)

// AnswerWithin is how long an answer of another manager is waited for.
const AnswerWithin = 1500 * time.Millisecond

// Before a manager leads it has to know what the network told last, or it would
// drop members that a guard keeps and bring back others that left long ago. Its
// tracker knows while another manager leads. Otherwise it asks: the key-value
// store, and each manager that it hears of. The highest of these and of the own
// disk counts. What members say they have seen has no part in it.
const (
	seekHear  = 1300 * time.Millisecond // managers that beat once a second were heard by then
	seekMost  = AnswerWithin            // in all…
	seekHeard = 3 * time.Second         // …but so long for a manager that beats and has not answered: question or answer were lost…
	askApart  = 400 * time.Millisecond  // …and it is asked again so much later
	seekStore = 10 * time.Second        // …but the store is waited for so long: without it there is no election either, and after that only a term that is won begins a search anew
	seekPast  = 10 * time.Second        // …as is a manager with a status, where brokers tell that there was one: it may be on its way from a broker that is cut off
	seekAgain = 500 * time.Millisecond  // until the store is asked again
	seekValid = 30 * time.Second        // what was known so long ago is known well enough
)

// seek is the search for the newest status, and the term that waits for it.
type seek struct {
	start  time.Time                 // when it began
	began  time.Time                 // the same, or when the store answered after all
	read   time.Time                 // when the store was asked last
	stored bool                      // the store has answered
	asked  map[subjects.NodeID]asked // managers

	term         Term // nil: none
	epoch, first uint64
}

// asked is what is known of a manager that is asked.
type asked struct {
	at       time.Time // when, last
	heard    bool      // it beat since
	answered bool
}

// Stored takes what the key-value store holds, nil if nothing is there. A store
// that cannot be read is asked again: until it answers this manager may be in a
// part of the network where it hears no other.
func (m *Manager) Stored(s *subjects.Status, encoded []byte, now time.Time) {
	if k := m.seek; k != nil && !k.stored {
		k.stored = true
		if now.Sub(k.start) > seekAgain { // others may be heard from now on too
			k.began = now
		}
	}
	m.found(s, encoded, now)
}

// Told takes what another manager holds, nil if it did not say, and the greatest mark
// that it is sure of. That may be of a term in which nothing was heard: its process and
// the brokers ended at once.
func (m *Manager) Told(node subjects.NodeID, s *subjects.Status, encoded []byte, known subjects.Mark, now time.Time) {
	if m.seek != nil && known.Claimable(m.marks.confirmed, false) {
		m.marks.confirm(known)
	}
	switch {
	case m.seek == nil:
	case s == nil:
		delete(m.seek.asked, node) // it may have begun a moment ago: it is asked again when it is heard
	default:
		m.seek.asked[node] = asked{at: now, heard: true, answered: true}
	}
	m.found(s, encoded, now)
}

// found takes a status that managers alone can have written or sent.
func (m *Manager) found(s *subjects.Status, encoded []byte, now time.Time) {
	if s == nil || s.Only != nil || m.lead != nil || m.cfg.Domain != "" && s.Domain != "" && s.Domain != m.cfg.Domain {
		return
	}
	if h := m.newest; h == nil || s.Mark().After(h.Status.Mark()) {
		found := Hold(s, encoded)
		found.seed = true
		m.hold(found, now)
	}
	m.askManagers(s, now)
}

// MayCampaign reports whether the first search for what the network told last is
// over, or a status was confirmed since.
func (m *Manager) MayCampaign() bool {
	return m.seek == nil && !m.started.IsZero() || !m.confirmed.IsZero()
}

// knowsPresent reports whether what the network told last is known now, well enough
// to lead.
func (m *Manager) knowsPresent(now time.Time) bool {
	known := m.sought
	if m.confirmed.After(known) {
		known = m.confirmed
	}
	return !known.IsZero() && now.Sub(known) <= seekValid && !known.Before(m.returned)
}

// beginSeek asks the store, and the managers that the newest status lists.
func (m *Manager) beginSeek(now time.Time) {
	m.seek = &seek{start: now, began: now, read: now, asked: make(map[subjects.NodeID]asked)}
	m.emit(ReadStore{})
	if h := m.newest; h != nil {
		m.askManagers(h.Status, now)
	}
}

func (m *Manager) askManagers(s *subjects.Status, now time.Time) {
	for i := range s.Roles[subjects.Manager] {
		m.askManager(s.Roles[subjects.Manager][i].Node, false, now)
	}
}

// askManager asks a manager what it holds, which was heard, or is listed. One that beats and
// does not answer is asked again.
func (m *Manager) askManager(node subjects.NodeID, heard bool, now time.Time) {
	if m.seek == nil || node == m.cfg.Node {
		return
	}
	is, known := m.seek.asked[node]
	again := known && heard && !is.answered && now.Sub(is.at) >= askApart
	if known && !again {
		return
	}
	is.at, is.heard = now, again
	m.seek.asked[node] = is
	m.emit(AskManager{node})
}

// stepSeek ends the search when all have answered, or its time is over.
func (m *Manager) stepSeek(now time.Time) {
	s := m.seek
	if s != nil && m.offline {
		s.start, s.began = now, now // nothing can be learnt
	}
	if s != nil && !s.stored && !now.Before(s.read.Add(seekAgain)) {
		s.read = now
		m.emit(ReadStore{})
	}
	if s == nil || now.Before(m.seekEnd()) && !m.knowsPresent(now) {
		return
	}
	m.seek = nil
	if s.stored || s.term != nil { // else where this manager is, there may have been none to ask
		m.sought = now
	}
	if s.term != nil {
		m.takeUp(s.term, s.epoch, s.first, now)
	}
}

// seekEnd is when the search is over, unless more answers come or are waited for.
func (m *Manager) seekEnd() time.Time {
	s := m.seek
	switch {
	case !s.stored && s.term == nil:
		return s.start.Add(seekStore)
	case m.newest == nil && !m.marks.known.IsZero():
		return s.start.Add(seekPast)
	}
	wait := seekHear
	if !s.stored {
		wait = seekMost
	}
	for _, x := range s.asked {
		switch {
		case x.answered:
		case x.heard:
			wait = max(wait, seekHeard)
		default:
			wait = max(wait, seekMost)
		}
	}
	return s.began.Add(wait)
}
