package overlay

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

var t0 = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)

// someStatuses are n statuses of generation 1 and up, each with a member more.
func someStatuses(n int) (out []*subjects.Status) {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Manager: "m1", Time: t0}
	for i := range n {
		s = s.Clone()
		s.Generation++
		s.Put("sip_proxy", subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("n%d", i)), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
			State: subjects.Up, Weight: 100, Since: t0,
		})
		out = append(out, s)
	}
	return out
}

func TestTickPrefixIsHowTicksBegin(t *testing.T) {
	k := &subjects.Tick{
		V: 1, Epoch: 3, Generation: 12, Digest: "0123456789abcdef0123456789abcdef", Manager: "m1",
		Time: t0, Counts: map[subjects.Role]int{"sip_proxy": 1},
	}
	for _, losses := range []string{"", "fedcba9876543210fedcba9876543210"} {
		k.LossesDigest = losses
		if p, b := string(tickPrefix(k.Mark(), k.Digest, losses)), string(k.Encode()); len(p) > len(b) || b[:len(p)] != p {
			t.Errorf("%s\n%s", p, b)
		}
	}
	if p, b := string(tickPrefix(k.Mark(), k.Digest, "")), string(k.Encode()); b[:len(p)] == p {
		t.Errorf("a tick with losses begins like that of a manager that keeps none: %s", p)
	}
}

func TestReconnectDelayIsSpreadAndNeverLong(t *testing.T) {
	last := func(d time.Duration) time.Duration { return d - 1 }
	none := func(time.Duration) time.Duration { return 0 }
	for _, c := range []struct {
		round int
		top   time.Duration
	}{{1, 250 * time.Millisecond}, {4, 250 * time.Millisecond}, {5, 500 * time.Millisecond}, {9, 2 * time.Second}, {1000, 2 * time.Second}} {
		if lo, hi := reconnectDelay(c.round, none), reconnectDelay(c.round, last); lo != 50*time.Millisecond || hi != c.top-1 {
			t.Errorf("round %d: %v to %v", c.round, lo, hi)
		}
	}
}
