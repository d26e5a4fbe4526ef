package election

import (
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// A Machine decides who campaigns, when, and with what lease. It is pure: it
// has no clock, no randomness and no I/O. What happens is handed in by Step,
// with the time and the facts of that moment; Step returns what to do.
//
// It waits for one operation on the bucket at a time: for the input Fetched,
// Written or Released with the ID of the newest action Read, Write or Release.
// That must come, at the latest after a time-out, and says so if the outcome of a
// write is unknown. With a new connection the machine gives up waiting and asks
// again: the answer may have gone to the old one.
//
//	state       input                       what follows
//	looking     Fetched                     following, or looking again after a pause
//	following   Told, Fetched               the lease is another's: wait; given back, ours, void: an attempt soon
//	following   Closed, of the holder       an attempt after TakeOver
//	following   nothing told for 3 s        looking
//	following   attempt due                 bidding: Write
//	bidding     Written: stored             leading: Begin
//	bidding     Written: conflict           following: another was first
//	bidding     Written: unknown            looking
//	leading     renewal due                 Write: stored extends the lease, counted from before it was sent
//	leading     Online, a standstill        Hold, and a renewal at once
//	leading     Written: conflict           reconciling: Read
//	reconciling Fetched: ours               leading: an acknowledgement was lost
//	reconciling Fetched: nothing            leading: Write into the bucket that lost its memory, 1.5 s after a break
//	leading, …  another's lease, lease over following, after a pause: End
//	leading, …  StepDown                    End, then Release, then looking
type Machine struct {
	node   subjects.NodeID
	boot   string
	chance func(time.Duration) time.Duration // uniform in [0, d)

	now   time.Time // of this step…
	last  time.Time // …and of the one before
	facts Facts
	out   []Action

	begun  bool
	seen   seen
	closed closedConns
	op     operation // under way
	id     uint64    // of the newest operation
	bid    tenure    // while bidding
	term   *tenure   // not nil while this manager leads
	own    uint64    // the newest revision that is known to be this process's
	give   bool      // the lease is to be released when the operation under way is over

	lookAt    time.Time // when to look anew; zero: not planned
	silentAt  time.Time // when to look anew unless something is told
	attemptAt time.Time // when to try to win; zero: not before something is told
	askAt     time.Time // when to ask for the holder's connection; zero: never
}

// operation is what is under way with the bucket.
type operation int

const (
	none operation = iota
	looking
	bidding
	renewing
	reconciling // reads what is stored after a conflict
	rewriting   // writes a lease into the bucket that had lost it
	releasing
)

// A tenure is the term that a machine holds.
type tenure struct {
	epoch, first uint64
	ceiling      uint64
	sent         time.Time // when the newest write was sent
	claim        uint64    // its ceiling
	stood        bool      // its process stood still, and nothing was stored since
	doubt        time.Time // when it went on, or had a connection after longAway, if nothing was stored since; else zero
	until        time.Time // the local lease
	renewAt      time.Time
}

// seen is the newest state of the lease that was told.
type seen struct {
	revision uint64
	held     bool
	lease    *subjects.Lease // the holder's, empty if it cannot be true
	last     *subjects.Lease // the last true one, also after it has gone

	told    []entry   // the newest, in the order in which they were first told
	changed time.Time // when the last of them was
	missed  time.Time // since when nothing is stored, not even that it was given back; zero: something is, or that is not known
	lapsed  bool      // the bucket could not be read after it was empty: another manager may have won, and the bucket been lost, meanwhile
}

// An entry is one write to the bucket, also when the bucket was made anew.
type entry struct {
	revision uint64
	created  time.Time
}

const maxTold = 32 // entries that are remembered; one that is forgotten counts as new

// saw notes that x was told now, unless it was told before: a copy that is behind may tell
// an older entry again, which is no sign of life. Since what was told before is at least as
// old as the newest, whatever is written over has been known since changed or longer.
func (s *seen) saw(x entry, now time.Time) {
	if slices.Contains(s.told, x) {
		return
	}
	if len(s.told) >= maxTold {
		s.told = slices.Delete(s.told, 0, 1)
	}
	s.told, s.changed = append(s.told, x), now
}

// NewMachine makes the machine of the process boot of node. chance draws a time
// from [0, d). Its first input is Woken.
func NewMachine(node subjects.NodeID, boot string, chance func(d time.Duration) time.Duration) *Machine {
	return &Machine{node: node, boot: boot, chance: chance}
}

// Step takes one input and returns what to do, in order. now must not go back.
func (m *Machine) Step(in Input, f Facts, now time.Time) []Action {
	m.last, m.now, m.facts, m.out = m.now, now, f, nil
	if m.term != nil && now.Sub(m.last) > standstill {
		m.term.stood = true
		m.confirm()
	}
	if !m.begun {
		m.begun, m.lookAt = true, now
	}
	switch x := in.(type) {
	case Told:
		m.told(x.Entry)
	case Fetched:
		if m.awaits(x.ID) {
			m.fetched(x)
		}
	case Written:
		if m.awaits(x.ID) {
			m.written(x)
		}
	case Released:
		if m.awaits(x.ID) {
			m.released()
		}
	case Closed:
		m.closed.add(link(x))
		if m.term == nil && m.holderDisconnected() {
			m.plan()
		}
	case Online:
		m.online()
	case StepDown:
		m.stepDown()
	case Woken:
	}
	m.advance()
	return m.out
}

// Next is when the machine is to be woken unless something happens before; zero:
// it waits for the operation under way.
func (m *Machine) Next() time.Time {
	if m.term != nil {
		if m.op != none {
			return earliest(m.term.until, m.now.Add(RenewEvery)) // so that a standstill can be told
		}
		return earliest(m.term.until, m.term.renewAt)
	}
	if m.op != none {
		return time.Time{}
	}
	return earliest(earliest(m.lookAt, m.askAt), earliest(m.silentAt, m.attemptAt))
}

// awaits reports whether the result of operation id is waited for.
func (m *Machine) awaits(id uint64) bool { return m.op != none && id == m.id }

// begin notes that an operation is under way, and returns its ID.
func (m *Machine) begin(op operation) uint64 {
	m.op = op
	m.id++
	return m.id
}

// online begins anew on a new connection.
func (m *Machine) online() {
	switch op := m.op; {
	case m.term != nil:
		m.op = none
		m.confirm()
	case op == looking, op == bidding:
		m.op = none
		m.lookAt = m.now
	}
}

// confirm has the lease renewed at once, before anything is published. Whether
// another manager holds it by now is open for as long as that takes after a
// standstill. After a new connection alone the lease counts soon: while JetStream
// comes back with its brokers, nothing would be published otherwise. But if it was not stored
// for long, members are heard first: they know who led meanwhile.
func (m *Machine) confirm() {
	t := m.term
	t.renewAt = m.now
	sure := t.until.Add(-LocalLease)
	until := m.now.Add(confirmWait)
	if t.stood || m.now.Sub(sure) > longAway {
		t.doubt = m.now
		until = m.now.Add(listenFor)
	}
	if t.stood {
		until = t.until
	}
	m.do(Hold{Until: until, Sure: sure})
}

// Busy reports whether an operation is under way.
func (m *Machine) Busy() bool { return m.op != none }

// earliest is the earlier of two times that are zero when they are never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (m *Machine) do(a Action) { m.out = append(m.out, a) }

func due(at, now time.Time) bool { return !at.IsZero() && !now.Before(at) }

// advance does what is due.
func (m *Machine) advance() {
	switch {
	case m.term != nil:
		m.rule()
		return
	case m.op != none:
		return
	case due(m.lookAt, m.now), due(m.silentAt, m.now):
		m.look(looking)
		return
	}
	if due(m.askAt, m.now) {
		m.ask()
	}
	if due(m.attemptAt, m.now) {
		m.attempt()
	}
}

// look begins anew from what is stored now. A bucket that was made anew, or lost
// its memory in a restart of all brokers, has other revisions than the old one
// told: only the last lease is remembered, for its epoch.
func (m *Machine) look(op operation) {
	m.seen.revision, m.seen.held = 0, false
	id := m.begin(op)
	m.lookAt, m.attemptAt, m.askAt = time.Time{}, time.Time{}, time.Time{}
	m.silentAt = m.now.Add(silentWatch)
	m.do(Read{id})
}

// again looks anew after a pause.
func (m *Machine) again() {
	m.lookAt = m.now.Add(retryEvery + m.chance(retryEvery))
	m.silentAt, m.attemptAt, m.askAt = time.Time{}, time.Time{}, time.Time{}
}

// fetched takes what is stored, or that this could not be learnt.
func (m *Machine) fetched(x Fetched) {
	op := m.op
	m.op = none
	if m.give {
		m.release()
		return
	}
	if x.Err != nil {
		if op == reconciling && m.term != nil {
			m.end(fmt.Sprintf("the lease met another revision, and what is stored is unknown: %v", x.Err))
			return
		}
		if !m.seen.missed.IsZero() {
			m.seen.missed, m.seen.lapsed = time.Time{}, true
		}
		m.do(Failed{x.Err})
		m.again()
		return
	}
	if x.Entry != nil {
		m.note(x.Entry)
	} else if m.seen.revision == 0 && m.seen.missed.IsZero() {
		m.seen.missed = m.now
	}
	if op == reconciling && m.term != nil {
		m.reconcile()
		return
	}
	m.silentAt = m.now.Add(silentWatch)
	if m.plan(); !m.askAt.IsZero() {
		m.askAt = m.now // that the holder's connection ended may have been told before this process heard
	}
}

// told takes one write to the lease.
func (m *Machine) told(e *Entry) {
	if e.Revision < m.seen.revision {
		return // of a copy that is behind
	}
	m.note(e)
	switch {
	case m.term == nil:
		m.silentAt = m.now.Add(silentWatch)
		m.plan()
	case m.op != reconciling && !m.mine(m.term.epoch):
		m.end(fmt.Sprintf("revision %d replaced our %d", e.Revision, m.own))
	}
}

// note takes one entry into seen.
func (m *Machine) note(e *Entry) {
	s := &m.seen
	if e.Revision < s.revision {
		return
	}
	s.revision, s.missed, s.lapsed = e.Revision, time.Time{}, false
	s.saw(entry{e.Revision, e.Created}, m.now)
	s.held = e.Held
	if !s.held {
		return
	}
	l, err := subjects.ParseLease(e.Value)
	if err == nil {
		err = m.plausible(l)
	}
	if err != nil {
		m.do(Absurd{err})
		s.lease = &subjects.Lease{} // it has its time like any other
		return
	}
	s.lease, s.last = l, l
	if l.Boot == m.boot && l.Manager == m.node {
		m.own = e.Revision
	}
}

// plausible refuses a lease whose numbers no history of this network can have
// led to.
func (m *Machine) plausible(l *subjects.Lease) error {
	known := m.facts.Known
	if err := (subjects.Mark{Epoch: l.Epoch, Generation: l.Ceiling}).Follows(known); err != nil {
		return &subjects.BadMessage{Code: subjects.CodeAbsurd, Detail: fmt.Sprintf(
			"lease of %s with epoch %d and ceiling %d, known are %d and %d", l.Manager, l.Epoch, l.Ceiling, known.Epoch, known.Generation)}
	}
	return nil
}
