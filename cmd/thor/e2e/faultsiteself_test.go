//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
)

// TestLabSites measures the links that the lab makes between sites: the round trip, loss and
// cuts one way, and what a packet between sites costs the lab itself.
func TestLabSites(t *testing.T) {
	if os.Getenv(labSites) == "" {
		t.Skipf("set %s, or use just lab-sites-selftest", labSites)
	}
	labAllowed(t)
	f := newFaultNet(t, siteTopology, traceLog(t), false)
	for _, h := range f.topology.Hosts() {
		f.echo(t, f.byName[h])
	}
	const n = 200
	within := f.trips(t, "ams1", "ams2", n, 5*time.Millisecond)
	within.print("within a site", n)
	if within.median() >= time.Millisecond || within.lost(n) > 0 {
		t.Errorf("within a site: %v, %d lost", within.median(), within.lost(n))
	}
	for _, pair := range [][2]string{{"ams1", "fra1"}, {"fra2", "lon3"}, {"lon1", "ams3"}} {
		b := f.trips(t, pair[0], pair[1], n, 5*time.Millisecond)
		b.print(pair[0]+" to "+pair[1], n)
		if d := (b.median() - 2*siteDelay).Abs(); d > 4*time.Millisecond || b.lost(n) > 0 {
			t.Errorf("%v: %v, %d lost", pair, b.median(), b.lost(n))
		}
	}
	f.measureFaults(t)

	const load, every = 4000, time.Millisecond
	near, far := cpuOf(func() { f.trips(t, "ams1", "ams2", load, every) }), cpuOf(func() { f.trips(t, "ams1", "fra1", load, every) })
	fmt.Printf("own CPU: 2,000 packets a second between sites take %.1f %% of a core, %.0f µs a packet\n",
		100*float64(far-near)/float64(load*every), float64((far-near).Microseconds())/(2*load))
}

// measureFaults measures loss, lateness and a cut, each in one direction of a link.
func (f *faultNet) measureFaults(t *testing.T) {
	t.Helper()
	const n = 1000
	f.act(t, trace.Effect{Act: trace.Drop, From: "ams", To: "fra", N: 20})
	lossy, other := f.trips(t, "ams1", "fra1", n, time.Millisecond), f.trips(t, "ams1", "lon1", n, time.Millisecond)
	fmt.Printf("loss of 20 %% from ams to fra: %d of %d trips lost; to lon: %d\n", lossy.lost(n), n, other.lost(n))
	if l := lossy.lost(n); l < 140 || l > 260 || other.lost(n) > 0 { // 200 ± 12.6 at one deviation
		t.Error("that is not what was asked for")
	}
	f.act(t, trace.Effect{Act: trace.Drop, From: "ams", To: "fra"})
	f.act(t, trace.Effect{Act: trace.Slow, From: "fra", To: "ams", N: 100})
	slow := f.trips(t, "ams1", "fra1", 100, 5*time.Millisecond)
	slow.print("100 ms from fra to ams", 100)
	if d := (slow.median() - 140*time.Millisecond).Abs(); d > 14*time.Millisecond {
		t.Error("that is not what was asked for")
	}
	f.act(t, trace.Effect{Act: trace.Slow, From: "fra", To: "ams"})
	for _, act := range []trace.Act{trace.Cut, trace.Heal} {
		f.cut(t, []faults.Step{{Effect: trace.Effect{Act: act, From: "fra", To: "ams"}}})
		one, other := f.trips(t, "ams1", "fra2", 50, 2*time.Millisecond), f.trips(t, "ams1", "lon2", 50, 2*time.Millisecond)
		want := map[trace.Act]int{trace.Cut: 50, trace.Heal: 0}[act]
		if one.lost(50) != want || other.lost(50) != 0 {
			t.Errorf("%s from fra to ams: %d lost, to lon %d, not %d and 0", act, one.lost(50), other.lost(50), want)
		}
	}
	fmt.Println("a cut from fra to ams: every trip lost, none between ams and lon; healed: none")
}

const echoPort = "7007"

// echo answers packets on a host.
func (f *faultNet) echo(t *testing.T, h *host) {
	t.Helper()
	var c net.PacketConn
	var err error
	if e := h.enter(func() { c, err = net.ListenPacket("udp4", net.JoinHostPort(h.address, echoPort)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		b := make([]byte, 100)
		for {
			n, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = c.WriteTo(b[:n], from)
		}
	}()
}

// roundTrips are the times of those that came back, the shortest first.
type roundTrips []time.Duration

func (r roundTrips) median() time.Duration {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)/2]
}

func (r roundTrips) lost(sent int) int { return sent - len(r) }

func (r roundTrips) print(what string, sent int) {
	if len(r) > 0 {
		fmt.Printf("%s: n %d, median %v, p99 %v, max %v\n", what, sent, r.median(), r[len(r)*99/100], r[len(r)-1])
	}
}

// trips sends n packets from one host to another, one every so often, and takes the time until each is back.
func (f *faultNet) trips(t *testing.T, from, to string, n int, every time.Duration) (out roundTrips) {
	t.Helper()
	var c net.Conn
	var err error
	if e := f.byName[from].enter(func() { c, err = net.Dial("udp4", net.JoinHostPort(f.byName[to].address, echoPort)) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	defer c.Close()
	began := time.Now()
	due := func(i int) time.Time { return began.Add(time.Duration(i) * every) }
	go func() {
		for i := range n {
			time.Sleep(time.Until(due(i)))
			_, _ = fmt.Fprintf(c, "%d %d", i, time.Since(began))
		}
	}()
	if err := c.SetReadDeadline(due(n).Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	for len(out) < n {
		size, err := c.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		var i int
		var sent time.Duration
		if _, err := fmt.Sscan(string(b[:size]), &i, &sent); err != nil {
			t.Fatal(err)
		}
		out = append(out, time.Since(began)-sent)
	}
	slices.Sort(out)
	return out
}

// cpuOf is the processor time of this process while f runs.
func cpuOf(f func()) time.Duration {
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			return 0
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	f()
	return used() - before
}
