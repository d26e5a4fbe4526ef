package core

import (
	"time"

	"thor/manager/membership"
	"thor/overlay/lookup"
	"thor/subjects"
)

// The rhythm of a manager.
const (
	tickEvery    = time.Second
	coalesce     = 20 * time.Millisecond // changes that follow closely share a generation
	viewEvery    = 5 * time.Second       // each role's list is repeated
	viewEveryBig = 30 * time.Second      // above bigNetwork members
	bigNetwork   = 200
	viewApart    = 100 * time.Millisecond // between repetitions of two roles
	claimsEvery  = time.Minute
	standstill   = 1500 * time.Millisecond // a longer gap between two steps: this process stood still
	backlog      = 500 * time.Millisecond  // what it heard meanwhile is read within this
	tellGap      = 2 * tickEvery           // a longer pause between two ticks: they may have been held up
	awayLong     = time.Second             // so long without a connection, others may have led, and what was known is the past
	compareLater = 100 * time.Millisecond  // a standby makes its tables after a change: name servers act on it meanwhile…
	compareApart = time.Second             // …and not more often: in a storm they are most of what it does
)

// Config says who the manager is.
type Config struct {
	Domain string
	Node   subjects.NodeID
	// Membership; its Domain, NodeHash and Identities are set by New.
	Membership membership.Config
	// SlotBits is log2 of the slots in a role's lookup table, 0 for no table.
	SlotBits func(subjects.Role) int
	// Known is the greatest epoch and generation that the own disk has.
	Known subjects.Mark
}

// A Manager is the state of one manager. It is not safe for concurrent use.
type Manager struct {
	cfg       Config
	table     *membership.Table
	tables    *tables
	marks     marks
	claims    claims
	certified certified
	reject    rejects
	lead      *leadership // not nil while this manager leads
	newest    *Held       // the newest status that is known
	standing  Standing    // as announced
	offline   bool
	out       []Output

	started   time.Time // of the first Step
	stepped   time.Time // of the last
	resumed   time.Time // when this process went on that had stood still
	wentAway  time.Time // when the connection ended last
	returned  time.Time // when there was one again, after so long that others may have led meanwhile
	confirmed time.Time // when newest was last known to be the current status; zero: never
	told      time.Time // when the tracker was last told that a status is the current one
	lagged    time.Time // when it was for the first time after a pause
	overtaken bool      // a later status was announced than newest
	seek      *seek     // not nil while the newest status is searched for
	sought    time.Time // when that ended last

	wantedAt    time.Time        // when full announcements were asked for last
	claimsActed time.Time        // when marks above ours last had an effect
	uncompared  *subjects.Status // another's, whose tables are not compared yet…
	compareAt   time.Time        // …and will be then
	comparedAt  time.Time        // when tables were compared last
	conflicts   []conflict       // of newest, if it is another's, with the configuration
	heard       map[subjects.Role]time.Time
}

// New makes a manager that knows nothing but cfg.
func New(cfg Config) *Manager {
	cfg.Membership.Domain = cfg.Domain
	cfg.Membership.NodeHash = lookup.Hash[subjects.NodeID]
	cfg.Membership.Identities = true
	m := &Manager{cfg: cfg, table: membership.New(cfg.Membership), claims: make(claims), heard: make(map[subjects.Role]time.Time)}
	m.tables = newTables(cfg.SlotBits, m.note)
	m.marks.confirm(cfg.Known)
	return m
}

// Outputs are what is to be done since the last call, in order.
func (m *Manager) Outputs() []Output {
	out := m.out
	m.out = nil
	return out
}

func (m *Manager) emit(o Output) { m.out = append(m.out, o) }

func (m *Manager) note(level Level, text, event string, fields ...Field) {
	m.emit(Note{Level: level, Text: text, Event: event, Fields: fields})
}

// Known is the greatest mark known, claims included.
func (m *Manager) Known() subjects.Mark { return m.marks.known }

// MayLead reports whether what is in service does not conflict with the configuration.
func (m *Manager) MayLead() bool { return m.standing.Hold == "" }

// Leads reports whether this manager leads.
func (m *Manager) Leads() bool { return m.lead != nil }

// Guards are the guards that hold removals back, for metrics.
func (m *Manager) Guards() []membership.Guard { return m.table.Guards() }

// Online says whether there is a connection to a broker. What was sent while
// there was none is lost (guard G4).
func (m *Manager) Online(up bool, now time.Time) {
	if up == !m.offline {
		return
	}
	m.offline = !up
	if !up {
		m.wentAway = now
		if at := m.confirmed.Add(tickEvery); m.lead == nil && at.Before(now) { // nothing came through it any more, before that was noticed
			m.wentAway = at
		}
	} else {
		if now.Sub(m.wentAway) > awayLong {
			m.returned = now
		}
		m.table.Blind(now)
		m.certified.asked = time.Time{}
	}
}

// Missed says that input was lost, since it came faster than it was taken in.
// Beats and ends of connections may be among it (guard G4).
func (m *Manager) Missed(now time.Time) {
	m.table.Missed(now)
	m.certified.missed = true
}

// Step lets time pass and decides what is due.
func (m *Manager) Step(now time.Time) {
	if m.started.IsZero() {
		m.started = now
		if m.confirmed.IsZero() {
			m.beginSeek(now)
		}
	}
	m.noteStandstill(now)
	m.certify(now)
	m.table.Advance(now)
	m.stepSeek(now)
	m.askAnnouncements(now)
	if m.lead == nil {
		m.table.Events() // the active manager tells them
		m.table.Duplicates()
		m.compare(now)
		m.judgeConflicts(now)
		return
	}
	m.stepLead(now)
}

// noteStandstill finds out that this process stood still: what it hears at first
// then had waited for it, and does not tell the present.
func (m *Manager) noteStandstill(now time.Time) {
	last := m.stepped
	if m.stepped = now; last.IsZero() || now.Sub(last) <= standstill {
		return
	}
	m.resumed = now
	if m.confirmed.After(last) {
		m.confirmed = last
	}
}

// Next is when Step is to be called at the latest. Before the first Step it is
// the zero time.
func (m *Manager) Next() time.Time {
	next := m.table.Next()
	if next.IsZero() {
		return next
	}
	at := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	if !m.offline {
		at(m.nextAsk())
		if m.table.Wanted() > 0 {
			at(m.wantedAt.Add(askPause))
		}
	}
	if m.table.FactsRevision() != m.certified.kept {
		at(m.certified.written.Add(keepFacts))
	}
	if m.seek != nil {
		at(m.seekEnd())
		if !m.seek.stored {
			at(m.seek.read.Add(seekAgain))
		}
	}
	switch r := m.lead; {
	case r != nil && r.term.Quiet().After(m.stepped):
		at(r.term.Quiet())
	case r != nil && !m.offline:
		at(r.ticked.Add(tickEvery))
		if next, ok := m.nextInquiry(); ok {
			at(next)
		}
		if r.pending {
			at(r.rhythm.next(m.joinsOnly()))
		}
	case r == nil && m.uncompared != nil:
		at(m.compareAt)
	}
	return next
}

// Follow takes the status that this process's tracker holds, with its encoding:
// the manager begins from it when it is elected. fromDisk says that it is of an
// earlier run and that none has confirmed it.
func (m *Manager) Follow(s *subjects.Status, encoded []byte, fromDisk bool, now time.Time) {
	if s.Only != nil { // all others would be gone
		return
	}
	if m.lead != nil {
		if s.Epoch <= m.lead.epoch {
			return
		}
		m.emit(StepDown{}) // fails harmlessly: the lease is another's
		m.loseLead("a later epoch is told by " + string(s.Manager))
	}
	h := m.newest
	switch {
	case h != nil && h.seed && s.Mark() == h.Status.Mark():
	case h != nil && s.Mark() == h.Status.Mark() && s != h.Status && s.LossesKnown(): // its losses were learnt later
	case h != nil && !s.Mark().After(h.Status.Mark()):
		return
	case h != nil:
		m.noteEpoch(h.Status.Epoch, s.Epoch, now)
	case !fromDisk: // how the network came to this epoch is unknown
		m.claimsActed = now
	}
	m.hold(Hold(s, encoded), now)
}

// hold begins from h, which is another manager's.
func (m *Manager) hold(h *Held, now time.Time) {
	if m.current(now) && !h.seed { // it has replaced the one that was current a moment ago
		h.made = now
	}
	m.newest, m.confirmed = h, time.Time{}
	m.marks.confirm(h.Status.Mark())
	m.table.AdoptAged(h.Status, h.age(now), now)
	m.handleStatus(h.Status, now)
}

// current reports whether the status held is the current one, or was a moment ago.
func (m *Manager) current(now time.Time) bool {
	h := m.newest
	if h == nil {
		return false
	}
	at := m.confirmed
	if h.made.After(at) {
		at = h.made
	}
	return !at.IsZero() && now.Sub(at) <= subjects.MaxAge
}

// Overtaken says whether this process's tracker knows that there is a later status than
// the one that it holds: that one is the past, and is told to none.
func (m *Manager) Overtaken(is bool) { m.overtaken = is }

// Confirm says that the status of this mark was the current one at a time: so this
// process's tracker found, from a tick, a delta or an answer.
//
// Ticks come each second: after a pause the first may have lain at a broker that stood still, and prove
// nothing.
func (m *Manager) Confirm(k subjects.Mark, at time.Time) {
	if at.After(m.told) {
		if !m.told.IsZero() && at.Sub(m.told) > tellGap {
			m.lagged = at
		}
		m.told = at
	}
	if at.Before(m.resumed.Add(backlog)) || at.Before(m.lagged.Add(backlog)) {
		return
	}
	if h := m.newest; h != nil && !h.seed && h.Status.Mark() == k && at.After(m.confirmed) {
		m.confirmed = at
	}
}
