package membership

import (
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// damping is guard G6 for one member. Leaving by failure counts twice as much
// as leaving on purpose, and only once the member returns; a drain is no leave.
type damping struct {
	owed   int    // points for having left, due at the return
	flaps  []flap // within dampWindow
	on     bool
	level  int           // doublings of the hold-down
	hold   time.Duration // of steady beats before it re-enters
	steady instant       // since when it is fine; never: it is not
	ended  instant       // of the last hold-down
}

type flap struct {
	at     instant
	points int
}

func (d *damping) owe(c cause) {
	switch c {
	case alive, silent, lost:
		d.owed = failurePoints
	case left:
		d.owed = leavePoints
	case revoked:
		d.owed = 0
	}
}

// restart notes that the member is not fine: a hold-down begins anew.
func (d *damping) restart() { d.steady = never }

// until is when a member that stays fine may re-enter.
func (d *damping) until() instant {
	if d.steady == never {
		return never
	}
	return d.steady + d.hold
}

// damp reports whether m, which is fine, must stay out of the status. A member
// that its role cannot do without is let in.
func (t *Table) damp(m *member) bool {
	d := &m.damping
	if !d.on {
		if !t.flaps(m) || m.role.ups == 0 {
			return false
		}
		t.holdDown(m)
	}
	if d.steady == never {
		d.steady = t.now
	}
	if m.role.ups == 0 || t.now >= d.until() {
		return false
	}
	m.role.damped[m] = true
	return true
}

// flaps counts the return of m and reports whether it was one too many.
func (t *Table) flaps(m *member) bool {
	d := &m.damping
	if d.owed == 0 || t.cfg.DisableDamping {
		return false
	}
	d.flaps = slices.DeleteFunc(d.flaps, func(f flap) bool { return t.now-f.at > dampWindow })
	d.flaps = append(d.flaps, flap{t.now, d.owed})
	d.owed = 0
	points := 0
	for _, f := range d.flaps {
		points += f.points
	}
	return points >= dampPoints
}

// holdDown begins m's hold-down, twice as long as the one before.
func (t *Table) holdDown(m *member) {
	d := &m.damping
	if t.now-d.ended > dampForget {
		d.level = 0
	}
	d.on = true
	d.steady = t.now
	d.hold = t.cfg.MaxHoldDown
	if h := t.cfg.HoldDown << min(d.level, 20); h < d.hold {
		d.hold = h
		d.level++
	}
	t.raise(m.guard(), fmt.Sprintf("left and came back too often, out for %s of steady beats", d.hold)).until = d.until()
}

func (m *member) guard() guardKey {
	return guardKey{name: GuardDamping, role: m.key.role, node: m.key.node}
}

// undamp takes m off the list of those who wait.
func (t *Table) undamp(m *member) { delete(m.role.damped, m) }

// endHoldDown ends m's hold-down.
func (t *Table) endHoldDown(m *member) {
	t.undamp(m)
	if m.damping.on {
		m.damping.on, m.damping.ended = false, t.now
		t.lower(m.guard())
	}
}

// admit lets one damped member into a role that has no member up.
func (t *Table) admit(r *role) {
	var first *member
	for m := range r.damped {
		if m.announced.state == subjects.Up && (first == nil || m.key.node < first.key.node) {
			first = m
		}
	}
	if first != nil {
		t.present(first)
		t.arm(first)
	}
}
