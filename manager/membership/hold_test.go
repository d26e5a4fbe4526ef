package membership_test

import (
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// heldBy is a manager on a clock that is off by skew, at 20 s, in whose role n1 to n4 are silent
// and kept by an operator since.
func heldBy(t *testing.T, skew time.Duration) *tableAt {
	t.Helper()
	x := newTableAt(skew, membership.Config{})
	x.beats(t, 0, 5*time.Second, "n1", "n2", "n3", "n4", "n5", "n6")
	x.beats(t, 5*time.Second, 20*time.Second, "n5", "n6")
	if n := x.Hold("sip_proxy", x.at(20*time.Second)); n != 4 {
		t.Fatalf("%d are held", n)
	}
	return x
}

// holdEnds is when the guard of an operator ends, since t0 by the right clock; -1: there is none.
func (x *tableAt) holdEnds() time.Duration {
	for _, g := range x.Guards() {
		if g.Name == membership.GuardHold {
			return g.End.Sub(t0) - x.skew
		}
	}
	return -1
}

// The day of a hold goes on with the next manager, whatever its clock, and with the one after it.
func TestAHoldEndsADayAfterItWhateverTheClocks(t *testing.T) {
	const end = 20*time.Second + 24*time.Hour
	for _, skew := range []time.Duration{0, 9 * time.Hour, -9 * time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			now := 10 * time.Hour
			told := heldBy(t, 0).status(20 * time.Second)
			next := newTableAt(skew, membership.Config{})
			next.AdoptAged(told, now-20*time.Second, next.at(now))
			third := newTableAt(-skew, membership.Config{})
			third.AdoptAged(next.status(now), 3*time.Second, third.at(now+3*time.Second))
			for name, x := range map[string]*tableAt{"next": next, "third": third} {
				if d := (x.holdEnds() - end).Abs(); d > 2*time.Second {
					t.Errorf("%s: it ends after %v, not %v", name, x.holdEnds(), end)
				}
			}
		})
	}
}

// A status of an earlier version does not say when: the day begins anew. One whose hold is
// over holds nothing.
func TestAHoldThatSaysNoTimeOrIsOver(t *testing.T) {
	told := heldBy(t, 0).status(20 * time.Second)
	adopted := func(s *subjects.Status, at time.Duration) time.Duration {
		x := newTableAt(0, membership.Config{})
		x.AdoptAged(s, at-20*time.Second, x.at(at))
		return x.holdEnds()
	}
	if ends := adopted(told, 25*time.Hour); ends >= 0 {
		t.Errorf("a hold that is over ends after %v", ends)
	}
	old := told.Clone()
	for i := range old.Roles["sip_proxy"] {
		m := &old.Roles["sip_proxy"][i]
		if before, _, is := strings.Cut(m.Reason, ", until "); is {
			m.Reason = before + ", kept by an operator"
		}
	}
	if ends := adopted(old, time.Hour); ends != 25*time.Hour {
		t.Errorf("a hold without a time ends after %v", ends)
	}
}

// An operator who holds again gets a day again, at a standby too.
func TestAHoldIsRenewed(t *testing.T) {
	x, standby := heldBy(t, 0), newTableAt(0, membership.Config{})
	standby.AdoptAged(x.status(20*time.Second), 0, standby.at(20*time.Second))
	x.beats(t, 20*time.Second, 80*time.Second, "n5", "n6")
	if n := x.Hold("", x.at(80*time.Second)); n != 4 {
		t.Fatalf("%d are held", n)
	}
	s := x.status(80 * time.Second)
	standby.AdoptAged(s, 0, standby.at(80*time.Second))
	want := 80*time.Second + 24*time.Hour
	if a, b := x.holdEnds(), standby.holdEnds(); a != want || b != want {
		t.Errorf("it ends after %v, at a standby after %v, not %v", a, b, want)
	}
	if m := s.Member("sip_proxy", "n1"); m == nil || !strings.Contains(m.Reason, t0.Add(want).UTC().Format(time.RFC3339)) {
		t.Errorf("the status shows %+v", m)
	}
}

// A manager that cannot judge yet goes on with the hold of members that it has not heard for as long: they are
// not up again, and then silent without it.
func TestAHoldGoesOnWithAManagerThatCannotJudge(t *testing.T) {
	next := newTableAt(0, membership.Config{})
	next.beats(t, 0, 5*time.Second, "n1", "n2", "n3", "n4", "n5", "n6")
	next.beats(t, 5*time.Second, 13*time.Second, "n5", "n6")
	next.Blind(next.at(13 * time.Second))
	next.beats(t, 13*time.Second, 20*time.Second, "n5", "n6")
	if m := next.status(20*time.Second).Member("sip_proxy", "n1"); m == nil || m.State != subjects.Up {
		t.Fatalf("before: %+v", m)
	}
	next.TakeUp(heldBy(t, 0).status(20*time.Second), 0, time.Time{}, next.at(20*time.Second))
	for d := 20 * time.Second; d < 2*time.Minute; d += time.Second {
		next.beats(t, d, d+time.Second, "n5", "n6")
		if m := next.status(d).Member("sip_proxy", "n1"); m == nil || m.State != subjects.Suspect || !strings.HasSuffix(m.Reason, ", kept by an operator") {
			t.Fatalf("at %v: %+v", d, m)
		}
	}
	if ends := next.holdEnds(); ends != 20*time.Second+24*time.Hour {
		t.Errorf("it ends after %v", ends)
	}
}
