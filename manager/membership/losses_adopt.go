package membership

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// adoptLosses takes over the losses of a status whose members have been adopted,
// which another manager made age ago; a negative age is not known. Their ages and
// ends are taken as differences of that manager's own times, so that no clock is
// compared with another.
func (t *Table) adoptLosses(s *subjects.Status, age time.Duration) {
	if !s.LossesKnown() {
		return
	}
	for i := range s.Lost {
		t.adoptLost(&s.Lost[i], s.Time, age)
	}
	for i := range s.Held {
		t.adoptHeld(&s.Held[i], s.Time, age)
	}
	for _, k := range slices.SortedFunc(maps.Keys(t.losses.by), compareKeys) {
		a := t.losses.by[k]
		// The other manager lists the member still: it has not come to the removal.
		if a.lost == nil || s.FindLost(k.role, k.node) != nil || s.Member(k.role, k.node) != nil {
			continue
		}
		t.endAbsence(k)
	}
}

func (t *Table) adoptLost(l *subjects.Lost, made time.Time, age time.Duration) {
	k := key{l.Role, l.Node}
	if m := t.members[k]; m != nil && (m.listed || t.isHeld(m) && !m.adopted) {
		return // it has returned meanwhile
	}
	if a := t.losses.by[k]; a != nil && a.lost != nil && a.lost.Reason == l.Reason && a.told.Equal(l.Since) {
		return
	}
	lost := min(max(made.Sub(l.Since), 0)+max(age, 0), t.cfg.LostFor)
	x := *l
	if since := t.wall.Add(-lost); age >= 0 && since.Sub(l.Since).Abs() > clockMargin {
		x.Since = since // by this manager's clock, which will make the next status
	}
	t.addLoss(x, t.now+t.cfg.LostFor-lost).told = l.Since
}

// adoptHeld holds down a member that another manager holds down, until the same
// moment. A member that its role cannot do without stays.
func (t *Table) adoptHeld(h *subjects.Held, made time.Time, age time.Duration) {
	rest := min(max(h.Until.Sub(made)-max(age, 0), 0), t.cfg.MaxHoldDown)
	m := t.members[key{h.Role, h.Node}]
	switch {
	case rest == 0 || t.cfg.DisableDamping:
		return
	case m == nil:
		if !t.room() {
			return
		}
		m = t.member(key{h.Role, h.Node})
		m.cause, m.adopted = dropped, true
	case m.listed && (!m.up || m.role.ups < 2):
		return
	case m.listed:
		m.cause = dropped
		t.remove(m)
		m.cause = alive
	case m.cause == alive && !m.fine():
		return
	case m.cause == dropped:
		m.adopted = true
	}
	d := &m.damping
	if end := t.now + rest; !d.on || d.until() == never || (d.until()-end).Abs() > clockMargin {
		d.on, d.steady, d.hold = true, t.now, rest
	}
	if m.fine() {
		m.role.damped[m] = true
	}
	t.raise(m.guard(), "held down by another manager, out for "+rest.String()+" more").until = d.until()
	t.arm(m)
	if a := t.losses.by[m.key]; a != nil && a.held != nil && a.held.Until.Sub(h.Until).Abs() <= clockMargin {
		x := *h // the same moment: no news when this manager leads
		a.held = &x
		t.losses.shown = nil
	}
}
