package membership_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// massSilence is a network in which 8 of 10 proxies fell silent and G3 holds them.
func massSilence(t *testing.T) (s *stage, proxies []*actor) {
	s = newStage(t, membership.Config{})
	proxies = append(s.troop(8, "p", "sip_proxy", "b2"), s.troop(2, "q", "sip_proxy", "b1")...)
	s.troop(40, "m", "media_relay", "b1")
	s.pass(20 * time.Second)
	for _, a := range proxies[:8] {
		a.cut = true
	}
	s.pass(16 * time.Second)
	if n := s.count("sip_proxy"); n != 10 || s.guard(membership.GuardPanic) == nil {
		t.Fatalf("%d of 10 are left, guards %v", n, s.table.Guards())
	}
	return s, proxies
}

// A mass silence is held by the next manager too, also by one that knows nothing but
// the status, or by a standby that is younger than the silence.
func TestTheNextManagerHoldsAMassSilence(t *testing.T) {
	for name, c := range map[string]struct{ before, standby time.Duration }{
		"a cold one": {}, "a cold one when some have gone": {before: 50 * time.Second},
		"a standby of 5 s": {standby: 5 * time.Second}, "a standby of 50 s": {standby: 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := massSilence(t)
			s.pass(c.before)
			next := membership.New(membership.Config{})
			next.Adopt(s.status(), s.now)
			next.Events()
			for until := s.now.Add(c.standby); s.now.Before(until); {
				for _, a := range s.acts { // both hear the same
					if !a.cut {
						w := s.word(a)
						v := *w
						_, _ = s.table.Announce(w, s.now), next.Announce(&v, s.now)
					}
				}
				s.table.Advance(s.now)
				if len(s.table.Events()) > 0 {
					next.Adopt(s.status(), s.now)
				}
				next.Advance(s.now)
				next.Events()
				s.now = s.now.Add(time.Second)
			}
			next.Adopt(s.status(), s.now)
			left := s.count("sip_proxy")
			s.table = next
			for range 14 {
				s.pass(time.Second)
				if n := s.count("sip_proxy"); n < left-2 || n < 5 { // one goes each 10 s, and half stays
					t.Fatalf("%d of %d are left, guards %v", n, left, s.table.Guards())
				}
			}
			s.pass(3 * time.Minute)
			if n := s.count("sip_proxy"); n != 5 { // half of what was there before the first manager's incident
				t.Errorf("in the end %d of 10 are left", n)
			}
		})
	}
}

// An operator confirms a mass loss: the held ones go, and their guard does not begin anew.
func TestConfirmLetsAMassSilenceGo(t *testing.T) {
	s, proxies := massSilence(t)
	if n := s.table.Confirm("media_relay", s.now); n != 0 || s.count("sip_proxy") != 10 {
		t.Errorf("another role: %d concerned", n)
	}
	if n := s.table.Confirm("", s.now); n != 8 {
		t.Errorf("%d are concerned", n)
	}
	if n := s.count("sip_proxy"); n != 2 || s.guard(membership.GuardPanic) != nil {
		t.Errorf("%d are left, guards %v", n, s.table.Guards())
	}
	s.pass(time.Minute)
	for _, a := range proxies[:8] {
		s.moves(a, a.via)
	}
	if n := s.count("sip_proxy"); n != 10 {
		t.Errorf("%d came back", n)
	}
}

// An operator holds a mass loss: nobody goes when its guard would let go.
func TestHoldKeepsAMassSilence(t *testing.T) {
	s, proxies := massSilence(t)
	if n := s.table.Hold("sip_proxy", s.now); n != 8 {
		t.Errorf("%d are concerned", n)
	}
	g := s.guard(membership.GuardHold)
	if g == nil || g.Role != "sip_proxy" || g.Detail == "" || !g.End.Equal(s.now.Add(24*time.Hour)) {
		t.Fatalf("guard %+v", g)
	}
	if s.pass(5 * time.Minute); s.count("sip_proxy") != 10 {
		t.Errorf("%d of 10 are left", s.count("sip_proxy"))
	}
	s.hangUp(proxies[9], "Client Closed") // proof is proof
	proxies[9].cut = true
	s.pass(time.Second)
	if s.listed(proxies[9]) {
		t.Error("a process that ended is held")
	}
	if s.table.Confirm("sip_proxy", s.now); s.count("sip_proxy") != 1 || s.guard(membership.GuardHold) != nil {
		t.Errorf("%d are left, guards %v", s.count("sip_proxy"), s.table.Guards())
	}
}

// The next manager keeps them too, whether it heard what happened or not, until it is
// told otherwise.
func TestAHoldOutlivesItsManager(t *testing.T) {
	for _, name := range []string{"silent", "check"} {
		t.Run(name, func(t *testing.T) {
			s, _ := massSilence(t)
			if name == "check" {
				s, _ = checked(t, 20, 20)
			}
			n := s.count("sip_proxy")
			s.table.Hold("sip_proxy", s.now)
			told := s.status()
			for _, m := range told.Roles["sip_proxy"] {
				if m.State == subjects.Suspect && !strings.HasSuffix(m.Reason, ", kept by an operator") {
					t.Errorf("%+v", m)
				}
			}
			s.table = membership.New(membership.Config{})
			s.table.Adopt(told, s.now)
			if s.pass(10 * time.Minute); s.count("sip_proxy") != n || s.guard(membership.GuardHold) == nil {
				t.Fatalf("%d of %d are left, guards %v", s.count("sip_proxy"), n, s.table.Guards())
			}
			// A standby that follows ends its hold when the active manager has.
			standby := membership.New(membership.Config{})
			standby.Adopt(s.status(), s.now)
			held := func() bool {
				return slices.ContainsFunc(standby.Guards(), func(g membership.Guard) bool { return g.Name == membership.GuardHold })
			}
			if !held() {
				t.Error("a standby does not hold them")
			}
			s.table.Confirm("sip_proxy", s.now)
			standby.Adopt(s.status(), s.now)
			if held() {
				t.Error("a standby holds what was confirmed")
			}
		})
	}
}

func TestAHoldEndsWithItsCause(t *testing.T) {
	s, proxies := massSilence(t)
	s.table.Hold("", s.now)
	for _, a := range proxies {
		a.cut = false
	}
	s.pass(2 * time.Minute)
	if g := s.table.Guards(); len(g) != 0 || s.count("sip_proxy") != 10 {
		t.Errorf("guards %v", g)
	}
	s, _ = massSilence(t)
	s.table.Hold("", s.now)
	s.pass(24*time.Hour + 2*time.Minute)
	if n := s.count("sip_proxy"); n >= 10 || s.guard(membership.GuardHold) != nil {
		t.Errorf("a day later %d are left, guards %v", n, s.table.Guards())
	}
}

// checked is a role of n nodes, of which the first fail their checks.
func checked(t *testing.T, n, fail int) (*stage, []*actor) {
	s := newStage(t, membership.Config{})
	ps := s.troop(n, "p", "sip_proxy", "b1")
	s.troop(3, "m", "media_relay", "b1")
	s.pass(20 * time.Second)
	for _, a := range ps[:fail] {
		a.state = subjects.Down
		s.pass(100 * time.Millisecond)
		s.beat(a)
	}
	return s, ps
}

// A wrong target makes the checks of all proxies fail within two seconds: DNS keeps them all.
func TestACheckThatFailsEverywhereRemovesNobody(t *testing.T) {
	s, ps := checked(t, 20, 20)
	g := s.guard(membership.GuardChecks)
	if n := s.count("sip_proxy"); n != 20 || g == nil || g.Role != "sip_proxy" || g.Detail != "the checks of 11 of 20 nodes failed within a minute" {
		t.Fatalf("%d of 20 are left, guard %+v", n, g)
	}
	if s.pass(10 * time.Minute); s.count("sip_proxy") != 20 {
		t.Fatalf("%d of 20 are left after 10 minutes", s.count("sip_proxy"))
	}
	for _, m := range s.status().Roles["sip_proxy"] {
		if m.State != subjects.Suspect || m.Reason != "check failed" {
			t.Errorf("%+v", m)
		}
	}
	// The next manager holds them too.
	cold := membership.New(membership.Config{})
	cold.Adopt(s.status(), s.now)
	s.table = cold
	if s.pass(time.Minute); s.count("sip_proxy") != 20 || s.guard(membership.GuardChecks) == nil {
		t.Fatalf("%d of 20 are left after a take-over, guards %v", s.count("sip_proxy"), s.table.Guards())
	}
	// The target is put right: the guard ends 30 s after less than half fail.
	for _, a := range ps[:11] {
		a.state = subjects.Up
	}
	s.pass(29 * time.Second)
	if g := s.guard(membership.GuardChecks); g == nil || g.End.IsZero() || s.count("sip_proxy") != 20 {
		t.Fatalf("after 29 s: guard %+v, %d left", g, s.count("sip_proxy"))
	}
	s.pass(3 * time.Second)
	if n := s.count("sip_proxy"); n != 11 || s.guard(membership.GuardChecks) != nil {
		t.Errorf("after 32 s: %d are left, guards %v", n, s.table.Guards())
	}
}

// Below the threshold a failed check is out at once.
func TestFewFailedChecksAreOutAtOnce(t *testing.T) {
	for _, c := range []struct{ nodes, fail, left int }{{3, 2, 1}, {20, 10, 10}, {7, 3, 4}} {
		s, _ := checked(t, c.nodes, c.fail)
		if n := s.count("sip_proxy"); n != c.left || s.guard(membership.GuardChecks) != nil {
			t.Errorf("%d of %d fail: %d are left, guards %v", c.fail, c.nodes, n, s.table.Guards())
		}
	}
}

// One after the other over more than a minute is no common cause; nor are drains, leaves and silence.
func TestSlowFailuresAndWishesMakeNoMassFailure(t *testing.T) {
	s := newStage(t, membership.Config{})
	ps := s.troop(5, "p", "sip_proxy", "b1")
	for i, a := range ps[:4] {
		a.state = subjects.Down
		s.pass(31 * time.Second)
		if n := s.count("sip_proxy"); n != 4-i {
			t.Errorf("%d have failed, %d are left", i+1, n)
		}
	}
	s = newStage(t, membership.Config{})
	ps = s.troop(10, "p", "sip_proxy", "b1")
	for i, a := range ps[:8] {
		a.state = []subjects.State{subjects.Draining, subjects.Leave}[i%2]
		s.beat(a)
		a.cut = i%2 == 1
	}
	if s.pass(5 * time.Second); s.guard(membership.GuardChecks) != nil {
		t.Errorf("guards %v", s.table.Guards())
	}
}

// An operator confirms that the checks are right.
func TestConfirmEndsAMassCheckFailure(t *testing.T) {
	s, ps := checked(t, 20, 15)
	if n := s.count("sip_proxy"); n != 20 {
		t.Fatalf("%d of 20 are left", n)
	}
	s.table.Confirm("sip_proxy", s.now)
	if n := s.count("sip_proxy"); n != 5 || s.guard(membership.GuardChecks) != nil {
		t.Errorf("%d are left, guards %v", n, s.table.Guards())
	}
	if s.pass(2 * time.Minute); s.count("sip_proxy") != 5 {
		t.Errorf("the guard began anew: %v", s.table.Guards())
	}
	for _, a := range ps[:15] {
		a.state = subjects.Up
	}
	if s.pass(2 * time.Second); s.count("sip_proxy") != 20 {
		t.Errorf("%d came back: a removal that was undone counts for damping? %v", s.count("sip_proxy"), s.table.Guards())
	}
}

// With a member that is not up at all G2 holds the rest, whatever is confirmed; they go when one is up.
func TestConfirmNeverEmptiesARole(t *testing.T) {
	s, ps := checked(t, 20, 20)
	s.table.Confirm("", s.now)
	if n := s.count("sip_proxy"); n != 20 || s.guard(membership.GuardLast) == nil {
		t.Fatalf("%d are left, guards %v", n, s.table.Guards())
	}
	ps[3].state = subjects.Up
	s.beat(ps[3])
	if n := s.count("sip_proxy"); n != 1 {
		t.Errorf("one is up, and %d are left", n)
	}
}

func ExampleTable_Confirm() {
	now := t0
	table := membership.New(membership.Config{})
	say := func(state subjects.State, seq uint64, nodes ...string) {
		for _, n := range nodes {
			a := announcement(n, "sip_proxy", "a", seq)
			a.State = state
			_ = table.Announce(a, now)
		}
	}
	say(subjects.Up, 1, "n1", "n2", "n3", "n4")
	say(subjects.Down, 2, "n1", "n2", "n3")
	for _, g := range table.Guards() {
		fmt.Println(g.Name, g.Role, g.Detail)
	}
	fmt.Println(table.Confirm("sip_proxy", now), "let go,", table.Counts().Up, "up")
	// Output:
	// checks sip_proxy the checks of 3 of 4 nodes failed within a minute
	// 3 let go, 1 up
}

// The mark of a hold in a status is for managers to write: a member that announces it
// neither makes the next manager hold anything, nor changes the status more often.
func TestAMemberCannotWriteAHold(t *testing.T) {
	for _, state := range []subjects.State{subjects.Down, subjects.Draining} {
		table := membership.New(membership.Config{})
		changes, last := 0, table.Revision()
		for i := range 600 { // a minute
			now := t0.Add(time.Duration(i) * 100 * time.Millisecond)
			a := &subjects.Announcement{
				V: 1, Node: "n1", Role: "sip_proxy", Boot: "b", Seq: uint64(i + 1), Addresses: addresses("10.0.0.1"), State: state,
				Reason: "x" + strings.Repeat(", until 2026-12-02T10:38:00Z, kept by an operator", i%3), Weight: i%50 + 1,
			}
			if err := table.Announce(a, now); err != nil {
				t.Fatal(err)
			}
			table.Advance(now)
			if r := table.Revision(); r != last {
				changes, last = changes+1, r
			}
		}
		if changes > 70 {
			t.Errorf("%s: %d changes of the status in a minute", state, changes)
		}
		s := &subjects.Status{V: 1, Time: t0.Add(time.Minute)}
		table.Fill(s)
		for _, m := range s.Roles["sip_proxy"] {
			if strings.Contains(m.Reason, "operator") {
				t.Errorf("%s: the status says %q", state, m.Reason)
			}
		}
		next := membership.New(membership.Config{})
		next.Adopt(s, t0.Add(time.Minute))
		for _, g := range next.Guards() {
			if g.Name == membership.GuardHold {
				t.Errorf("%s: the next manager has %+v", state, g)
			}
		}
	}
}
