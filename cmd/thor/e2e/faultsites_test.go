//go:build e2e

package e2e_test

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
)

// siteTopology is the network of three sites: on each site's first host everything, on
// the other two an agent.
var siteTopology = faults.Topology{
	Core: []string{"ams1", "fra1", "lon1"},
	Agents: map[string][]string{
		"ams2": {"ams2"}, "ams3": {"ams3"}, "fra2": {"fra2"}, "fra3": {"fra3"}, "lon2": {"lon2"}, "lon3": {"lon3"},
	},
	Sites: map[string][]string{"ams": {"ams1", "ams2", "ams3"}, "fra": {"fra1", "fra2", "fra3"}, "lon": {"lon1", "lon2", "lon3"}},
}

// siteDelay is how long a packet takes from one site to another, half a round trip.
const siteDelay = 40 * time.Millisecond

const (
	wanName  = "wan0"
	wanTable = "78" // of routes for packets on their way to another site, and the mark of those
)

// A wan carries the packets between sites. The router marks them and routes them into a
// tunnel, whose other end is this process; what comes back out of the tunnel takes the
// cable as usual. Packets within a site do not come here.
type wan struct {
	tunnel *os.File
	site   map[[4]byte]string // by address
	in     chan parcel
	wg     sync.WaitGroup

	mu    sync.Mutex
	links map[[2]string]siteLink // from, to; those that are not as usual
}

// A siteLink is one direction between two sites.
type siteLink struct {
	late time.Duration // 0: siteDelay
	loss int           // per cent
}

// newWAN makes the links between the sites of the network, whose hosts exist already.
func (f *faultNet) newWAN(t *testing.T) *wan {
	t.Helper()
	w := &wan{site: make(map[[4]byte]string), in: make(chan parcel, 4096), links: make(map[[2]string]siteLink)}
	var err error
	if e := inNamespace(f.router, func() { w.tunnel, err = openTunnel(wanName) }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	var pairs []string
	for _, from := range f.topology.Hosts() {
		w.site[netip.MustParseAddr(f.byName[from].address).As4()] = f.topology.Site(from)
		for _, to := range f.topology.Hosts() {
			if f.topology.Site(from) != f.topology.Site(to) {
				pairs = append(pairs, f.byName[from].address+" . "+f.byName[to].address)
			}
		}
	}
	f.nft(t, fmt.Sprintf("table inet sites {\nset far { type ipv4_addr . ipv4_addr; elements = { %s } }\n"+
		"chain away { type filter hook prerouting priority mangle; iifname != %q ip saddr . ip daddr @far meta mark set %s\n}\n}\n",
		strings.Join(pairs, ", "), wanName, wanTable))
	for _, args := range [][]string{
		{"ip", "link", "set", wanName, "txqueuelen", "4000", "up"},
		{"sysctl", "-q", "-w", "net.ipv4.conf." + wanName + ".rp_filter=0"},
		{"ip", "route", "add", "default", "dev", wanName, "table", wanTable},
		{"ip", "rule", "add", "fwmark", wanTable, "lookup", wanTable},
	} {
		if err := f.onRouter(args...); err != nil {
			t.Fatal(err)
		}
	}
	w.wg.Go(w.receive)
	w.wg.Go(w.send)
	t.Cleanup(func() { _ = w.tunnel.Close(); w.wg.Wait() })
	return w
}

// change does an effect to the link of two sites, one way.
func (w *wan) change(e trace.Effect) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := [2]string{e.From, e.To}
	l := w.links[key]
	switch e.Act {
	case trace.Slow:
		l.late = time.Duration(e.N) * time.Millisecond
	case trace.Drop:
		l.loss = e.N
	}
	w.links[key] = l
}

// receive takes packets in, and drops those that are lost.
func (w *wan) receive() {
	defer close(w.in)
	buf := make([]byte, 64<<10)
	for n := uint64(0); ; n++ {
		size, err := w.tunnel.Read(buf)
		if err != nil {
			return
		}
		now := time.Now()
		if size < 20 || buf[0]>>4 != 4 {
			continue // no IPv4
		}
		from, to := w.site[[4]byte(buf[12:16])], w.site[[4]byte(buf[16:20])]
		w.mu.Lock()
		l := w.links[[2]string{from, to}]
		w.mu.Unlock()
		if l.loss > 0 && rand.IntN(100) < l.loss {
			continue
		}
		if l.late == 0 {
			l.late = siteDelay
		}
		w.in <- parcel{now.Add(l.late), n, append([]byte(nil), buf[:size]...)}
	}
}

// send lets packets go when their time has come, in the order of that.
func (w *wan) send() {
	var held parcels
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case p, ok := <-w.in:
			if !ok {
				return
			}
			heap.Push(&held, p)
		case <-timer.C:
		}
		for len(held) > 0 && time.Until(held[0].due) <= 0 {
			_, _ = w.tunnel.Write(heap.Pop(&held).(parcel).packet) // one that is lost is lost
		}
		if len(held) > 0 {
			timer.Reset(time.Until(held[0].due))
		}
	}
}

// A parcel is a packet and when it arrives. Of two with one time the first that came goes first.
type parcel struct {
	due    time.Time
	number uint64
	packet []byte
}

// parcels are a heap, the next one first.
type parcels []parcel

func (p parcels) Len() int      { return len(p) }
func (p parcels) Swap(i, j int) { p[i], p[j] = p[j], p[i] }
func (p parcels) Less(i, j int) bool {
	if !p[i].due.Equal(p[j].due) {
		return p[i].due.Before(p[j].due)
	}
	return p[i].number < p[j].number
}
func (p *parcels) Push(x any) { *p = append(*p, x.(parcel)) }
func (p *parcels) Pop() any {
	old := *p
	last := old[len(old)-1]
	*p = old[:len(old)-1]
	return last
}
