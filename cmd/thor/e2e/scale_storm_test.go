//go:build e2e

package e2e_test

import (
	mathrand "math/rand/v2"
	"time"
)

const (
	sleepers    = 50
	stormTime   = 15 * time.Second
	stormEvery  = 20 * time.Millisecond // one member changes
	deltaShare  = 0.25                  // of a core that deltas may take of each broker
	wakeTimeout = 60 * time.Second
)

// storm lets members change all the time while some sleep, and then wakes these: what
// deltas cost, and how the sleepers catch up with what they missed.
func (s *scale) storm() {
	f := s.f
	asleep := f.light[len(f.light)-sleepers:]
	for _, m := range asleep {
		f.doom(m, true)
		m.stop()
	}
	s.wait(30*time.Second, func() bool { st := f.view.View().Status; return f.listed(st) == len(f.light)+len(f.sdk)-sleepers })
	awake := f.light[probeCount : len(f.light)-sleepers]
	before, generation := f.net.use(s.t), f.view.View().Mark().Generation
	began := time.Now()
	for i := 0; time.Since(began) < stormTime; i++ {
		awake[mathrand.N(len(awake))].change(1 + i%99)
		<-time.After(stormEvery)
	}
	d := time.Since(began)
	used := f.net.use(s.t).since(before)
	generations := f.view.View().Mark().Generation - generation
	share := (float64(used.brokers)/float64(d) - s.restBrokers) / scaleServers
	s.say("members change all the time: %d generations in %.0f s; %s; a broker takes %.3f core above the rest", generations, d.Seconds(), used.cores(d), share)
	s.cpu("deltas", used, d)
	s.figure("deltas: cores of a broker above the rest", "≤ 0.25", "%.3f (%.1f generations/s)", share, float64(generations)/d.Seconds())
	if share > deltaShare {
		s.say("deltas took more than a quarter of a core of a broker")
	}
	s.wake(asleep)
}

// wake starts members again that slept.
func (s *scale) wake(asleep []*lightMember) {
	f := s.f
	breaks, repairs := f.breaks.Load(), f.repairs.Load()
	before, began := f.net.use(s.t), time.Now()
	behind := make(map[*lightMember]bool)
	for _, m := range asleep {
		behind[m] = true
		f.start(m)
	}
	var took []time.Duration
	s.wait(wakeTimeout, func() bool {
		now := f.view.View().Mark().Generation
		for m := range behind {
			if m.connected.Load() && m.mark.Load() >= now {
				delete(behind, m)
				took = append(took, time.Since(began))
			}
		}
		return len(behind) == 0
	})
	s.times("a member that slept is current again", "", took)
	d := time.Since(began)
	_, listed := s.wait(wakeTimeout, f.complete)
	s.say("%d members that slept woke at once: %d current after %.1f s, all listed: %v; requests for the snapshot %d, connections of others that broke %d; %s",
		len(asleep), len(took), d.Seconds(), listed, f.repairs.Load()-repairs, f.breaks.Load()-breaks, f.net.use(s.t).since(before).cores(d))
	for _, m := range asleep {
		f.doom(m, false)
	}
}
