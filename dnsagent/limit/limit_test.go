package limit_test

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thor/dnsagent/limit"
)

func at(text string) netip.Addr { return netip.MustParseAddr(text) }

// allowed is how many of n answers to addr at one moment may be sent.
func allowed(l *limit.Limiter, addr netip.Addr, now time.Duration, n int) (sum int) {
	for range n {
		if l.Allow(addr, now) {
			sum++
		}
	}
	return sum
}

func TestANetworkGetsItsRateAndASecondAtOnce(t *testing.T) {
	l := limit.New(100)
	if got := allowed(l, at("192.0.2.1"), 0, 1000); got < 99 || got > 101 {
		t.Errorf("%d answers at once, want 100", got)
	}
	sum := 0
	for ms := range 10_000 {
		sum += allowed(l, at("192.0.2.1"), time.Duration(ms)*time.Millisecond, 1)
	}
	if sum < 990 || sum > 1010 {
		t.Errorf("%d answers in the 10 s after it, want 1,000", sum)
	}
	if got := allowed(l, at("192.0.2.1"), 20*time.Second, 1000); got < 99 || got > 101 {
		t.Errorf("%d answers at once after a pause, want 100", got)
	}
}

func TestNetworksAreCountedApart(t *testing.T) {
	l := limit.New(10)
	for _, c := range []struct {
		addr string
		own  bool // network
	}{
		{"192.0.2.1", true},
		{"192.0.2.255", false},
		{"::ffff:192.0.2.9", false},
		{"192.0.3.1", true},
		{"2001:db8:1:200::1", true},
		{"2001:db8:1:2ff:ffff::", false},
		{"2001:db8:1:300::1", true},
		{"::192.0.2.1", true},
	} {
		got := allowed(l, at(c.addr), 0, 50)
		if c.own && (got < 9 || got > 11) || !c.own && got != 0 {
			t.Errorf("%s: %d answers", c.addr, got)
		}
	}
}

func TestManyForgedNetworksDoNotStarveOthers(t *testing.T) {
	l := limit.New(200)
	now, lost, asked := time.Duration(0), 0, 0
	for i := range 400_000 { // a query each 10 µs, each of another network
		now += 10 * time.Microsecond
		l.Allow(netip.AddrFrom4([4]byte{byte(i >> 13), byte(i >> 5), byte(i << 3), 1}), now)
		if i%1000 == 0 {
			asked++
			if !l.Allow(at("203.0.113.1"), now) {
				lost++
			}
		}
	}
	if lost != 0 {
		t.Errorf("%d of %d queries of an honest network were refused", lost, asked)
	}
}

func TestAllGoroutinesTogetherStayBelowTheRate(t *testing.T) {
	l := limit.New(1000)
	var sum atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { sum.Add(int64(allowed(l, at("192.0.2.1"), time.Second, 500))) })
	}
	all.Wait()
	if got := sum.Load(); got < 999 || got > 1010 {
		t.Errorf("%d of 4,000 answers, want 1,000", got)
	}
}

func BenchmarkAllow(b *testing.B) {
	l := limit.New(200)
	a := at("192.0.2.1")
	for i := 0; b.Loop(); i++ {
		l.Allow(a, time.Duration(i)*time.Microsecond)
	}
}
