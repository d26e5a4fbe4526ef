package membership_test

import (
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// threeBrokers are brokers with routes to each other.
func threeBrokers(s *stage) (b1, b2, b3 *actor) {
	b1, b2, b3 = s.cast("b1", "thor_eventserver", "b1#1"), s.cast("b2", "thor_eventserver", "b2#1"), s.cast("b3", "thor_eventserver", "b3#1")
	b1.peers, b2.peers, b3.peers = "b2,b3", "b1,b3", "b1,b2"
	return b1, b2, b3
}

// The route between the manager's broker and b3 is cut; b2 has routes to both.
func TestABrokerBehindACutRouteStays(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	s.pass(20 * time.Second)
	b1.peers, b3.cut = "b2", true
	s.pass(10 * time.Minute)
	if !s.listed(b3) {
		t.Fatal("a broker that another one has a route to is out")
	}
	b2.peers = "b1" // now it is dead
	s.pass(900 * time.Millisecond)
	if !s.listed(b3) {
		t.Error("it is out before the other one says more")
	}
	s.pass(1200 * time.Millisecond)
	if s.listed(b3) {
		t.Error("a broker that none has a route to stays")
	}
}

// A broker that is dead is gone after the silence of its kind: those that had routes to it
// lost them before.
func TestADeadBrokerIsGoneAsBefore(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	s.pass(20 * time.Second)
	b3.cut = true
	s.pass(3 * time.Second)
	b1.peers, b2.peers = "b2", "b1"
	s.pass(8400 * time.Millisecond)
	if !s.listed(b3) {
		t.Fatal("it is gone too soon")
	}
	s.pass(200 * time.Millisecond)
	if s.listed(b3) {
		t.Error("it is still listed")
	}
}

// The word of a broker that is not heard itself, or of a member of another role, does not
// keep a broker.
func TestWhoIsNotHeardKeepsNoBroker(t *testing.T) {
	s := newStage(t, membership.Config{})
	s.cast("b1", "thor_eventserver", "b1#1")
	b2, b3 := s.cast("b2", "thor_eventserver", "b2#1"), s.cast("b3", "thor_eventserver", "b3#1")
	b4 := s.cast("b4", "thor_eventserver", "b4#1")
	p := s.cast("p1", "sip_proxy", "b1#2")
	b2.peers, p.peers = "b3,b4", "b3"
	s.pass(20 * time.Second)
	b2.cut = true
	s.pass(time.Minute)
	b3.cut = true
	s.pass(time.Minute)
	if s.listed(b3) || s.listed(b2) || !s.listed(b4) {
		t.Errorf("listed: b2 %v, b3 %v, b4 %v", s.listed(b2), s.listed(b3), s.listed(b4))
	}
}

// One that has fallen silent itself keeps none, before it is judged too.
func TestWhoFallsSilentKeepsNoBroker(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	s.troop(3, "b1", "thor_eventserver", "b1") // so that two are not many
	s.troop(6, "n", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	b1.peers, b3.cut = "b2", true
	s.pass(5 * time.Second)
	b2.cut = true
	s.pass(7 * time.Second)
	if s.listed(b3) {
		t.Error("it stays by the word of one that is silent for seven seconds")
	}
}

// An observer that is cut off itself hears those no more that name others: that removes none.
func TestAnObserverThatIsCutOffRemovesNoBroker(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, _, b3 := threeBrokers(s)
	all := s.troop(3, "n", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	b1.peers, b3.cut = "b2", true
	s.pass(20 * time.Second)
	for _, a := range s.acts {
		a.cut = true
	}
	s.pass(1600 * time.Millisecond)
	all[0].cut = false
	s.beat(all[0]) // and no more
	all[0].cut = true
	s.pass(10 * time.Second)
	if !s.listed(b3) {
		t.Error("it is removed")
	}
}

// Nor does one that is cut off with its broker, and hears the members there: who named the broker until
// then may go on doing so.
func TestAnObserverThatIsCutOffWithItsBrokerRemovesNoBroker(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	s.troop(10, "n", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	b1.peers, b3.cut = "b2", true
	s.pass(20 * time.Second)
	b1.peers, b2.cut = "", true
	s.pass(10 * time.Second)
	if !s.listed(b3) {
		t.Error("it is removed")
	}
	s.pass(5 * time.Minute)
	if s.listed(b3) && s.listed(b2) {
		t.Error("they keep each other")
	}
}

// A broker that was lost and comes back behind a cut route is listed again by the word of
// another one, after it was named for two seconds; one that left is not.
func TestALostBrokerThatIsNamedIsBack(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	b4 := s.cast("b4", "thor_eventserver", "b4#1")
	s.pass(20 * time.Second)
	b4.state = subjects.Leave
	s.beat(b4)
	b1.peers, b2.peers, b3.cut, b4.cut = "b2", "b1", true, true
	s.pass(time.Minute)
	if s.listed(b3) {
		t.Fatal("it is not lost")
	}
	b2.peers = "b1,b3,b4"
	s.pass(1900 * time.Millisecond)
	if s.listed(b3) {
		t.Error("it is back before it could have said so itself")
	}
	s.pass(2100 * time.Millisecond)
	if !s.listed(b3) {
		t.Fatal("it is not back")
	}
	s.pass(time.Minute)
	if !s.listed(b3) || s.listed(b4) {
		t.Errorf("a minute later: b3 %v, b4, which left, %v", s.listed(b3), s.listed(b4))
	}
	if m := s.status().Member(subjects.EventServer, "b3"); m.State != subjects.Up {
		t.Errorf("it is %s: %s", m.State, m.Reason)
	}
}

// A broker that a guard holds is no suspect any more when another one names it.
func TestASuspectBrokerThatIsNamedIsUp(t *testing.T) {
	s := newStage(t, membership.Config{})
	b1, b2, b3 := threeBrokers(s)
	s.pass(20 * time.Second)
	b1.peers, b2.cut, b3.cut = "", true, true
	s.pass(15 * time.Second)
	if m := s.status().Member(subjects.EventServer, "b3"); m == nil || m.State != subjects.Suspect {
		t.Fatalf("two of three at once: %+v", m)
	}
	b2.cut, b2.peers = false, "b1,b3"
	s.pass(5 * time.Second)
	if m := s.status().Member(subjects.EventServer, "b3"); m == nil || m.State != subjects.Up {
		t.Errorf("%+v", m)
	}
}

// While a broker runs where this observer does not hear it, a member may have come to it and
// be on its way back: its silence is borne for longer. Without such a broker it is not.
func TestWhoMayBeBehindACutRouteHasTimeToReturn(t *testing.T) {
	for _, c := range []struct {
		name     string
		peers    string // of b2
		cut      bool   // b3 is
		in, gone time.Duration
	}{
		{"b3 is heard", "b1,b3", false, 9900 * time.Millisecond, 10100 * time.Millisecond},
		{"b3 is behind a cut route", "b1,b3", true, 13900 * time.Millisecond, 14100 * time.Millisecond},
		{"b3 is dead", "b1", true, 9900 * time.Millisecond, 10100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			b1, b2, b3 := threeBrokers(s)
			all := s.troop(10, "n", "sip_proxy", "b1")
			s.pass(20 * time.Second)
			b1.peers, b2.peers, b3.cut = "b2", c.peers, c.cut
			s.pass(30 * time.Second)
			all[0].cut = true
			s.pass(c.in)
			if !s.listed(all[0]) {
				t.Errorf("gone within %v", c.in)
			}
			s.pass(c.gone - c.in)
			if s.listed(all[0]) {
				t.Errorf("still there after %v", c.gone)
			}
		})
	}
}

// A member may go to a broker in the moment in which that is cut off: what was heard last of the
// broker is a beat older than what was heard of the member then.
func TestWhoGoesToABrokerThatIsJustCutOffHasTimeToReturn(t *testing.T) {
	for _, c := range []struct {
		name       string
		cut        bool
		last, gone time.Duration // of the member, after the broker's last beat
	}{
		{"it may have gone there", true, 900 * time.Millisecond, 11500 * time.Millisecond},
		{"the broker was silent before", true, 2100 * time.Millisecond, 12100 * time.Millisecond},
		{"the broker is heard", false, 900 * time.Millisecond, 10900 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			b1, b2, b3 := threeBrokers(s)
			all := s.troop(10, "n", "sip_proxy", "b1")
			s.pass(20 * time.Second)
			if c.cut {
				b1.peers, b2.cut, b3.peers = "b3", true, "b1"
			}
			s.pass(c.last)
			s.beat(all[0])
			all[0].cut = true
			s.pass(c.gone - c.last - 100*time.Millisecond)
			if !s.listed(all[0]) {
				t.Errorf("gone within %v", c.gone)
			}
			s.pass(200 * time.Millisecond)
			if s.listed(all[0]) {
				t.Errorf("still there after %v", c.gone)
			}
		})
	}
}

// What a process said last may be among the input that was lost: that it moves. Where it may have
// gone to a broker that is not heard, the end of its connection is no proof then.
func TestAMoveMayBeAmongWhatWasLost(t *testing.T) {
	for _, c := range []struct {
		name         string
		missed, away bool // input was lost; a broker is not heard
		listed       bool // three seconds later
	}{
		{"all was heard", false, true, false},
		{"input was lost, all brokers are heard", true, false, false},
		{"input was lost, a broker is not heard", true, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			_, b2, _ := threeBrokers(s)
			all := s.troop(10, "n", "sip_proxy", "b1")
			s.pass(20 * time.Second)
			b2.cut = c.away
			s.pass(3 * time.Second)
			if c.missed {
				s.table.Missed(s.now)
			}
			s.hangUp(all[0], "Client Closed")
			all[0].cut = true
			s.pass(3 * time.Second)
			if s.listed(all[0]) != c.listed {
				t.Errorf("listed: %v", !c.listed)
			}
			s.pass(15 * time.Second)
			if s.listed(all[0]) {
				t.Error("its silence does not decide")
			}
		})
	}
}

// An observer that hears nothing at all may be cut off: it removes none by silence, nor by a
// broker's word that it gave a connection up, until it knows.
func TestNothingIsJudgedWhileNothingIsHeard(t *testing.T) {
	for name, fail := range map[string]func(s *stage, a *actor){
		"silence": func(s *stage, a *actor) {
			a.cut = true
			s.pass(8 * time.Second)
		},
		"a connection that its broker gave up": func(s *stage, a *actor) {
			a.cut = true
			s.hangUp(a, "Stale Connection")
			s.pass(900 * time.Millisecond) // the others beat once more before the grace is over, not after it
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			threeBrokers(s)
			all := s.troop(10, "n", "sip_proxy", "b1")
			s.pass(20 * time.Second)
			fail(s, all[0])
			for _, a := range s.acts {
				a.cut = true
			}
			s.pass(5 * time.Second)
			if !s.listed(all[0]) {
				t.Error("it is removed by one who hears nothing")
			}
			if s.guard(membership.GuardObserver) == nil {
				t.Error("that it hears nothing is not found")
			}
		})
	}
}
