package sim

import (
	"testing"
	"time"

	"thor/subjects"
)

// While the one route between two of three brokers is cut, all brokers and all
// members stay: each broker has a route to the third one, and members that are not heard find it.
func TestNothingIsRemovedWhileOneRouteIsCut(t *testing.T) {
	const at, span = 30 * time.Second, 40 * time.Second
	for seed := range uint64(60) {
		w := newWorld(plan{seed: seed, members: 8, far: seed%6 == 5}, newStats())
		i := int(seed) % brokerCount
		w.after(at, func() {
			end := cutRoutes(w, []*route{w.routes[i][(i+1)%brokerCount]})
			w.after(span, end)
		})
		removed := 0
		var look func()
		look = func() {
			for _, o := range w.observers {
				s := o.feed.tracker.Status
				if s == nil || len(s.Roles[subjects.EventServer]) != brokerCount {
					t.Errorf("seed %d: at %v %s lists %d brokers", seed, w.now, o.p.node, len(s.Roles[subjects.EventServer]))
					return
				}
			}
			w.after(100*time.Millisecond, look)
		}
		w.after(at, look)
		w.run(at + span + 20*time.Second)
		removed = w.stats.counts["change"]["removed"]
		if len(w.truth.broken) > 0 || removed > 0 {
			t.Errorf("seed %d: %d removed, %v", seed, removed, w.truth.broken)
		}
	}
}
