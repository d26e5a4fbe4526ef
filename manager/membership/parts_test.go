package membership_test

import (
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A broker gives a connection up while another broker is heard again since a moment ago:
// the client may have gone there. It proves nothing, also when that moment is over before
// the grace is (G4).
func TestWhatWasGivenUpDuringACutIsNoProofAfterIt(t *testing.T) {
	s := newStage(t, membership.Config{})
	s.cast("b1", "thor_eventserver", "b1#1")
	b2, n1 := s.cast("b2", "thor_eventserver", "b2#1"), s.cast("n1", "sip_proxy", "b1#2")
	s.cast("n2", "sip_proxy", "b1#3")
	s.pass(20 * time.Second)
	b2.cut = true
	s.pass(3 * time.Second)
	b2.cut, n1.cut = false, true
	s.pass(3400 * time.Millisecond) // b2 is heard since 2.4 s
	s.hangUp(n1, "Stale Connection")
	if s.pass(3 * time.Second); !s.listed(n1) {
		t.Error("it was removed on the word of a broker")
	}
	s.moves(n1, "b2#2")
	if s.pass(20 * time.Second); !s.listed(n1) {
		t.Error("it beats and was removed")
	}
}

// A broker is suspected because others are heard elsewhere. Where none is, its silence
// says nothing of it (G5).
func TestABrokerIsNotSuspectedWhereNoOtherIsHeard(t *testing.T) {
	s := newStage(t, membership.Config{})
	n1, n2 := s.cast("n1", "thor_monitor", "b1#1"), s.cast("n2", "thor_monitor", "b1#2")
	n2.state = subjects.Down // else this observer would think itself cut off
	s.pass(20 * time.Second)
	n1.cut, n2.cut = true, true
	if s.pass(10500 * time.Millisecond); s.listed(n1) || len(s.table.Guards()) > 0 {
		t.Errorf("listed %v, guards %v", s.listed(n1), s.table.Guards())
	}
}

// Beats that name no connection show as well as any that others are heard (G5).
func TestABrokerIsSuspectedWhereBeatsNameNoConnection(t *testing.T) {
	for _, beats := range []bool{true, false} {
		s := newStage(t, membership.Config{})
		ns := s.troop(2, "n", "thor_monitor", "b1")
		other := s.cast("m1", "media_relay", "")
		if s.pass(20 * time.Second); !beats {
			other.cut = true
		}
		ns[0].cut, ns[1].cut = true, true
		s.pass(10500 * time.Millisecond)
		if g := s.guard(membership.GuardBroker); (g != nil) != beats {
			t.Errorf("others beat %v: guard %+v", beats, g)
		}
	}
}

// A hold-down doubles up to the longest one (G6).
func TestAHoldDownIsBounded(t *testing.T) {
	s := newStage(t, membership.Config{HoldDown: 30 * time.Second, MaxHoldDown: 100 * time.Second})
	n1 := s.cast("n1", "sip_proxy", "b1#1")
	s.cast("n2", "sip_proxy", "b1#2")
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 100 * time.Second, 100 * time.Second} {
		for range 3 {
			for _, n1.state = range []subjects.State{subjects.Down, subjects.Up} {
				s.beat(n1)
			}
		}
		if g := s.guard(membership.GuardDamping); g == nil || !strings.Contains(g.Detail, "out for "+want.String()) {
			t.Fatalf("guard %+v, want %v", g, want)
		}
		if s.pass(want - time.Second); s.listed(n1) {
			t.Errorf("it is in again before %v", want)
		}
		if s.pass(2 * time.Second); !s.listed(n1) {
			t.Errorf("it is still out after %v", want)
		}
	}
}

// Two that fail their checks at once are out, whatever failed long ago.
func TestTwoFailedChecksAreNoMassFailure(t *testing.T) {
	s, ps := checked(t, 3, 1)
	s.pass(70 * time.Second)
	for _, a := range ps[1:] {
		a.state = subjects.Down
		s.beat(a)
	}
	s.pass(time.Second)
	if n := s.count("sip_proxy"); n != 1 || s.guard(membership.GuardChecks) != nil { // the last one stays
		t.Errorf("%d are left, guards %v", n, s.table.Guards())
	}
}
