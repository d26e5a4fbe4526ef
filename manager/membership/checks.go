package membership

import (
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// The guard against checks that fail for a cause of their own, such as a wrong
// target: when more than half of a role's nodes, and at least checksLeast, fail their
// checks within checksWindow, none of them goes, and those that went come back as
// suspect. It ends when under half have failed for checksCalm, or by Confirm.
const (
	checksLeast  = 3
	checksWindow = time.Minute
	checksCalm   = 30 * time.Second
)

// noteCheck notes whether m, which was in the status, fails its check. A member that
// was down before it was ever in its role is no part of an incident.
func (t *Table) noteCheck(m *member) {
	failing := m.cause == alive && m.announced.state == subjects.Down
	switch {
	case !failing:
		m.fell = false
	case !m.fell && m.listed:
		m.fell, m.fellAt = true, t.now
	}
	if m.fell == m.role.down[m] {
		return
	}
	if t.dirty[m.role] = struct{}{}; m.fell {
		m.role.down[m] = true
	} else {
		delete(m.role.down, m)
	}
}

// checksFacts are what the guard rests on.
type checksFacts struct {
	nodes  int // of the role: in the status, or taken out of it for a check that still fails
	down   int // of these: fail their checks
	recent int // of these: since less than checksWindow, and not confirmed by an operator
}

// mass reports whether the checks of too many fail at once.
func (f checksFacts) mass() bool { return f.recent >= checksLeast && 2*f.recent > f.nodes }

// under reports whether under half of the role fails.
func (f checksFacts) under() bool { return 2*f.down < f.nodes }

func (t *Table) checksFacts(r *role) checksFacts {
	f := checksFacts{nodes: len(r.list), down: len(r.down)}
	for m := range r.down {
		if !m.listed {
			f.nodes++
		}
		if !m.confirmed && t.now-m.fellAt <= checksWindow {
			f.recent++
		}
	}
	return f
}

// reviewChecks begins, prolongs and ends the guard for r.
func (t *Table) reviewChecks(r *role) {
	if r.checks == nil && len(r.down) < checksLeast {
		return
	}
	f, g := t.checksFacts(r), r.checks
	switch {
	case g == nil && f.mass():
		g = t.raise(guardKey{name: GuardChecks, role: r.name}, fmt.Sprintf("the checks of %d of %d nodes failed within a minute", f.recent, f.nodes))
		r.checks = g
		t.relist(r)
	case g == nil:
		return
	case !f.under():
		g.under, g.until = never, never
	case g.under == never:
		g.under, g.until = t.now, t.now+checksCalm
	case t.now >= g.until:
		t.endChecks(r)
		return
	}
	if g.until != never {
		t.timers.sooner(&r.timer, g.until)
	}
}

// relist brings back the members of r that the incident took out.
func (t *Table) relist(r *role) {
	var out []*member
	for m := range r.down {
		if !m.listed && !m.confirmed && t.now-m.fellAt <= checksWindow {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *member) int { return compareKeys(a.key, b.key) })
	for _, m := range out {
		m.damping.owed = 0 // it never left
		t.present(m)
		t.arm(m)
	}
}

func (t *Table) endChecks(r *role) {
	if r.checks != nil {
		r.checks = nil
		t.lower(guardKey{name: GuardChecks, role: r.name})
	}
}
