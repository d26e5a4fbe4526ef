package sim

import (
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

// What an operator holds stays through changes of the manager, whose clocks differ by minutes, and ends a day
// after the operator's word.
func TestSceneOfAHoldThroughTakeOvers(t *testing.T) {
	took, clocks := 0, map[time.Duration]bool{}
	for seed := range uint64(20) {
		w := newWorld(plan{seed: seed, members: 16}, newStats())
		if *oneSeed == int64(seed) {
			w.trace = func(s string) { t.Log(s) }
		}
		w.run(20 * time.Second)
		w.brokers[0].kill() // after that no end of a connection that a broker gave up is proof: silence it is
		w.run(50 * time.Second)
		for _, m := range w.members[:9] {
			m.p.cut = true
		}
		w.changed()
		w.run(63 * time.Second)
		leader := w.leader()
		if leader == nil {
			t.Fatalf("seed %d: no manager leads", seed)
		}
		leader.core.HoldFailed("", leader.p.clock())
		leader.turn()
		w.run(64 * time.Second)
		before := w.held(leader)
		if len(before) == 0 {
			t.Fatalf("seed %d: nothing is held: %+v", seed, leader.core.Guards())
		}
		for i := range 2 {
			w.leader().p.kill()
			w.run(time.Duration(90+20*i) * time.Second)
			next := w.leader()
			if next == nil {
				t.Fatalf("seed %d: no manager leads after take-over %d", seed, i+1)
			}
			took++
			clocks[next.p.skew] = true
			after := w.held(next)
			for l, at := range before {
				if now, is := after[l]; !is || (now-at).Abs() > 3*time.Second {
					t.Errorf("seed %d, take-over %d: %s of %s was held until %v, now until %v (%v)", seed, i+1, l.role, l.node, at, now, is)
				}
			}
		}
		for _, b := range w.truth.broken {
			t.Errorf("seed %d: %s", seed, b)
		}
	}
	if len(clocks) != took {
		t.Errorf("%d take-overs by managers with %d clocks", took, len(clocks))
	}
}

// held is until when, in the time of the world, the status of m says that an operator keeps each member.
func (w *world) held(m *manager) map[listing]time.Duration {
	out := map[listing]time.Duration{}
	for role, ms := range m.core.Holding().Status.Roles {
		for i := range ms {
			before, is := strings.CutSuffix(ms[i].Reason, ", kept by an operator")
			if !is || ms[i].State != subjects.Suspect {
				continue
			}
			until, err := time.Parse(time.RFC3339, before[strings.LastIndex(before, " ")+1:])
			if err != nil {
				w.truth.broke("%v", err)
			}
			out[listing{ms[i].Node, role}] = until.Sub(t0) - m.p.skew
		}
	}
	return out
}
