package membership

import "time"

// arm sets m's timer to when m must be looked at next.
func (t *Table) arm(m *member) {
	at := never
	switch {
	case m.cause == alive:
		at = m.last + t.dead()
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
	t.noteAbsence(m)
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
	case m.closed.on && m.closed.due <= t.now && t.deaf(m):
		t.timers.set(&m.timer, t.now+listenAgain)
		return
	case m.closed.on && m.closed.due <= t.now && t.unsure(m):
		m.closed = closed{}
		m.node.lastClosed = longAgo // its silence is explained by nothing
	case m.closed.on && m.closed.due <= t.now:
		m.weak = m.closed.byBroker || m.instance.beside()
		t.markDead(m, lost, whyLost)
	case m.cause == alive && quiet >= t.dead():
		if hold := t.heldUntil(m); hold > t.now {
			if m.closed.on {
				hold = min(hold, m.closed.due)
			}
			t.timers.set(&m.timer, hold)
			return
		}
		t.markDead(m, silent, whySilent)
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

// markDead notes that m is dead. What follows is decided when all who died with it
// are known.
func (t *Table) markDead(m *member, c cause, why string) {
	if m.cause == alive && t.replaceDead(m) {
		return
	}
	m.cause = c
	m.why = why
	m.died, m.withSite = t.now, ""
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
	t.dirty[m.role] = struct{}{}
}

// settle brings m's place in the status in line with what is known of it.
func (t *Table) settle(m *member) {
	switch {
	case m.fine() && !m.listed && t.damp(m):
	case m.fine():
		t.present(m)
	case m.listed:
		t.dirty[m.role] = struct{}{}
	case m.cause == alive && len(m.role.list) == 0:
		t.present(m) // a wrong address lets a client retry, none is cached
	default:
		m.damping.restart()
		t.undamp(m)
	}
}
