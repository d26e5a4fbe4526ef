package overlay

import (
	"bytes"
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

// A tick is decoded unless all that it says has been said: another beat is heeded
// although the status stays.
func TestTickHeadHasAllButManagerAndTime(t *testing.T) {
	k := &subjects.Tick{V: 1, Epoch: 3, Generation: 12, Digest: "ab", Manager: "m1", Time: time.Now().UTC()}
	head := tickHead(k.Encode())
	k.Time = k.Time.Add(time.Second)
	if !bytes.HasPrefix(k.Encode(), head) || len(head) == 0 {
		t.Errorf("%s does not begin %s", head, k.Encode())
	}
	for name, change := range map[string]func(*subjects.Tick){
		"beat":           func(k *subjects.Tick) { k.Beat = 2000 },
		"digest":         func(k *subjects.Tick) { k.Digest = "0" },
		"losses' digest": func(k *subjects.Tick) { k.LossesDigest = "0" },
		"sites' digest":  func(k *subjects.Tick) { k.SitesDigest = "0" },
		"generation":     func(k *subjects.Tick) { k.Generation++ },
	} {
		other := *k
		if change(&other); bytes.HasPrefix(other.Encode(), head) {
			t.Errorf("another %s: %s begins %s", name, head, other.Encode())
		}
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
