package membership_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A rack of 8 of 30 nodes loses the way to two of three brokers. All sat on b1; half
// of them dial b2 first, which takes 3 s to time out.
func TestARackThatReachesOneBrokerOnlyStays(t *testing.T) {
	s := newStage(t, membership.Config{})
	var all []*actor
	for i := range 30 {
		all = append(all, s.cast(fmt.Sprintf("n%02d", i), "sip_proxy", fmt.Sprintf("b%d#%d", i%3+1, i)))
	}
	s.pass(20 * time.Second)
	var rack []*actor
	for i := 0; i < 24; i += 3 {
		all[i].cut = true
		rack = append(rack, all[i])
	}
	s.pass(3 * time.Second)
	for i, a := range rack {
		s.hangUp(a, "Stale Connection")
		if i < 4 {
			s.moves(a, fmt.Sprintf("b3#10%d", i))
		}
	}
	s.pass(2600 * time.Millisecond)
	if n := s.count("sip_proxy"); n != 30 {
		t.Errorf("%d of 30 are left", n)
	}
	for i, a := range rack[4:] {
		s.moves(a, fmt.Sprintf("b3#20%d", i))
	}
	s.pass(time.Minute)
	if n := s.count("sip_proxy"); n != 30 {
		t.Errorf("%d of 30 are left after a minute", n)
	}
}

// A single node that freezes is out when the grace for it is over.
func TestOneFrozenNodeIsOutByItsBrokersWord(t *testing.T) {
	s := newStage(t, membership.Config{})
	for i := range 3 {
		s.cast(fmt.Sprintf("b%d", i+1), "thor_eventserver", fmt.Sprintf("b%d#1", i+1))
	}
	all := s.troop(10, "n", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	all[0].cut = true
	s.pass(3 * time.Second)
	s.hangUp(all[0], "Stale Connection")
	s.pass(2100 * time.Millisecond)
	if s.listed(all[0]) {
		t.Error("it is still listed")
	}
}

// A connection that a broker gave up proves nothing while that broker, or this
// observer, is cut off from the others.
func TestAConnectionGivenUpByACutOffBrokerProvesNothing(t *testing.T) {
	for name, doubt := range map[string]func(s *stage){
		"nothing is heard through another broker": nil,
		"one other broker is not heard":           func(s *stage) { s.acts[2].cut = true; s.pass(2100 * time.Millisecond) },
		"the broker says that it is alone":        func(s *stage) { s.table.Alone("b1", true, s.now) },
		"this observer was cut off":               func(s *stage) { s.table.Blind(s.now) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			brokers := []*actor{s.cast("b1", "thor_eventserver", "b1#1"), s.cast("b2", "thor_eventserver", "b2#1"), s.cast("b3", "thor_eventserver", "b3#1")}
			here, n1, n2 := s.cast("n3", "sip_proxy", "b1#4"), s.cast("n1", "sip_proxy", "b1#2"), s.cast("n2", "sip_proxy", "b2#2")
			s.pass(20 * time.Second)
			n1.cut = true // it is on its way to b2
			if doubt == nil {
				brokers[1].cut, brokers[2].cut, n2.cut = true, true, true
			}
			s.pass(3 * time.Second)
			if doubt != nil {
				doubt(s)
			}
			s.hangUp(n1, "Slow Consumer (Write Deadline)")
			s.pass(2900 * time.Millisecond)
			if !s.listed(n1) {
				t.Error("it was removed on the word of a broker that is cut off")
			}
			s.hangUp(here, "Client Closed") // what the client did is proof, unless it has to leave
			here.cut = true
			s.pass(2900 * time.Millisecond)
			if alone := strings.Contains(name, "alone"); s.listed(here) != alone {
				t.Errorf("a process that ended is listed: %v", !alone)
			}
		})
	}
}

// While this observer was cut off for 400 ms, a node came back through another
// broker. It beats once a second.
func TestAfterACutAMemberHasTheTimeOfABeat(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1 := s.cast("n1", "sip_proxy", "b1#1")
	s.cast("n2", "sip_proxy", "b2#2")
	s.pass(20 * time.Second)
	s.hangUp(n1, "Client Closed")
	n1.via, n1.cut = "b3#1", true
	s.pass(400 * time.Millisecond)
	s.table.Blind(s.now)
	s.pass(700 * time.Millisecond)
	s.moves(n1, "b3#1")
	if s.pass(5 * time.Second); !s.listed(n1) {
		t.Error("it beats and was removed")
	}
	if m := s.status().Member("sip_proxy", "n1"); m != nil && !m.Since.Equal(t0) {
		t.Error("it was out for a moment")
	}
}

// A standby in the smaller part of a partition heard its broker give up n1, which
// lives on through another. It is elected right after the heal.
func TestAStandbyOfAPartKeepsWhoLivesInTheOther(t *testing.T) {
	s := newStage(t, membership.Config{})
	s.cast("m2", "thor_manager", "b1#9")
	n1 := s.cast("n1", "sip_proxy", "b1#1")
	s.cast("n2", "sip_proxy", "b1#2")
	s.pass(20 * time.Second)
	before := s.status()
	n1.cut = true
	s.pass(4 * time.Second)
	s.hangUp(n1, "Stale Connection")
	s.pass(20 * time.Second)
	s.table.Adopt(before, s.now)
	s.pass(500 * time.Millisecond)
	if !s.listed(n1) {
		t.Error("it is up in the adopted status, beats, and is missing")
	}
}

// The broker of this manager is alone, and its clients leave it: they hear that
// before this manager does, or after it, and close their connections themselves.
func TestWhoLeavesTheBrokerOfThisManagerThatIsAloneStays(t *testing.T) {
	for name, c := range map[string]struct {
		before, after time.Duration // the broker's word comes so long before the end, or after it
		unknown       bool          // the broker did not say which connection ended
		gone          bool          // it is removed
	}{
		"its word came before":                           {before: 500 * time.Millisecond},
		"its word came before, the connection not known": {before: 500 * time.Millisecond, unknown: true},
		"its word comes after":                           {after: 400 * time.Millisecond},
		"it is not alone":                                {gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			n1 := s.cast("n1", "sip_proxy", "b1#2")
			s.cast("n2", "sip_proxy", "b1#3")
			s.pass(20 * time.Second)
			alone := func() {
				if !c.gone {
					s.table.Alone("b1", true, s.now)
				}
			}
			if c.before > 0 {
				alone()
				s.pass(c.before)
			}
			n1.cut = true // it goes on at a broker that this manager does not hear
			if c.unknown {
				n1.via = ""
			}
			s.hangUp(n1, "Client Closed")
			s.pass(c.after)
			for range 5 {
				alone()
				s.pass(time.Second)
			}
			if s.listed(n1) == c.gone {
				t.Errorf("it is listed: %v", !c.gone)
			}
		})
	}
}

// What a broker gave up while it was alone is no proof when it is alone no more.
func TestWhatWasGivenUpWhileAloneIsNoProofAfterTheHeal(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1 := s.cast("n1", "sip_proxy", "b1#2")
	s.cast("n2", "sip_proxy", "b2#2")
	s.pass(20 * time.Second)
	n1.cut = true
	s.pass(3 * time.Second)
	s.table.Alone("b1", true, s.now)
	s.hangUp(n1, "Stale Connection")
	s.pass(time.Second)
	s.table.Alone("b1", false, s.now)
	if s.pass(3 * time.Second); !s.listed(n1) {
		t.Error("it was removed")
	}
	// Once the broker is among the others again its word counts.
	s.moves(n1, "b1#3")
	s.pass(3 * time.Second)
	n1.cut = true
	s.pass(2500 * time.Millisecond)
	s.hangUp(n1, "Stale Connection")
	if s.pass(3 * time.Second); s.listed(n1) {
		t.Error("it is still listed")
	}
}

// A broker gives its connections up a moment before it says that it is alone.
func TestABrokerThatIsAloneSoonAfterwardsProvesNothing(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1 := s.cast("n1", "sip_proxy", "b1#2")
	s.cast("n2", "sip_proxy", "b2#2")
	s.pass(20 * time.Second)
	n1.cut = true
	s.pass(2 * time.Second)
	s.hangUp(n1, "Stale Connection")
	s.pass(time.Second)
	s.table.Alone("b1", true, s.now)
	if s.pass(4 * time.Second); !s.listed(n1) {
		t.Error("it was removed")
	}
}

// A client gives its connection up for want of pongs; then the packets go through
// again, and what it had sent comes just before the end.
func TestBeatsThatWereHeldUpDoNotMakeTheEndOfAConnectionProof(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1 := s.cast("n1", "sip_proxy", "b1#1")
	s.cast("n2", "sip_proxy", "b2#2")
	s.pass(20 * time.Second)
	n1.cut = true
	s.pass(3 * time.Second)
	n1.cut = false
	for range 3 {
		s.beat(n1)
	}
	n1.cut = true
	s.hangUp(n1, "Client Closed")
	if s.pass(1400 * time.Millisecond); !s.listed(n1) { // it dials a broker that does not greet, and then the next
		t.Error("it was removed")
	}
	s.moves(n1, "b3#1")
	if s.pass(10 * time.Second); !s.listed(n1) {
		t.Error("it beats and was removed")
	}
}

// The broker of this manager is alone: who is silent may beat elsewhere. One that
// stays alone, as the last of a network, is doubted no more in the end.
func TestSilenceBehindABrokerThatIsAloneProvesNothing(t *testing.T) {
	s := newStage(t, membership.Config{})
	here := s.troop(3, "a", "sip_proxy", "b1")
	there := s.troop(3, "c", "sip_proxy", "b2")
	s.pass(20 * time.Second)
	for _, a := range there {
		a.cut = true
	}
	s.pass(3 * time.Second)
	for range 19 {
		s.table.Alone("b1", true, s.now)
		s.pass(time.Second)
	}
	if n := s.count("sip_proxy"); n != 6 || s.guard(membership.GuardObserver) == nil {
		t.Errorf("%d of 6 are left, guard %v", n, s.guard(membership.GuardObserver))
	}
	for range 60 {
		s.table.Alone("b1", true, s.now)
		s.pass(time.Second)
	}
	if s.guard(membership.GuardObserver) != nil {
		t.Error("it is doubted for ever")
	}
	s.hangUp(here[0], "Client Closed")
	here[0].cut = true
	if s.pass(2 * time.Second); s.listed(here[0]) {
		t.Error("a process that ended is still listed")
	}
}

// A broker gives its connections up a moment before it is seen that it is cut off.
func TestABrokerThatIsCutOffWithinTheGraceProvesNothing(t *testing.T) {
	s := newStage(t, membership.Config{})
	s.cast("b1", "thor_eventserver", "b1#1")
	b2, n1 := s.cast("b2", "thor_eventserver", "b2#1"), s.cast("n1", "sip_proxy", "b1#2")
	s.cast("n2", "sip_proxy", "b1#3")
	s.pass(20 * time.Second)
	b2.cut, n1.cut = true, true
	s.pass(1500 * time.Millisecond)
	s.hangUp(n1, "Stale Connection")
	if s.pass(4 * time.Second); !s.listed(n1) {
		t.Error("it was removed")
	}
}

// A client moved behind a route that was cut: it is heard a beat after the route is
// back, and not at once.
func TestABrokerThatIsHeardAgainIsGivenTheTimeOfABeat(t *testing.T) {
	s := newStage(t, membership.Config{})
	brokers := []*actor{s.cast("b1", "thor_eventserver", "b1#1"), s.cast("b2", "thor_eventserver", "b2#1"), s.cast("b3", "thor_eventserver", "b3#1")}
	n1 := s.cast("n1", "sip_proxy", "b3#2")
	s.cast("n2", "sip_proxy", "b1#2")
	s.pass(20 * time.Second)
	brokers[1].cut, n1.cut = true, true
	s.pass(3 * time.Second)
	s.hangUp(n1, "Client Closed")
	s.pass(time.Second)
	brokers[1].cut = false
	if s.pass(1500 * time.Millisecond); !s.listed(n1) {
		t.Error("it was removed before it could be heard")
	}
	s.moves(n1, "b2#2")
	if s.pass(10 * time.Second); !s.listed(n1) {
		t.Error("it beats and was removed")
	}
}

// The newer of two processes falls silent while this observer is blind. The older
// one, which beats, counts before the newer is removed.
func TestAReplacedProcessCountsWhenTheNewerIsSilentUnderAGuard(t *testing.T) {
	s := newStage(t, membership.Config{})
	old := s.cast("n1", "sip_proxy", "b1#1")
	s.cast("n2", "sip_proxy", "b1#2")
	s.pass(20 * time.Second)
	s.acts = append(s.acts, &actor{node: "n1", role: "sip_proxy", boot: "b", via: "b1#3"})
	s.pass(5 * time.Second)
	s.acts[2].cut = true
	s.pass(9 * time.Second)
	s.table.Blind(s.now)
	for range 30 {
		if s.pass(time.Second); !s.listed(old) {
			t.Fatal("it was out though a process of it beats")
		}
	}
}

// Nodes that hear no tick look for one at another broker, and close that connection
// again. Its end explains no silence: the guard against mass silence stays up.
func TestTheEndOfAConnectionBesideExplainsNoSilence(t *testing.T) {
	s := newStage(t, membership.Config{})
	s.cast("x1", "sip_proxy", "b1#99") // or else guard G5 suspects b1
	cut := s.troop(5, "n", "sip_proxy", "b1")
	s.troop(5, "o", "sip_proxy", "b2")
	s.pass(20 * time.Second)
	for _, a := range cut {
		a.cut = true
	}
	s.pass(4 * time.Second)
	for i, a := range cut {
		s.table.Disconnect(membership.Disconnect{Node: subjects.NodeID(a.node), Via: fmt.Sprintf("b2#20%d", i), Reason: "Client Closed"}, s.now)
	}
	s.pass(8 * time.Second)
	if n := s.count("sip_proxy"); n != 11 {
		t.Errorf("%d of 11 are left", n)
	}
}

// An observer that heard no member for a while doubts what brokers gave up, also when
// it hears some again.
func TestWhatWasGivenUpIsNoProofAfterAnIsolation(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1, n2 := s.cast("n1", "sip_proxy", "b1#2"), s.cast("n2", "sip_proxy", "b2#2")
	s.pass(20 * time.Second)
	n1.cut, n2.cut = true, true
	s.pass(3500 * time.Millisecond)
	n2.cut = false // n1 is on its way to b3
	s.pass(3 * time.Second)
	s.hangUp(n1, "Stale Connection")
	if s.pass(2900 * time.Millisecond); !s.listed(n1) {
		t.Error("it was removed on the word of a broker")
	}
	s.moves(n1, "b3#1")
	if s.pass(20 * time.Second); !s.listed(n1) || s.guard(membership.GuardObserver) != nil {
		t.Errorf("it is listed: %v, guards %v", s.listed(n1), s.table.Guards())
	}
}
