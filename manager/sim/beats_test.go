package sim

import (
	"slices"
	"testing"
	"time"

	"thor/subjects"
)

const (
	longestBeat = 1100 * time.Millisecond
	roundTrip   = 100 * time.Millisecond // of quiet noise, and the time to a generation
)

// The loss of any single full announcement, at the active manager or at all, converges
// within two beats and a round trip: the short beats that follow are not understood.
func TestALostAnnouncementIsAskedFor(t *testing.T) {
	for name, lost := range map[string]func(m *manager) bool{
		"at the active manager": (*manager).leads,
		"at all managers":       func(*manager) bool { return true },
	} {
		for what, change := range map[string]func(m *member){
			"of a member that drains": func(m *member) { m.state = subjects.Draining; m.say(m.state) },
			"of one that is up again": func(m *member) { m.state = subjects.Draining; m.say(m.state); m.state = subjects.Up; m.say(m.state) },
			"of one that joins": func(m *member) {
				m.p.kill()
				m.p.w.run(m.p.w.now + 3*time.Second)
				m.p.start(0)
			},
			"through a new connection": func(m *member) {
				l := m.p.link
				l.clientClosed()
				m.p.lost(l, "for the test")
			},
		} {
			t.Run(what+", "+name, func(t *testing.T) {
				for seed := range uint64(20) {
					lose(t, seed, lost, change)
				}
			})
		}
	}
}

// lose has the first full announcement lost that follows from a change.
func lose(t *testing.T, seed uint64, lost func(*manager) bool, change func(*member)) {
	t.Helper()
	w := newWorld(plan{seed: seed, members: 6}, newStats())
	w.run(20 * time.Second)
	m := w.members[seed%3]
	if !m.short {
		t.Fatal("it sends no short beats")
	}
	var first *subjects.Announcement
	var at time.Duration
	w.drop = func(l *link, x any) bool {
		a, is := x.(*subjects.Announcement)
		o, ok := l.p.app.(*manager)
		if !is || !ok || a.Node != m.p.node || a.Short() || m.serve[0] != a.Role || !lost(o) {
			return false
		}
		if first == nil {
			first, at = a, w.now
		}
		return a == first
	}
	change(m)
	shows := func() bool {
		i := slices.IndexFunc(w.managers, (*manager).leads)
		if i < 0 {
			return false
		}
		x := w.managers[i].core.Holding().Status.Member(m.serve[0], m.p.node)
		return x != nil && x.State == m.state
	}
	for w.now < 40*time.Second && (first == nil || !shows() || w.now < at+10*time.Millisecond) {
		w.run(w.now + 5*time.Millisecond)
	}
	if first == nil {
		t.Fatalf("seed %d: nothing was lost", seed)
	}
	if d := w.now - at; d > 2*longestBeat+roundTrip {
		t.Errorf("seed %d: shown %v after the loss", seed, d)
	}
	if len(w.truth.broken) > 0 {
		t.Errorf("seed %d: %v", seed, w.truth.broken)
	}
}
