package core

import (
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

// The active manager's clock is a day ahead. A standby that followed it shows losses
// by its own clock when it leads, and ends a hold-down when it would have ended.
func TestTimesOfLossesAreKeptThroughATakeOver(t *testing.T) {
	const ahead = 24 * time.Hour
	m := newLone(t)
	member := func(node subjects.NodeID, last byte) subjects.Member {
		return subjects.Member{Node: node, Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, last})}, State: subjects.Up, Weight: 100}
	}
	status := func(generation uint64) *subjects.Status {
		s := &subjects.Status{
			V: 1, Domain: "example.net", Manager: "m2", Epoch: 5, Generation: generation, Time: m.now.Add(ahead),
			Roles: map[subjects.Role][]subjects.Member{subjects.SIPProxy: {member("n4", 4), member("n5", 5)}},
		}
		s.ClearLosses()
		return s
	}
	current := func(s *subjects.Status, d time.Duration) {
		for end := m.now.Add(d); m.now.Before(end); {
			m.Confirm(s.Mark(), m.now)
			m.pass(time.Second)
		}
	}
	first := status(1)
	m.follow(first, false)
	current(first, 5*time.Second)
	second := status(2)
	second.Lost = []subjects.Lost{{Node: "n1", Role: subjects.SIPProxy, Addresses: member("n1", 1).Addresses, Since: second.Time.Add(-30 * time.Second), Reason: "silent"}}
	second.Held = []subjects.Held{{Node: "n2", Role: subjects.SIPProxy, Until: second.Time.Add(time.Minute), Reason: "left and came back too often"}}
	m.Follow(second, second.Encode(), false, m.now)
	told := m.now
	current(second, 45*time.Second)

	m.leads(6, 10, 1000)
	s := m.status()
	l, h := s.FindLost(subjects.SIPProxy, "n1"), s.FindHeld(subjects.SIPProxy, "n2")
	if l == nil || h == nil {
		t.Fatalf("lost %+v, held %+v", s.Lost, s.Held)
	}
	if d := l.Since.Sub(told.Add(-30 * time.Second)).Abs(); d > time.Second {
		t.Errorf("lost since %v, want %v", l.Since, told.Add(-30*time.Second))
	}
	if d := h.Until.Sub(told.Add(time.Minute)).Abs(); d > time.Second {
		t.Errorf("held until %v, want %v", h.Until, told.Add(time.Minute))
	}
}
