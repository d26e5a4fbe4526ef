package core

import (
	"slices"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// Another manager tells a later epoch: this one's leadership is over, and it goes on
// from what the other told (G7).
func TestALaterEpochEndsALeadership(t *testing.T) {
	m := newLone(t)
	m.leads(5, 0, 1000)
	m.pass(time.Second)
	later := told(6, 3)
	m.follow(later, false)
	if m.Leads() || len(all[StepDown](m)) != 1 || m.status() != later {
		t.Errorf("it leads: %v, stepped down %d times, holds %v", m.Leads(), len(all[StepDown](m)), m.status().Mark())
	}
	n := len(all[Tick](m))
	if m.pass(3 * time.Second); len(all[Tick](m)) != n {
		t.Error("it goes on telling its status")
	}
}

// A leader's own status comes back to it through its tracker, and what it replaced
// may come late.
func TestNoStatusOfItsOwnEpochOrBeforeEndsALeadership(t *testing.T) {
	m := newLone(t)
	m.leads(5, 100, 1000)
	m.pass(time.Second)
	own := m.status()
	for _, s := range []*subjects.Status{own, told(5, 900), told(4, 9000)} {
		m.follow(s, false)
		if !m.Leads() || m.status() != own || len(all[StepDown](m)) != 0 {
			t.Fatalf("after %v it leads: %v, and holds %v", s.Mark(), m.Leads(), m.status().Mark())
		}
	}
}

func TestAnOlderStatusIsNotFollowed(t *testing.T) {
	m := newLone(t)
	m.pass(100 * time.Millisecond)
	newest := told(5, 10)
	for _, s := range []*subjects.Status{newest, told(5, 9), told(4, 99)} {
		if m.follow(s, false); m.status() != newest {
			t.Fatalf("after %v it holds %v", s.Mark(), m.status().Mark())
		}
	}
}

// A standby keeps step with what it follows: the hold of a mass silence, which it learnt as
// a standby, does not begin anew when it leads.
func TestAStandbyTakesUpAHoldWhereItIs(t *testing.T) {
	m := newLone(t)
	up, silent := []subjects.NodeID{"n1", "n2", "n3", "n4", "n5"}, []subjects.NodeID{"n6", "n7", "n8", "n9"}
	m.vouch(slices.Concat(up, silent)...)
	seq := uint64(0)
	beat := func(seconds int) {
		for range seconds {
			seq++
			for _, n := range up {
				m.hear(said(subjects.SIPProxy, n, seq))
			}
			m.pass(time.Second)
		}
	}
	beat(2)
	m.follow(told(5, 10, listed(subjects.SIPProxy, subjects.Up, up...), func(s *subjects.Status) {
		for _, n := range silent {
			s.Put(subjects.SIPProxy, subjects.Member{Node: n, Addresses: said(subjects.SIPProxy, n, 1).Addresses, State: subjects.Suspect, Reason: "silent", Weight: 100})
		}
	}), false)
	beat(25)
	m.leads(6, 1000, 10_000)
	if n := len(m.status().Roles[subjects.SIPProxy]); n != 9 {
		t.Fatalf("%d are listed", n)
	}
	beat(18) // 43 s after it learnt of the silence, 18 s after it began to lead
	if n := len(m.status().Roles[subjects.SIPProxy]); n != 8 {
		t.Errorf("%d are listed, one should have gone; guards %+v", n, m.Guards())
	}
}

// Input that was lost may have been beats: silence proves nothing for a while (G4).
func TestLostInputRaisesTheGuardOfTheObserver(t *testing.T) {
	m := newLone(t)
	m.leads(5, 0, 1000)
	guarded := func() bool {
		return slices.ContainsFunc(m.Guards(), func(g membership.Guard) bool { return g.Name == membership.GuardObserver })
	}
	if m.pass(time.Second); guarded() {
		t.Fatal("it is on already")
	}
	m.Missed(m.now)
	if m.pass(time.Second); !guarded() {
		t.Error("no guard is on")
	}
}

func TestAReconnectionRaisesTheGuardOfTheObserver(t *testing.T) {
	m := newLone(t)
	m.leads(5, 0, 1000)
	m.pass(time.Second)
	m.Online(false, m.now)
	m.pass(time.Second)
	m.Online(true, m.now)
	m.pass(time.Second)
	if !slices.ContainsFunc(m.Guards(), func(g membership.Guard) bool { return g.Name == membership.GuardObserver }) {
		t.Errorf("guards %+v", m.Guards())
	}
}

// A member that this standby never heard is in the status that it follows, and so in the first
// that it tells: the active manager heard it, perhaps through another broker.
func TestATermBeginsWithWhatTheNetworkWasTold(t *testing.T) {
	m := newLone(t)
	m.vouch("n1", "n2")
	m.pass(100 * time.Millisecond)
	m.follow(told(5, 10, listed(subjects.SIPProxy, subjects.Up, "n1", "n2")), false)
	for i := range 20 {
		m.hear(said(subjects.SIPProxy, "n2", uint64(i+1)))
		m.pass(time.Second)
	}
	m.leads(6, 1000, 10_000)
	if n := len(m.status().Roles[subjects.SIPProxy]); n != 2 {
		t.Errorf("%d of 2 members are listed", n)
	}
	m.pass(3 * time.Second)
	if n := len(m.status().Roles[subjects.SIPProxy]); n != 2 {
		t.Errorf("%d of 2 members are listed after 3 s", n)
	}
}

// What a process that stood still has to tell waits until it has read what came meanwhile.
func TestNothingIsToldRightAfterAStandstill(t *testing.T) {
	m := newLone(t)
	m.leads(5, 0, 1000)
	m.pass(2 * time.Second)
	m.now = m.now.Add(3 * time.Second)
	n := len(all[Tick](m)) + len(all[Delta](m))
	if m.pass(backlog - 20*time.Millisecond); len(all[Tick](m))+len(all[Delta](m)) != n {
		t.Error("it told something at once")
	}
	if m.pass(100 * time.Millisecond); len(all[Tick](m)) == 0 || len(all[Tick](m))+len(all[Delta](m)) == n {
		t.Error("it tells nothing any more")
	}
}

// The network went up by several epochs, as a claim had it. The next manager does not
// give way to another claim within a minute.
func TestAJumpOfEpochsCountsAsAClaimThatActed(t *testing.T) {
	m := newLone(t)
	m.pass(100 * time.Millisecond)
	m.follow(told(5, 10), false)
	m.pass(claimsEvery + time.Second)
	m.follow(told(8, 1), false)
	m.leads(9, 1000, 10_000)
	m.hear(said(subjects.EventServer, "b1", 1, seen(11, 0)))
	if m.pass(claimsEvery - 2*time.Second); !m.Leads() {
		t.Fatal("it gave way at once")
	}
	if m.pass(4 * time.Second); m.Leads() {
		t.Error("it never gives way")
	}
}

// Whose lease is over tells no last status.
func TestNothingIsToldAtTheEndWithoutALease(t *testing.T) {
	m := newLone(t)
	term := m.leads(5, 0, 1000)
	m.pass(time.Second)
	m.vouch("n1")
	m.hear(said(subjects.SIPProxy, "n1", 1))
	term.until = m.now
	m.Finish(m.now)
	for _, o := range m.Outputs() {
		if Led(o) {
			t.Errorf("told %+v", o)
		}
	}
}
