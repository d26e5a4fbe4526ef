package membership_test

import (
	"fmt"
	"testing"

	"thor/manager/membership"
)

// BenchmarkRefusedWhenFull is the cost of a beat that a full table refuses.
func BenchmarkRefusedWhenFull(b *testing.B) {
	const members = 20_000
	table := membership.New(membership.Config{MaxMembers: members})
	for i := range members {
		say(b, table, fmt.Sprintf("node%d", i), "sip_proxy", "a", 1, t0)
	}
	a := announcement("another", "sip_proxy", "a", 1)
	for b.Loop() {
		if table.Announce(a, t0) == nil {
			b.Fatal("it was taken")
		}
	}
}

// A full table takes as many nodes as the network may have, each with several roles.
func TestFiveThousandNodesOfFiveRoles(t *testing.T) {
	table := membership.New(membership.Config{})
	for i := range 25_000 {
		say(t, table, fmt.Sprintf("node%d", i/5), fmt.Sprintf("role_%d", i%5), "a", 1, t0)
	}
	if n := table.Counts().Up; n != 25_000 {
		t.Errorf("%d are up", n)
	}
}
