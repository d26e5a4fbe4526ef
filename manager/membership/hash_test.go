package membership_test

import (
	"strings"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// Of two nodes whom the lookup cannot tell apart the second stays out, until the
// first has gone.
func TestSecondNodeWithTheSameLookupHashIsRefused(t *testing.T) {
	cfg := membership.Config{NodeHash: func(n subjects.NodeID) uint64 { return uint64(n[0]) }}
	table, now := membership.New(cfg), time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	say(t, table, "a1", "sip_proxy", "x", 1, now)
	say(t, table, "b1", "sip_proxy", "y", 1, now)
	err := table.Announce(announcement("a2", "sip_proxy", "z", 1), now)
	if subjects.CodeOf(err) != subjects.CodeName || !strings.Contains(err.Error(), "lookup hash") {
		t.Fatalf("a2: %v", err)
	}
	say(t, table, "a1", "media_relay", "x", 1, now) // the same node again is no other
	for i, role := range []string{"sip_proxy", "media_relay"} {
		a := announcement("a1", role, "x", 2+uint64(i))
		a.State = subjects.Leave
		if err := table.Announce(a, now); err != nil {
			t.Fatal(err)
		}
	}
	say(t, table, "a2", "sip_proxy", "z", 2, now)
	var s subjects.Status
	table.Fill(&s)
	if s.Member("sip_proxy", "a2") == nil || s.Member("sip_proxy", "a1") != nil {
		t.Errorf("%+v", s.Roles)
	}
	if err := table.Announce(announcement("a1", "sip_proxy", "w", 1), now); subjects.CodeOf(err) != subjects.CodeName {
		t.Errorf("a1 comes back while a2 is in: %v", err)
	}
}
