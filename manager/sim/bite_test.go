package sim

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/manager/core"
	"thor/subjects"
)

// calm plays a world without faults for a while and returns its leader and the status.
func calm(t *testing.T) (*world, *manager, *subjects.Status) {
	t.Helper()
	w := newWorld(plan{seed: 1, members: 6}, newStats())
	w.run(40 * time.Second)
	i := slices.IndexFunc(w.managers, (*manager).leads)
	if len(w.truth.broken) > 0 || i < 0 {
		t.Fatalf("leader %d, broken: %v", i, w.truth.broken)
	}
	return w, w.managers[i], w.managers[i].core.Holding().Status
}

// later is s a generation on, with its roles to be changed.
func later(s *subjects.Status) *subjects.Status {
	c := *s
	c.Generation++
	c.Roles = maps.Clone(s.Roles)
	return &c
}

// deltaTo is what a manager tells of s.
func deltaTo(s *subjects.Status, changes ...subjects.Change) *subjects.Delta {
	return &subjects.Delta{V: subjects.Version, Epoch: s.Epoch, Generation: s.Generation, Changes: changes}
}

// Each invariant is broken on purpose, and found.
func TestTheInvariantsBite(t *testing.T) {
	for name, c := range map[string]struct {
		want string // how the finding begins
		do   func(w *world, leader *manager, s *subjects.Status)
	}{
		"nothing is wrong": {"", func(w *world, _ *manager, _ *subjects.Status) { w.settled() }},
		"an epoch of two managers": {"I1", func(w *world, leader *manager, s *subjects.Status) {
			i := slices.IndexFunc(w.managers, func(m *manager) bool { return m != leader })
			w.truth.published(w.managers[i], deltaTo(later(s)))()
		}},
		"a mark told twice": {"I1", func(w *world, leader *manager, s *subjects.Status) {
			w.truth.published(leader, deltaTo(s))()
		}},
		"an observer goes back": {"I2", func(w *world, _ *manager, s *subjects.Status) {
			c := later(s)
			c.Generation -= 2
			w.truth.observed(w.observers[0], c, "x")
		}},
		"an old answer": {"I2", func(w *world, leader *manager, s *subjects.Status) {
			c := later(s)
			c.Generation -= 2
			w.truth.answered(w.observers[0].p, &answer{by: leader, held: core.Hold(c, nil)})
		}},
		"a live member is removed": {"I4", func(w *world, leader *manager, s *subjects.Status) {
			m, c := w.members[0], later(s)
			role := m.serve[0]
			c.Roles[role] = slices.DeleteFunc(slices.Clone(c.Roles[role]), func(x subjects.Member) bool { return x.Node == m.p.node })
			w.truth.published(leader, deltaTo(c, subjects.Change{Role: role, Node: m.p.node}))()
			w.truth.observed(w.observers[0], c, "x")
		}},
		"a broker is removed to which one route is cut": {"I4", func(w *world, leader *manager, s *subjects.Status) {
			i := leader.p.link.b.index
			cutRoutes(w, []*route{w.routes[i][(i+1)%brokerCount]})
			w.run(w.now + 20*time.Second)
			c := later(leader.core.Holding().Status)
			b := w.brokers[(i+1)%brokerCount]
			c.Roles[subjects.EventServer] = slices.DeleteFunc(slices.Clone(c.Roles[subjects.EventServer]), func(x subjects.Member) bool { return string(x.Node) == b.name })
			w.truth.published(leader, deltaTo(c, subjects.Change{Role: subjects.EventServer, Node: subjects.NodeID(b.name)}))()
			w.truth.observed(w.observers[0], c, "x")
		}},
		"a live broker is not listed": {"I10", func(w *world, leader *manager, s *subjects.Status) {
			delete(s.Roles, subjects.EventServer)
			w.settled()
		}},
		"a dead member stays": {"I5", func(w *world, _ *manager, _ *subjects.Status) {
			w.members[0].p.alive = false
			w.settled()
		}},
		"a role is emptied": {"I6", func(w *world, _ *manager, s *subjects.Status) {
			c := later(s)
			delete(c.Roles, subjects.SIPProxy)
			w.truth.observed(w.observers[0], c, "x")
		}},
		"a mark of two statuses": {"I7", func(w *world, _ *manager, s *subjects.Status) {
			w.truth.observed(w.observers[0], s, "x")
		}},
		"no manager leads": {"I10", func(w *world, leader *manager, _ *subjects.Status) {
			leader.p.kill()
			w.settled()
		}},
		"two managers lead": {"I10", func(w *world, leader *manager, _ *subjects.Status) {
			w.managers = append(w.managers, leader)
			w.settled()
		}},
		"an observer is stale": {"I10", func(w *world, _ *manager, _ *subjects.Status) {
			w.observers[1].feed.tracker.Stale = true
			w.settled()
		}},
		"an observer is behind": {"I10", func(w *world, _ *manager, s *subjects.Status) {
			c := later(s)
			c.Generation -= 2
			w.observers[1].feed.tracker.Status = c
			w.settled()
		}},
		"a live member is not listed": {"I10", func(w *world, _ *manager, s *subjects.Status) {
			delete(s.Roles, subjects.SIPProxy)
			w.settled()
		}},
		"a live member is suspect": {"I10", func(w *world, _ *manager, s *subjects.Status) {
			s.Roles[subjects.SIPProxy][0].State = subjects.Suspect
			w.settled()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w, leader, s := calm(t)
			c.do(w, leader, s)
			found := slices.ContainsFunc(w.truth.broken, func(b string) bool { return strings.Contains(b, " s: "+c.want+":") })
			if c.want == "" && len(w.truth.broken) > 0 || c.want != "" && !found {
				t.Errorf("found %q", w.truth.broken)
			}
		})
	}
}

// Removals that are no fault are none: of a member that is dead, frozen or left, of one
// that cannot reach any broker, and of one that could not until now.
func TestTheInvariantsAllowWhatIsRight(t *testing.T) {
	for name, do := range map[string]func(w *world, p *proc){
		"dead":            func(w *world, p *proc) { p.kill() },
		"frozen":          func(w *world, p *proc) { p.freeze() },
		"cut off":         func(w *world, p *proc) { p.cut = true; w.changed() },
		"just reachable":  func(w *world, p *proc) { p.cut = true; w.changed(); p.cut = false; w.changed() },
		"left on purpose": func(w *world, p *proc) { p.app.(*member).leave() },
	} {
		t.Run(name, func(t *testing.T) {
			w, leader, s := calm(t)
			m := w.members[0]
			do(w, m.p)
			c := later(s)
			w.truth.published(leader, deltaTo(c, subjects.Change{Role: m.serve[0], Node: m.p.node}))()
			w.truth.observed(w.observers[0], c, "x")
			if len(w.truth.broken) > 0 {
				t.Errorf("found %q", w.truth.broken)
			}
		})
	}
}
