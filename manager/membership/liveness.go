package membership

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// arm sets m's timer to when m must be looked at next.
func (t *Table) arm(m *member) {
	at := never
	switch {
	case m.cause == alive:
		at = m.last + t.cfg.Dead
	case m.listed: // its role decides
	case m.damping.on:
		at = m.last + t.cfg.MaxHoldDown
	default:
		at = m.last + forgetAfter
	}
	if m.closed.on {
		at = min(at, m.closed.due)
	}
	if m.role.damped[m] {
		at = min(at, m.damping.until())
	}
	if m.late {
		at = min(at, m.nextChange())
	}
	if at <= t.now {
		at = t.now + time.Millisecond
	}
	t.timers.set(&m.timer, at)
}

// wake is what m's timer does. Beats do not touch the timer, so it may find
// that nothing is due yet.
func (t *Table) wake(m *member) {
	if m.late && t.now >= m.nextChange() {
		if m.late = false; m.cause == alive {
			t.settle(m)
		}
	}
	quiet := t.now - m.last
	switch {
	case m.closed.on && m.closed.due <= t.now && t.unsure(m):
		m.closed = closed{}
		m.node.lastClosed = longAgo // its silence is explained by nothing
	case m.closed.on && m.closed.due <= t.now:
		m.weak = m.closed.byBroker
		t.markDead(m, lost, "connection lost")
	case m.cause == alive && quiet >= t.cfg.Dead:
		if hold := t.heldUntil(m); hold > t.now {
			if m.closed.on {
				hold = min(hold, m.closed.due)
			}
			t.timers.set(&m.timer, hold)
			return
		}
		t.markDead(m, silent, "silent")
	case m.role.damped[m] && t.now >= m.damping.until():
		t.settle(m)
	case m.cause != alive && !m.listed && quiet >= forgetAfter:
		t.forget(m)
		return
	case m.cause != alive && !m.listed && quiet >= t.cfg.MaxHoldDown:
		t.endHoldDown(m)
	}
	t.arm(m)
}

// heldUntil is until when m's silence is not held against it.
func (t *Table) heldUntil(m *member) instant {
	if t.blind.until > t.now {
		return t.blind.until
	}
	return t.brokerHold(m)
}

// markDead notes that m is dead. What follows is decided when all who died with it
// are known.
func (t *Table) markDead(m *member, c cause, why string) {
	if m.cause == alive && t.replaceDead(m) {
		return
	}
	m.cause = c
	m.why = why
	m.died = t.now
	if c == lost {
		m.closed = closed{}
	}
	m.damping.restart()
	t.undamp(m)
	t.detach(m)
	if !m.listed {
		return
	}
	if c == silent {
		t.silent = append(t.silent, m)
	}
	t.count(m)
	t.failed = append(t.failed, m)
}

// judgeSilent judges those who fell silent together.
func (t *Table) judgeSilent() {
	if len(t.silent) > 0 {
		t.alarm(t.silent)
		t.silent = t.silent[:0]
	}
}

// settle brings m's place in the status in line with what is known of it.
func (t *Table) settle(m *member) {
	switch {
	case m.fine() && !m.listed && t.damp(m):
	case m.fine():
		t.present(m)
	case m.listed:
		t.failed = append(t.failed, m)
	case m.cause == alive && len(m.role.list) == 0:
		t.present(m) // a wrong address lets a client retry, none is cached
	default:
		m.damping.restart()
		t.undamp(m)
	}
}

// flush decides what this call left open, so that who fails together is judged
// together.
func (t *Table) flush() {
	for _, m := range t.failed {
		if m.listed && !m.fine() {
			t.decide(m)
		}
	}
	t.failed = t.failed[:0]
	for len(t.dirty) > 0 {
		rs := slices.SortedFunc(maps.Keys(t.dirty), func(a, b *role) int { return cmp.Compare(a.name, b.name) })
		clear(t.dirty)
		for _, r := range rs {
			t.review(r)
		}
	}
}

// decide removes a failed member, or keeps it and says so.
func (t *Table) decide(m *member) {
	r := m.role
	if r.canLose() && (t.proven(m) || t.release(r)) {
		t.remove(m)
		return
	}
	t.present(m)
	if r.canLose() {
		t.timers.sooner(&r.timer, max(t.releaseAt(r), t.now+heartbeat))
	}
}

// proven reports whether m's failure is beyond the uncertainty of silence: it
// announced so, or its connection ended, and this observer heard all since.
func (t *Table) proven(m *member) bool {
	switch m.cause {
	case silent:
		return false
	case lost:
		return m.died >= t.resumed
	}
	return m.last >= t.resumed
}

// canLose reports whether r can do without its failed members (guard G2): a member
// is up, or the role is not needed. Monitors only look on.
func (r *role) canLose() bool { return r.ups > 0 || r.name == subjects.Monitor }

// review looks at a whole role again: a member came up or the last one went,
// or a guard may let go.
func (t *Table) review(r *role) {
	if r.ups == 0 {
		t.admit(r)
	}
	bad := slices.SortedFunc(maps.Keys(r.bad), func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.cause, a.cause), cmp.Compare(a.last, b.last), cmp.Compare(a.key.node, b.key.node))
	})
	held := false
	for _, m := range bad {
		t.decide(m)
		held = held || m.listed && !t.proven(m)
	}
	t.reviewPanic(r, held)
}
