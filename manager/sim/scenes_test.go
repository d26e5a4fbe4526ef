package sim

import (
	"slices"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A scene is a calm network to which one thing happens, and what the network has to show then and when. Random worlds
// allow whatever comes late or not at all while other faults last; here the times count too.
type scene struct {
	*testing.T
	*world
}

// sceneSeeds is with how many seeds each is played.
const sceneSeeds = 4

// newScene plays a world, prepared before anything runs, until it is calm.
func newScene(t *testing.T, p plan, prepare func(*world)) *scene {
	t.Helper()
	s := &scene{t, newWorld(p, newStats())}
	if *oneSeed == int64(p.seed) {
		s.trace = func(x string) { t.Log(x) }
	}
	prepare(s.world)
	s.run(20 * time.Second)
	if s.leader() == nil {
		t.Fatal("no manager leads")
	}
	return s
}

// member is how the first observer shows node in role; nil: it does not.
func (s *scene) member(role subjects.Role, node subjects.NodeID) *subjects.Member {
	return s.observers[0].feed.tracker.Status.Member(role, node)
}

// pass lets time pass.
func (s *scene) pass(d time.Duration) { s.run(s.now + d) }

// until is after how long something holds; longest, if it does not.
func (s *scene) until(longest time.Duration, holds func() bool) time.Duration {
	from := s.now
	for !holds() && s.now-from < longest {
		s.pass(20 * time.Millisecond)
	}
	return s.now - from
}

// gone is after how long m is in none of its roles.
func (s *scene) gone(longest time.Duration, m *member) time.Duration {
	return s.until(longest, func() bool {
		return !slices.ContainsFunc(m.serve, func(r subjects.Role) bool { return s.member(r, m.p.node) != nil })
	})
}

// within looks whether something took neither too long nor too short.
func (s *scene) within(what string, took, least, most time.Duration) {
	s.Helper()
	if took < least || took > most {
		s.Errorf("at %v: %s took %v, not %v to %v", s.now, what, took, least, most)
	}
}

// guarded reports whether a guard of that name is active at the manager that leads.
func (s *scene) guarded(name string) bool {
	m := s.leader()
	return m != nil && slices.ContainsFunc(m.core.Guards(), func(g membership.Guard) bool { return g.Name == name })
}

// proxies are the members with the first service.
func (s *scene) proxies() (out []*member) {
	for _, m := range s.members {
		if m.serve[0] == subjects.SIPProxy {
			out = append(out, m)
		}
	}
	return out
}

// states counts the proxies by state.
func (s *scene) states() map[subjects.State]int {
	out := map[subjects.State]int{}
	for _, m := range s.proxies() {
		if x := s.member(subjects.SIPProxy, m.p.node); x != nil {
			out[x.State]++
		}
	}
	return out
}

// says has a member announce a state from now on.
func (s *scene) says(m *member, state subjects.State) {
	s.truth.touch(m.p.node)
	m.state = state
	m.say(state)
}

// flap has the check of m fail for a second, and pass for one.
func (s *scene) flap(m *member) {
	s.says(m, subjects.Down)
	s.pass(time.Second)
	s.says(m, subjects.Up)
	s.pass(time.Second)
}

var scenes = map[string]func(s *scene){
	"a process ends": func(s *scene) {
		m := s.members[3]
		m.p.kill()
		s.within("a crash", s.gone(5*time.Second, m), 450*time.Millisecond, 800*time.Millisecond)
		m.p.start(0)
		s.within("its return", s.until(5*time.Second, func() bool { return s.member(m.serve[0], m.p.node) != nil }), 0, 1300*time.Millisecond)
	},
	"a process stands still": func(s *scene) {
		m := s.members[4]
		m.p.freeze()
		s.within("a freeze", s.gone(20*time.Second, m), 2*time.Second, 5500*time.Millisecond)
		m.p.thaw()
		s.within("its return", s.until(5*time.Second, func() bool { return s.member(m.serve[0], m.p.node) != nil }), 0, 2500*time.Millisecond)
	},
	"one is silent": func(s *scene) {
		s.brokers[0].kill() // what brokers give up proves nothing for a while after that
		s.pass(30 * time.Second)
		m := s.members[5]
		m.p.cut = true
		s.changed()
		s.within("silence", s.gone(30*time.Second, m), 8800*time.Millisecond, 11*time.Second)
		if s.guarded(membership.GuardPanic) {
			s.Error("one is a mass")
		}
	},
	"most are silent": func(s *scene) {
		s.brokers[0].kill()
		s.pass(30 * time.Second)
		for _, m := range s.members[:9] {
			m.p.cut = true
		}
		s.changed()
		n := s.states()[subjects.Up]
		s.within("suspicion", s.until(30*time.Second, func() bool { return s.states()[subjects.Suspect] == 5 }), 8800*time.Millisecond, 12*time.Second)
		if !s.guarded(membership.GuardPanic) {
			s.Error("no guard")
		}
		listed := func() int { x := s.states(); return x[subjects.Up] + x[subjects.Suspect] }
		s.within("the guard", s.until(2*time.Minute, func() bool { return listed() < n }), 26*time.Second, 34*time.Second)
		for left := n - 1; left > n-3; left-- {
			s.within("the next", s.until(2*time.Minute, func() bool { return listed() < left }), 9500*time.Millisecond, 10500*time.Millisecond)
		}
		if s.pass(time.Minute); listed() != n/2 {
			s.Errorf("%d of %d are left, half has to stay", listed(), n)
		}
		for _, m := range s.members[:9] {
			m.p.cut = false
		}
		s.changed()
		s.within("their return", s.until(time.Minute, func() bool { return s.states()[subjects.Up] == n }), 0, 30*time.Second)
		s.within("the end of the guard", s.until(2*time.Minute, func() bool { return !s.guarded(membership.GuardPanic) }), 0, time.Minute)
	},
	"all checks fail": func(s *scene) {
		ps := s.proxies()
		for _, m := range ps {
			s.says(m, subjects.Down)
			s.pass(300 * time.Millisecond)
		}
		s.pass(5 * time.Second)
		if x := s.states(); x[subjects.Suspect] != len(ps) || !s.guarded(membership.GuardChecks) {
			s.Errorf("shown %v of %d, guards %v", x, len(ps), s.leader().core.Guards())
		}
		s.pass(time.Minute)
		if x := s.states(); x[subjects.Suspect] != len(ps) {
			s.Errorf("a minute later %v", x)
		}
		for _, m := range ps {
			s.says(m, subjects.Up)
		}
		s.within("the end of the guard", s.until(2*time.Minute, func() bool { return !s.guarded(membership.GuardChecks) }), 28*time.Second, 34*time.Second)
		if x := s.states(); x[subjects.Up] != len(ps) {
			s.Errorf("at the end %v", x)
		}
	},
	"half of the checks fail": func(s *scene) {
		ps := s.proxies()
		for _, m := range ps[:len(ps)/2] {
			s.says(m, subjects.Down)
			s.within("a failed check", s.gone(5*time.Second, m), 0, 300*time.Millisecond)
		}
		if s.guarded(membership.GuardChecks) {
			s.Error("half is most")
		}
		m := ps[0]
		s.says(m, subjects.Up)
		s.within("its return", s.until(5*time.Second, func() bool { return s.member(subjects.SIPProxy, m.p.node) != nil }), 0, 300*time.Millisecond)
	},
	"an operator lets them go": func(s *scene) {
		ps := s.proxies()
		for _, m := range ps[:len(ps)-1] {
			s.says(m, subjects.Down)
		}
		s.pass(2 * time.Second)
		if x := s.states(); x[subjects.Suspect] != len(ps)-1 {
			s.Errorf("before: %v", x)
		}
		m := s.leader()
		m.core.ConfirmFailed("", m.p.clock())
		m.turn()
		s.pass(2 * time.Second)
		if x := s.states(); x[subjects.Suspect] != 0 || x[subjects.Up] != 1 {
			s.Errorf("after: %v", x)
		}
	},
	"checks fail one long after the other": func(s *scene) {
		for _, m := range s.proxies()[:5] {
			s.says(m, subjects.Down)
			out := func() bool { return s.member(subjects.SIPProxy, m.p.node) == nil }
			s.within("a failed check", s.until(5*time.Second, out), 0, 300*time.Millisecond)
			s.pass(32 * time.Second)
		}
	},
	"who was held down is all that is left": func(s *scene) {
		ps := s.proxies()
		for range 3 {
			s.flap(ps[0])
		}
		if s.member(subjects.SIPProxy, ps[0].p.node) != nil {
			s.Error("it is not held down")
		}
		for _, m := range ps[1:] {
			m.p.kill()
		}
		s.within("its return", s.until(10*time.Second, func() bool { return s.member(subjects.SIPProxy, ps[0].p.node) != nil }), 0, time.Second)
	},
	"the only one comes and goes": func(s *scene) {
		ps := s.proxies()
		for _, m := range ps[1:] {
			m.p.kill()
		}
		s.pass(2 * time.Second)
		for range 5 {
			s.flap(ps[0])
			if x := s.member(subjects.SIPProxy, ps[0].p.node); x == nil || x.State != subjects.Up {
				s.Errorf("shown as %+v", x)
			}
		}
	},
	"one comes and goes": func(s *scene) {
		m := s.members[2]
		flap := func() { s.flap(m) }
		back := func() time.Duration {
			return s.until(2*time.Minute, func() bool { return s.member(m.serve[0], m.p.node) != nil })
		}
		for range 3 {
			flap()
		}
		if !s.guarded(membership.GuardDamping) {
			s.Error("no guard")
		}
		s.within("the first hold-down", back(), 18*time.Second, 20500*time.Millisecond)
		for range 3 {
			flap()
		}
		s.within("the second", back(), 36*time.Second, 40500*time.Millisecond)
		for range 4 {
			flap()
		}
		s.within("the longest", back(), 36*time.Second, 40500*time.Millisecond)
	},
	"the active manager ends": func(s *scene) {
		m := s.leader()
		m.p.kill()
		led := func() bool { x := s.leader(); return x != nil && x != m }
		s.within("a take-over", s.until(30*time.Second, led), 250*time.Millisecond, 900*time.Millisecond)
		s.pass(20 * time.Second)
		for _, g := range s.leader().core.Guards() {
			s.Errorf("guard %+v", g)
		}
	},
	"all managers end": func(s *scene) {
		for _, m := range s.managers {
			m.p.kill()
		}
		s.pass(2 * time.Second)
		for _, m := range s.managers {
			m.p.start(0)
		}
		s.within("a take-over", s.until(30*time.Second, func() bool { return s.leader() != nil }), 0, 6*time.Second)
	},
	"the last member": func(s *scene) {
		ps := s.proxies()
		for i, m := range ps {
			m.p.kill()
			s.pass(3 * time.Second)
			if want := max(1, len(ps)-i-1); len(s.observers[0].feed.tracker.Status.Roles[subjects.SIPProxy]) != want {
				s.Errorf("%d are listed, not %d", len(s.observers[0].feed.tracker.Status.Roles[subjects.SIPProxy]), want)
			}
		}
		if !s.guarded(membership.GuardLast) {
			s.Error("no guard")
		}
		ps[0].p.start(0)
		s.within("its return", s.until(5*time.Second, func() bool { return s.states()[subjects.Up] == 1 }), 0, 1500*time.Millisecond)
		s.pass(15 * time.Second)
		if x := s.states(); x[subjects.Suspect] != 0 {
			s.Errorf("the last one that died is kept though another is up: %v", x)
		}
	},
}

// TestScenes plays each scene, and no invariant may break in it.
func TestScenes(t *testing.T) {
	for name, play := range scenes {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(sceneSeeds) {
				s := newScene(t, plan{seed: seed, members: 12}, func(*world) {})
				play(s)
				for _, b := range s.truth.broken {
					t.Errorf("seed %d: %s", seed, b)
				}
			}
		})
	}
}
