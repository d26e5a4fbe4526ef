package membership_test

import (
	"fmt"
	"testing"
	"time"

	"thor/manager/membership"
)

// A process that moves to another broker says so first: the end of its connection
// proves nothing, whichever of the two is heard first, and wherever it went.
func TestAProcessThatMovesIsNotTakenForDead(t *testing.T) {
	for name, told := range map[string]func(s *stage, a *actor){
		"it says so, the connection ends": func(s *stage, a *actor) { s.saysItMoves(a); s.hangUp(a, "Client Closed") },
		"the connection ends, its word is late": func(s *stage, a *actor) {
			s.hangUp(a, "Client Closed")
			s.pass(300 * time.Millisecond)
			s.saysItMoves(a)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, membership.Config{})
			all := s.troop(4, "n", "sip_proxy", "b1")
			s.pass(20 * time.Second)
			told(s, all[0])
			all[0].cut = true // it went where it is not heard
			s.pass(8 * time.Second)
			if !s.listed(all[0]) {
				t.Fatal("it is taken for dead")
			}
			s.moves(all[0], "b2#7")
			s.pass(10 * time.Second)
			s.hangUp(all[0], "Client Closed") // of that connection it said nothing
			all[0].cut = true
			s.pass(700 * time.Millisecond)
			if s.listed(all[0]) {
				t.Error("its end is not seen")
			}
		})
	}
	t.Run("it does not get through", func(t *testing.T) {
		s := newStage(t, membership.Config{})
		all := s.troop(4, "n", "sip_proxy", "b1")
		s.pass(20 * time.Second)
		s.saysItMoves(all[0])
		s.hangUp(all[0], "Client Closed")
		all[0].cut = true
		s.pass(11500 * time.Millisecond)
		if s.listed(all[0]) {
			t.Error("it stays for ever")
		}
	})
}

// A member far from its broker needs several round trips to come back.
func TestTheGraceGrowsWithTheWay(t *testing.T) {
	for _, c := range []struct{ rtt, listed, gone time.Duration }{
		{0, 400 * time.Millisecond, 700 * time.Millisecond},
		{300 * time.Millisecond, 2200 * time.Millisecond, 2600 * time.Millisecond},
		{time.Hour, 3400 * time.Millisecond, 3800 * time.Millisecond},
	} {
		s := newStage(t, membership.Config{})
		all := s.troop(4, "n", "sip_proxy", "b1")
		s.pass(20 * time.Second)
		s.table.Disconnect(membership.Disconnect{Node: "n01", Boot: "a", Via: all[0].via, Reason: "Client Closed", RTT: c.rtt}, s.now)
		all[0].cut = true
		s.pass(c.listed)
		if !s.listed(all[0]) {
			t.Errorf("round trip %v: out within %v", c.rtt, c.listed)
		}
		s.pass(c.gone - c.listed)
		if s.listed(all[0]) {
			t.Errorf("round trip %v: still there after %v", c.rtt, c.gone)
		}
	}
}

// While a broker is lost, who may have gone to it is not out by another broker's word
// that it gave a connection up: the lost one may run where this observer does not hear it.
func TestALostBrokerMayHideWhoMoved(t *testing.T) {
	s := newStage(t, membership.Config{})
	var bs []*actor
	for i := range 3 {
		bs = append(bs, s.cast(fmt.Sprintf("b%d", i+1), "thor_eventserver", fmt.Sprintf("b%d#1", i+1)))
	}
	all := s.troop(10, "n", "sip_proxy", "b1")
	s.pass(20 * time.Second)
	bs[2].cut = true
	s.pass(30 * time.Second)
	if s.listed(bs[2]) {
		t.Fatal("the broker is not lost")
	}
	all[0].cut = true
	s.pass(3 * time.Second)
	s.hangUp(all[0], "Stale Connection")
	s.pass(4 * time.Second)
	if !s.listed(all[0]) {
		t.Error("it is out")
	}
	s.pass(4 * time.Second)
	if s.listed(all[0]) {
		t.Error("its silence does not decide")
	}
}
