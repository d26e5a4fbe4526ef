package membership_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// checkLosses looks whether each pair is in one list at most.
func (w *world) checkLosses(s *subjects.Status) {
	for _, l := range s.Lost {
		if s.Member(l.Role, l.Node) != nil || s.FindHeld(l.Role, l.Node) != nil {
			w.broke("%s as %s is lost and something else", l.Node, l.Role)
		}
	}
	for _, h := range s.Held {
		if s.Member(h.Role, h.Node) != nil {
			w.broke("%s as %s is held and in its role", h.Node, h.Role)
		}
	}
}

// noteLoss notes that e, which s followed, took out a member that the status before
// did not list as draining: such a member is lost until it is back, or left.
func (w *world) noteLoss(e *subjects.Event, s *subjects.Status) {
	pair := subjects.Pair{Node: e.Node, Role: e.Role}
	delete(w.missing, pair)
	before := w.status.Member(e.Role, e.Node)
	if e.Kind != subjects.EventLeave || e.Cause == subjects.CauseLeave || e.Cause == subjects.CauseRevoked ||
		before == nil || before.State == subjects.Draining || w.proc(e.Node).left {
		return
	}
	w.missing[pair] = e.Detail
	if s.FindLost(e.Role, e.Node) == nil && s.FindHeld(e.Role, e.Node) == nil && s.Member(e.Role, e.Node) == nil {
		w.broke("%s as %s was removed and is not lost: %s", e.Node, e.Role, e.Detail)
	}
}

// A tableAt is a table of a manager whose clock is off by skew.
type tableAt struct {
	*membership.Table
	skew time.Duration
	seqs map[string]uint64
}

func newTableAt(skew time.Duration, cfg membership.Config) *tableAt {
	return &tableAt{membership.New(cfg), skew, map[string]uint64{}}
}

// beats lets the nodes beat once a second from one moment to another, and time
// pass.
func (x *tableAt) beats(t *testing.T, from, to time.Duration, nodes ...string) {
	t.Helper()
	for d := from; d < to; d += time.Second {
		for _, n := range nodes {
			x.announce(t, n, subjects.Up, d)
		}
		x.Advance(x.at(d))
	}
}

func (x *tableAt) at(d time.Duration) time.Time { return t0.Add(d + x.skew) }

func (x *tableAt) announce(t *testing.T, node string, state subjects.State, d time.Duration) {
	t.Helper()
	x.seqs[node]++
	if err := x.Announce(&subjects.Announcement{
		V: 1, Node: subjects.NodeID(node), Role: "sip_proxy", Boot: "boot" + node, Seq: x.seqs[node], State: state, Addresses: slices.Clip(addresses("10.0.0.1")),
	}, x.at(d)); err != nil {
		t.Fatal(err)
	}
}

func (x *tableAt) status(d time.Duration) *subjects.Status {
	s := &subjects.Status{V: 1, Time: x.at(d)}
	x.Fill(s)
	return s
}

// A manager whose clock is a day off takes over losses and hold-downs with what is
// left of their time, and shows them by its own clock.
func TestLossesOutliveAManagerWhateverItsClock(t *testing.T) {
	for _, skew := range []time.Duration{0, 24 * time.Hour, -24 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			cfg := membership.Config{LostFor: 10 * time.Minute}
			old := newTableAt(0, cfg)
			old.beats(t, 0, 5*time.Second, "n1", "n2", "n3", "n4", "n5")
			for range 3 { // n2 fails its check again and again
				old.announce(t, "n2", subjects.Down, 5*time.Second)
				old.announce(t, "n2", subjects.Up, 5*time.Second)
			}
			old.beats(t, 5*time.Second, 25*time.Second, "n2", "n3", "n4", "n5") // n1 falls silent
			told := old.status(25 * time.Second)
			l, h := told.FindLost("sip_proxy", "n1"), told.FindHeld("sip_proxy", "n2")
			if l == nil || h == nil {
				t.Fatalf("lost %+v, held %+v", told.Lost, told.Held)
			}
			since, until := l.Since.Sub(t0), h.Until.Sub(t0)

			next := newTableAt(skew, cfg)
			next.AdoptAged(told, 5*time.Second, next.at(30*time.Second)) // it was on its way for 5 s
			got := next.status(30 * time.Second)
			l, h = got.FindLost("sip_proxy", "n1"), got.FindHeld("sip_proxy", "n2")
			if l == nil || h == nil {
				t.Fatalf("taken over: lost %+v, held %+v", got.Lost, got.Held)
			}
			if d := l.Since.Sub(next.at(since)).Abs(); d > time.Second {
				t.Errorf("lost since %v by its own clock, want %v", l.Since, next.at(since))
			}
			if d := h.Until.Sub(next.at(until)).Abs(); d > time.Second {
				t.Errorf("held until %v by its own clock, want %v", h.Until, next.at(until))
			}
			end := since + cfg.LostFor
			returned := time.Duration(0)
			for d := 30 * time.Second; d < end+2*time.Second; d += time.Second {
				next.beats(t, d, d+time.Second, "n2", "n3", "n4", "n5")
				s := next.status(d)
				if returned == 0 && s.Member("sip_proxy", "n2") != nil {
					returned = d
				}
				if gone := s.FindLost("sip_proxy", "n1") == nil; gone != (d >= end) {
					t.Fatalf("at %v: forgotten is %v, its end is at %v", d, gone, end)
				}
			}
			if returned < until || returned > until+1500*time.Millisecond {
				t.Errorf("n2 returned at %v, was to be held until %v", returned, until)
			}
		})
	}
}

// A member that is held down and dies unheard while the manager changes is lost when
// its time to return is over, not forgotten.
func TestAHeldMemberThatTheNextManagerNeverHearsIsLost(t *testing.T) {
	old := newTableAt(0, membership.Config{})
	old.beats(t, 0, 5*time.Second, "n1", "n2", "n3")
	for range 3 {
		old.announce(t, "n2", subjects.Down, 5*time.Second)
		old.announce(t, "n2", subjects.Up, 5*time.Second)
	}
	told := old.status(6 * time.Second)
	h := told.FindHeld("sip_proxy", "n2")
	if h == nil {
		t.Fatal("n2 is not held")
	}
	until := h.Until.Sub(t0)
	next := newTableAt(0, membership.Config{})
	next.AdoptAged(told, 0, next.at(6*time.Second))
	for d := 6 * time.Second; d < until+5*time.Second; d += time.Second {
		next.beats(t, d, d+time.Second, "n1", "n3")
		if d+time.Second == until { // either will do
			continue
		}
		s := next.status(d + time.Second)
		if held := s.FindHeld("sip_proxy", "n2") != nil; held != (d+time.Second < until) {
			t.Errorf("at %v: held is %v, its end is at %v", d+time.Second, held, until)
		}
		if l := s.FindLost("sip_proxy", "n2"); (l != nil) != (d+time.Second >= until) {
			t.Errorf("at %v: lost is %+v, its end is at %v", d+time.Second, l, until)
		} else if b := s.EncodeFull(s.Encode()); l != nil {
			if _, err := subjects.ParseStatus(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A status of a manager that keeps no losses takes none away.
func TestAManagerThatKeepsNoLossesEndsNone(t *testing.T) {
	x := newTableAt(0, membership.Config{})
	x.beats(t, 0, 5*time.Second, "n1", "n2")
	x.beats(t, 5*time.Second, 20*time.Second, "n2")
	s := x.status(20 * time.Second)
	if s.FindLost("sip_proxy", "n1") == nil {
		t.Fatal("n1 is not lost")
	}
	s.Losses = subjects.Losses{}
	x.Adopt(s, x.at(21*time.Second))
	if x.status(21*time.Second).FindLost("sip_proxy", "n1") == nil {
		t.Error("the loss is gone")
	}
	s.ClearLosses()
	x.Adopt(s, x.at(22*time.Second))
	if x.status(22*time.Second).FindLost("sip_proxy", "n1") != nil {
		t.Error("the loss is there although the active manager says that there is none")
	}
}

// The longest lost goes when there are too many, and that is told.
func TestTheOldestLossMakesRoom(t *testing.T) {
	s := &subjects.Status{V: 1, Time: t0}
	s.ClearLosses()
	for n := range subjects.MaxLost {
		s.Lost = append(s.Lost, subjects.Lost{
			Node: subjects.NodeID(fmt.Sprintf("x%05d", n)), Role: "sip_proxy", Addresses: addresses("10.0.0.1"),
			Since: t0.Add(-time.Duration((n*7919)%subjects.MaxLost) * time.Second), Reason: "silent",
		})
	}
	oldest := slices.MinFunc(s.Lost, func(a, b subjects.Lost) int { return a.Since.Compare(b.Since) }).Node
	x := newTableAt(0, membership.Config{})
	x.AdoptAged(s, 0, t0)
	x.beats(t, 0, 3*time.Second, "n1", "n2")
	x.Events()
	x.announce(t, "n1", subjects.Down, 3*time.Second)
	got := x.status(3 * time.Second)
	if len(got.Lost) != subjects.MaxLost || got.FindLost("sip_proxy", "n1") == nil || got.FindLost("sip_proxy", oldest) != nil {
		t.Errorf("%d lost, n1 among them: %v, the oldest: %v", len(got.Lost), got.FindLost("sip_proxy", "n1") != nil, got.FindLost("sip_proxy", oldest) != nil)
	}
	for _, e := range x.Events() {
		if e.Kind == subjects.EventForget && e.Node == oldest && e.Cause == subjects.CauseFull {
			return
		}
	}
	t.Error("no event tells that the oldest went")
}

// Each way out of a role has its cause.
func TestRemovalsHaveTheirCause(t *testing.T) {
	x := newTableAt(0, membership.Config{DisableDamping: true})
	cause := func(do func()) subjects.Cause {
		t.Helper()
		x.Events()
		do()
		for _, e := range x.Events() {
			if e.Kind == subjects.EventLeave {
				return e.Cause
			}
		}
		return ""
	}
	x.beats(t, 0, 5*time.Second, "n1", "n2", "n3", "n4", "n5", "n6")
	for _, c := range []struct {
		want subjects.Cause
		do   func()
	}{
		{subjects.CauseCheck, func() { x.announce(t, "n1", subjects.Down, 5*time.Second) }},
		{subjects.CauseLeave, func() { x.announce(t, "n2", subjects.Leave, 5*time.Second) }},
		{subjects.CauseRevoked, func() { x.Revoked("n3", "bootn3", "", x.at(5*time.Second)) }},
		{subjects.CauseConnection, func() { x.end("n4", 5*time.Second); x.beats(t, 5*time.Second, 9*time.Second, "n5", "n6") }},
		{subjects.CauseExpired, func() {
			x.Identity(&subjects.Identity{
				V: 1, Broker: "b1", Node: "n6", Serial: "01", Issuer: "02", NotAfter: x.at(9 * time.Second), Roles: []subjects.Role{"sip_proxy"}, Addresses: addresses("10.0.0.1"),
			}, false, x.at(8*time.Second))
			x.end("n6", 9*time.Second)
			x.beats(t, 9*time.Second, 13*time.Second, "n5")
		}},
		{subjects.CauseSilence, func() { // it is not the last one
			x.announce(t, "n7", subjects.Up, 13*time.Second)
			x.beats(t, 13*time.Second, 26*time.Second, "n5")
		}},
	} {
		if got := cause(c.do); got != c.want {
			t.Errorf("cause %q, want %q", got, c.want)
		}
	}
	var reasons []string
	for _, l := range x.status(26 * time.Second).Lost {
		reasons = append(reasons, string(l.Node)+" "+l.Reason)
	}
	if want := []string{"n1 check failed", "n4 connection lost", "n6 certificate expired", "n7 silent"}; !slices.Equal(reasons, want) {
		t.Errorf("lost are %q, want %q", reasons, want)
	}
}

// end lets the connection of a node end.
func (x *tableAt) end(node string, d time.Duration) {
	x.Disconnect(membership.Disconnect{Node: subjects.NodeID(node), Boot: "boot" + node, Reason: "Client Closed"}, x.at(d))
}
