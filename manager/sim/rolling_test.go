package sim

import (
	"testing"
	"time"
)

// In a rolling upgrade a process asks for the whole status since it knows none, again while no manager leads that is sure
// of its lease and can say what the present is, and once for each time in which it missed a change: its broker was
// restarted while one was told.
func TestSceneOfARollingRestart(t *testing.T) {
	for _, order := range []string{"managers first", "members first"} {
		why := map[string]int{}
		for seed := range uint64(40) {
			w := newWorld(plan{seed: seed, members: 6}, newStats())
			if *oneSeed == int64(seed) {
				w.trace = func(s string) { t.Log(s) }
			}
			w.run(15 * time.Second)
			restart := map[string][]*proc{}
			for _, m := range w.managers {
				restart["managers"] = append(restart["managers"], m.p)
			}
			for _, o := range w.observers {
				restart["observers"] = append(restart["observers"], o.p)
			}
			steps := []string{"managers", "brokers", "observers"}
			if order == "members first" {
				steps = []string{"observers", "brokers", "managers"}
			}
			for _, step := range steps {
				for _, p := range restart[step] {
					if m, is := p.app.(*manager); is {
						m.finish()
					} else {
						p.kill()
					}
					w.run(w.now + 500*time.Millisecond)
					p.start(0)
					w.run(w.now + 6*time.Second)
				}
				for i := 0; step == "brokers" && i < brokerCount; i++ {
					w.brokers[i].kill()
					w.run(w.now + 500*time.Millisecond)
					w.brokers[i].start()
					w.run(w.now + 6*time.Second)
				}
			}
			for _, b := range w.truth.broken {
				t.Errorf("seed %d: %s", seed, b)
			}
			feeds := map[string]*feed{}
			for _, m := range w.managers {
				feeds[m.p.boot] = &m.feed
			}
			for _, o := range w.observers {
				feeds[o.p.boot] = &o.feed
			}
			for boot, f := range feeds {
				for reason, n := range f.asks {
					why[reason] += n
				}
				if n := f.asks["another reason"]; n > 0 {
					t.Errorf("%s, seed %d: %s asked %d times for another reason", order, seed, boot, n)
				}
			}
		}
		t.Logf("%s: %d processes asked %v", order, 40*6, why)
		for _, reason := range []string{"knew none", "none led", "missed a change"} {
			if why[reason] == 0 {
				t.Errorf("%s: none asked since it %q", order, reason)
			}
		}
	}
}
