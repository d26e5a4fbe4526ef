package membership_test

import (
	"fmt"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// cutHost is a network of three hosts with a broker each, one of which is cut off with
// its proxy and its manager, and a standby that has followed the status.
func cutHost(t *testing.T) (s *stage, gone, brokers []*actor) {
	s = newStage(t, membership.Config{})
	for i := 1; i <= 3; i++ {
		host, via := fmt.Sprintf("h%d", i), fmt.Sprintf("b%d#", i)
		b := s.cast(fmt.Sprintf("b%d", i), "thor_eventserver", via+"0")
		b.routes = "2"
		brokers = append(brokers, b)
		m := s.cast(host, "thor_manager", via+"1")
		p := s.cast(host, "sip_proxy", via+"2")
		if i == 3 {
			gone = []*actor{b, m, p}
		}
	}
	s.troop(7, "n", "media_relay", "b1")
	s.troop(3, "x", "xcap_server", "b2")
	s.pass(20 * time.Second)
	s.table.Adopt(s.status(), s.now)
	s.pass(20 * time.Second)
	return s, gone, brokers[:2]
}

// routes lets brokers announce that they have so many.
func routes(brokers []*actor, n string) {
	for _, b := range brokers {
		b.routes = n
	}
}

// A standby that has heard the whole status itself goes on counting when it takes
// over: the members of a host that was cut off are gone as if the manager had stayed.
func TestATakeOverDoesNotLengthenSilence(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 3 * time.Second, 8 * time.Second, 11 * time.Second} {
		s, gone, brokers := cutHost(t)
		cut(gone)
		from := s.now
		s.pass(min(after, 2500*time.Millisecond))
		routes(brokers, "1")
		s.pass(after - s.now.Sub(from))
		s.table.Adopt(s.status(), s.now)
		s.pass(12*time.Second - after)
		for _, a := range gone {
			if s.listed(a) {
				t.Errorf("take-over after %v: %s as %s is still listed after %v, guards %v", after, a.node, a.role, s.now.Sub(from), s.table.Guards())
			}
		}
		if n := s.count("media_relay") + s.count("xcap_server") + s.count("sip_proxy"); n != 12 {
			t.Errorf("take-over after %v: %d others are left", after, n)
		}
	}
}

// A standby that does not know first-hand what the status says doubts silence for
// Dead and two seconds.
func TestATakeOverByOneThatMissedSomethingDoubtsSilence(t *testing.T) {
	for name, miss := range map[string]func(s *stage, brokers []*actor){
		"it began a moment ago": func(s *stage, _ []*actor) { s.table = membership.New(membership.Config{}) },
		"it was cut off":        func(s *stage, _ []*actor) { s.table.Blind(s.now) },
		"a broker has a route to the one that is silent": func(s *stage, brokers []*actor) {
			s.pass(3 * time.Second)
			routes(brokers[:1], "1")
			s.pass(2 * time.Second)
		},
		"a broker does not say what routes it has": func(s *stage, brokers []*actor) {
			s.pass(3 * time.Second)
			routes(brokers[:1], "")
			routes(brokers[1:], "1")
			s.pass(2 * time.Second)
		},
		"it hears one of three brokers": func(s *stage, _ []*actor) {
			for _, a := range s.acts {
				a.cut = a.cut || a.via[:2] != "b1"
			}
			s.pass(3 * time.Second)
		},
		"a broker was silent and is back": func(s *stage, _ []*actor) {
			b2 := func(cut bool) {
				for _, a := range s.acts {
					if a.via[:2] == "b2" {
						a.cut = cut
					}
				}
			}
			b2(true)
			s.pass(3 * time.Second)
			b2(false)
			s.pass(time.Second)
		},
		"the status lists one that it does not": func(s *stage, _ []*actor) {
			st := s.status()
			other := membership.New(membership.Config{})
			other.Adopt(st, s.now)
			say(t, other, "n77", "media_relay", "a", 1, s.now)
			other.Fill(st)
			s.table.Adopt(st, s.now)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, gone, brokers := cutHost(t)
			before := s.status()
			cut(gone)
			miss(s, brokers)
			at := s.now
			s.table.Adopt(before, s.now)
			if s.guard(membership.GuardObserver) == nil {
				t.Fatalf("guards %v", s.table.Guards())
			}
			for s.now.Sub(at) < 11*time.Second {
				s.pass(time.Second)
				if n := len(s.status().Roles["sip_proxy"]); n != 3 {
					t.Fatalf("%d proxies are listed %v after the take-over", n, s.now.Sub(at))
				}
			}
		})
	}
}

// An observer that stood still takes a beat first: that must not oust those whose
// return it has not come to yet.
func TestTheFirstBeatAfterAPauseOustsNobody(t *testing.T) {
	s := newStage(t, membership.Config{})
	p := s.troop(3, "p", "sip_proxy", "b1")
	s.troop(5, "m", "media_relay", "b1")
	s.pass(20 * time.Second)
	for _, a := range p {
		a.cut = true
		s.hangUp(a, "Client Closed")
	}
	if s.pass(time.Second); s.count("sip_proxy") != 3 {
		t.Fatalf("%d are left", s.count("sip_proxy"))
	}
	s.now = s.now.Add(20 * time.Second) // all three are back meanwhile
	s.moves(p[0], "b2#1")
	if n := s.count("sip_proxy"); n != 3 {
		t.Errorf("%d are left after the first beat", n)
	}
	s.moves(p[1], "b2#2")
	s.moves(p[2], "b2#3")
	s.pass(5 * time.Second)
	for _, m := range s.status().Roles["sip_proxy"] {
		if m.State != subjects.Up {
			t.Errorf("%+v", m)
		}
	}
}

// An observer that takes messages but lets no time pass for long is behind: what is
// silent then may wait in its queues.
func TestABusyObserverIsPausedToo(t *testing.T) {
	s := newStage(t, membership.Config{})
	p := s.troop(10, "p", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	for range 11 {
		s.now = s.now.Add(time.Second)
		for _, a := range p[1:] {
			s.beat(a)
		}
	}
	s.table.Advance(s.now)
	if !s.listed(p[0]) || s.guard(membership.GuardObserver) == nil {
		t.Errorf("guards %v, %d are left", s.table.Guards(), s.count("sip_proxy"))
	}
	p[0].cut = true
	if s.pass(13 * time.Second); s.listed(p[0]) {
		t.Error("it is still there")
	}
}

// A check that failed before this observer missed something proves nothing: the member
// may have recovered unheard. When this observer may know, it is.
func TestACheckThatFailedBeforeACutIsNoProof(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1, n2 := s.cast("n1", "sip_proxy", "b1#1"), s.cast("n2", "sip_proxy", "b2#1")
	s.cast("x1", "media_relay", "b1#2")
	s.pass(20 * time.Second)
	n2.cut = true
	s.hangUp(n2, "Client Closed")
	s.pass(time.Second)
	n1.state = subjects.Down
	if s.pass(2 * time.Second); s.listed(n2) || !s.listed(n1) {
		t.Fatal("n1 is not the last one, and kept")
	}
	n1.cut = true
	s.pass(time.Second)
	s.table.Blind(s.now)
	n2.boot = "b"
	s.moves(n2, "b2#2")
	if s.pass(2 * time.Second); !s.listed(n1) {
		t.Error("n1 was removed for what it announced before the cut")
	}
	n1.cut = false
	if s.pass(12 * time.Second); s.listed(n1) {
		t.Error("n1 says that its check fails, and is kept beside another one")
	}
}

// A member failed while another was up, which left then: here the role is empty. Another manager, which
// heard of the failure later, keeps it as the last one, and so does who takes over.
func TestTheLastMemberOfAnotherManagerStays(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1, n2, other := s.cast("n1", "sip_proxy", "b1#1"), s.cast("n2", "sip_proxy", "b1#2"), s.cast("m1", "media_relay", "b1#3")
	s.pass(20 * time.Second)
	n1.cut = true
	s.hangUp(n1, "Client Closed")
	s.pass(time.Second)
	n2.state = subjects.Leave
	s.beat(n2)
	n2.cut = true
	s.pass(time.Second)
	if s.count("sip_proxy") != 0 || !s.listed(other) {
		t.Fatal("the role is not empty")
	}
	kept := s.status()
	kept.Roles["sip_proxy"] = []subjects.Member{{Node: "n1", State: subjects.Up, Addresses: addresses("10.0.0.1"), Weight: 100}}
	s.table.TakeUp(kept, 0, s.now, s.now)
	s.pass(time.Minute)
	if m := s.status().Member("sip_proxy", "n1"); m == nil || m.State != subjects.Suspect {
		t.Errorf("a minute later: %+v", m)
	}
}

// One of two processes of a node ended, and the other was not heard for a while: the manager that lists the
// node hears that one elsewhere, and who takes over keeps it. A node that had one process goes.
func TestOneOfTwoProcessesEndedAndTheOtherIsHeardElsewhere(t *testing.T) {
	ends := map[string]func(*stage, *actor){
		"left": func(s *stage, a *actor) { a.state = subjects.Leave; s.beat(a) },
		"lost": func(s *stage, a *actor) { s.hangUp(a, "Client Closed") },
	}
	for name, end := range ends {
		for _, two := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, two processes: %v", name, two), func(t *testing.T) {
				s := newStage(t, membership.Config{})
				threeBrokers(s)
				s.cast("n2", "sip_proxy", "b1#1")
				n1 := s.cast("n1", "sip_proxy", "b2#1")
				s.pass(20 * time.Second)
				ended := n1
				if two {
					ended = s.cast("n1", "sip_proxy", "b1#2")
					ended.boot = "newer"
					s.beat(ended)
					s.pass(5 * time.Second)
				}
				kept := s.status()
				n1.cut = two
				s.pass(4 * time.Second)
				end(s, ended)
				ended.cut = true
				s.pass(2 * time.Second)
				if s.listed(n1) {
					t.Fatal("it is listed here")
				}
				s.table.TakeUp(kept, 0, s.now, s.now)
				if s.listed(n1) != two {
					t.Errorf("who takes over lists it: %v", s.listed(n1))
				}
			})
		}
	}
}

// Who only watched the network departs without a name.
func TestAMonitorThatLeavesDoesNotDepart(t *testing.T) {
	for role, want := range map[string]int{"thor_monitor": 0, "sip_proxy": 1} {
		s := newStage(t, membership.Config{})
		s.cast("n1", "sip_proxy", "b1#1")
		desk := s.cast("desk", role, "b1#2")
		s.pass(time.Second)
		desk.state = subjects.Leave
		s.beat(desk)
		desk.cut = true
		s.pass(time.Second)
		if got := len(s.status().Departed); got != want || s.listed(desk) {
			t.Errorf("%s: %d departed, listed %v", role, got, s.listed(desk))
		}
	}
}
