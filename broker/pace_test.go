package broker

import (
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

// The SDK pulls what it takes over from another node ten profiles at a time, each
// 20 ms, and twice as fast a node may go: 20,000 subscribers are handed over within
// 60 s by what the table allows, without a cut.
func TestHandOverOfTwentyThousandSubscribersIsWithinTheRates(t *testing.T) {
	const subscribers, question, profile = 20_000, 300, 2 << 10 // bytes: a key of usual length, a profile
	heir := ratesOf(&identity.Identity{Node: "p1", Roles: []subjects.Role{subjects.SIPProxy}})
	server := ratesOf(&identity.Identity{Node: "s1", Roles: []subjects.Role{subjects.ProvisioningServer}})
	for _, c := range []struct {
		name    string
		atOnce  int
		every   time.Duration
		heirs   int // that one server answers
		within  time.Duration
		allowed bool
	}{
		{"as the SDK does", 10, 20 * time.Millisecond, 1, 60 * time.Second, true},
		{"twice as fast", 20, 20 * time.Millisecond, 1, 30 * time.Second, true},
		{"all at once", subscribers, time.Second, 1, time.Second, false},
		{"of ten nodes at the same time", 10, 20 * time.Millisecond, 10, 60 * time.Second, true},
		{"of a hundred", 10, 20 * time.Millisecond, 100, 60 * time.Second, false},
	} {
		var asks, tells meter
		begin := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
		now, ok := begin, true
		for n := 0; n < subscribers; now = now.Add(c.every) {
			for range c.atOnce {
				n++
				ok = asks.take(heir[requests], 1, question, now) && ok
				for range c.heirs {
					ok = tells.take(server[answers], 1, profile, now) && ok
				}
			}
		}
		if took := now.Sub(begin); ok != c.allowed || took > c.within {
			t.Errorf("%s: allowed %v, in %v", c.name, ok, took)
		} else {
			t.Logf("%s: allowed %v, in %v", c.name, ok, took)
		}
	}
	if other := ratesOf(&identity.Identity{Node: "r1", Roles: []subjects.Role{subjects.MediaRelay}}); other[requests].messages*60+other[requests].messages*burstSeconds >= subscribers {
		t.Error("a node without subscribers may ask as much")
	}
}
