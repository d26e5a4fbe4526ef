package broker

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

func TestRaftGroupsAreSummedUp(t *testing.T) {
	h := &serverHealth{groups: make(map[string]int)}
	for _, g := range []server.RaftzGroup{
		{State: "LEADER", Committed: 9, Applied: 9},
		{State: "FOLLOWER", Leader: "b2", Committed: 9, Applied: 4},
		{State: "FOLLOWER", Leader: "b2", Committed: 9, Applied: 8},
		{State: "FOLLOWER", Committed: 3, Applied: 5}, // applied in advance is not behind
		{State: "CANDIDATE"},
	} {
		h.add(&g)
	}
	if h.groups["leader"] != 1 || h.groups["follower"] != 3 || h.groups["candidate"] != 1 || h.leaderless != 2 || h.behind != 5 {
		t.Errorf("%+v", h)
	}
}

func TestHowFullADiskIs(t *testing.T) {
	for d, want := range map[disk]int{{}: 0, {100, 100}: 0, {100, 25}: 75, {100, 0}: 100, {3, 1}: 66, {10, 11}: 0} {
		if got := d.used(); got != want {
			t.Errorf("%+v: %d %%, want %d", d, got, want)
		}
	}
	if d := diskOf(t.TempDir()); d.size == 0 || d.free > d.size {
		t.Errorf("%+v", d)
	}
	if d := diskOf("/no/such/directory"); d != (disk{}) {
		t.Errorf("%+v", d)
	}
}
