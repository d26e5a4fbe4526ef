//go:build e2e

package e2e_test

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thor/dnsagent/zone"
	"thor/manager/membership"
	"thor/overlay/lookup"
	"thor/subjects"
)

const paperSites = 10

// TestBenchPaper prints what one process pays for its part of a network of so many
// servers in ten sites, with the code that it runs: docs/scale.md is computed from it.
// No message is sent.
func TestBenchPaper(t *testing.T) {
	if os.Getenv("THOR_BENCH_PAPER") == "" {
		t.Skip("set THOR_BENCH_PAPER to numbers of servers, or use just bench-paper")
	}
	for _, n := range sizes(t) {
		p := paper{t: t, n: n}
		p.status()
		p.manager()
		p.siteLoss()
		p.lookup()
		p.zone()
		t.Logf("%d servers\n%s", n, strings.Join(p.lines, "\n"))
	}
}

// A paper is a network of n servers, of which a third are proxies, a third relays, and
// the rest others; one role each.
type paper struct {
	t     *testing.T
	n     int
	lines []string
	whole *subjects.Status
}

func (p *paper) say(format string, args ...any) {
	p.lines = append(p.lines, fmt.Sprintf(format, args...))
}

// took is the median of some runs.
func took(f func()) time.Duration {
	var all []time.Duration
	for began := time.Now(); len(all) < 3 || len(all) < 200 && time.Since(began) < time.Second; {
		a := time.Now()
		f()
		all = append(all, time.Since(a))
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// weighs is what f leaves on the heap, in MiB; keep is what has to stay reachable.
func weighs(f func() (keep any)) float64 {
	var a, b runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&a)
	keep := f()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&b)
	runtime.KeepAlive(keep)
	return (float64(b.HeapAlloc) - float64(a.HeapAlloc)) / (1 << 20)
}

func (p *paper) role(i int) subjects.Role {
	return []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.XCAPServer}[i%3]
}

func paperNode(i int) subjects.NodeID { return subjects.NodeID(fmt.Sprintf("node%05d", i)) }
func paperSite(i int) subjects.Site   { return subjects.Site(fmt.Sprintf("site%d", i%paperSites)) }

// paperAddr is as good as random, since networks are not numbered for compressors.
func paperAddr(i int) netip.Addr {
	x := uint32(i) * 2654435761
	return netip.AddrFrom4([4]byte{10, byte(x >> 24), byte(x >> 16), byte(x >> 8)})
}

func (p *paper) announcement(i int) *subjects.Announcement {
	a := &subjects.Announcement{
		V: subjects.Version, Seq: 1, Node: paperNode(i), Role: p.role(i), Boot: fmt.Sprintf("%016x", i), State: subjects.Up, Addresses: []netip.Addr{paperAddr(i)},
		Version: "1.0.0", Via: fmt.Sprintf("broker%d#%d", i%30, i), Attrs: subjects.Attrs{"control_port": "25061"}, Weight: 100, Site: paperSite(i),
	}
	a.Name()
	return a
}

func (p *paper) status() {
	p.whole = &subjects.Status{V: subjects.Version, Domain: "thor.test", Epoch: 7, Generation: 123_456, Manager: "manager1", Time: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)}
	for i := range p.n {
		p.whole.Put(p.role(i), subjects.Member{
			Node: paperNode(i), Addresses: []netip.Addr{paperAddr(i)}, State: subjects.Up, Weight: 100, Version: "1.0.0",
			Since: p.whole.Time.Add(-time.Duration(uint32(i)*2654435761) * time.Millisecond), Attrs: subjects.Attrs{"control_port": "25061"}, Site: paperSite(i),
		})
	}
	var encoded []byte
	p.say("  encode the status       %10.1f ms", ms(took(func() { encoded = p.whole.Encode() })))
	sent := 0
	for _, c := range subjects.Chunks(encoded) {
		sent += len(c.Data)
	}
	p.say("  the status              %10.1f KiB, %.1f KiB as it is sent", float64(len(encoded))/1024, float64(sent)/1024)
	p.say("  decode it               %10.1f ms", ms(took(func() {
		if _, err := subjects.ParseStatus(encoded); err != nil {
			p.t.Fatal(err)
		}
	})))
	p.say("  held by a member        %10.1f MiB", weighs(func() any {
		s, err := subjects.ParseStatus(encoded)
		if err != nil {
			p.t.Fatal(err)
		}
		return []any{s, slices.Clone(encoded)}
	}))
	next := p.whole.Clone()
	next.Generation++
	m := next.Roles[subjects.SIPProxy][p.n/6]
	m.State = subjects.Draining
	next.Put(subjects.SIPProxy, m)
	d := subjects.Diff(p.whole, next)
	p.say("  a delta of one change   %10d bytes, applied in %.1f ms", len(d.Encode()), ms(took(func() {
		if _, _, ok := p.whole.ApplyEncoded(encoded, d); !ok {
			p.t.Fatal("the delta does not lead to the status")
		}
	})))
}

// manager is the table of a manager that hears a beat of each.
func (p *paper) manager() {
	var table *membership.Table
	now := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	heap := weighs(func() any {
		table = membership.New(membership.Config{MaxMembers: 2 * p.n})
		for i := range p.n {
			if err := table.Announce(p.announcement(i), now); err != nil {
				p.t.Fatal(err)
			}
		}
		return table
	})
	p.say("  a manager's table       %10.1f MiB", heap)
	short := p.announcement(1).Shorten()
	p.say("  a beat                  %10d bytes, a full announcement %d", len(short.Encode()), len(p.announcement(1).Encode()))
	beats := make([][]byte, min(1000, p.n))
	var seq uint64 = 1
	var beating []time.Duration
	took(func() {
		seq++
		for i := range beats { // of members all over the table
			b := p.announcement(i * p.n / len(beats)).Shorten()
			b.Seq = seq
			beats[i] = b.Encode()
		}
		began := time.Now()
		for i, raw := range beats {
			k := i * p.n / len(beats)
			a, err := subjects.ParseAnnouncement(fmt.Sprintf("thor.role.%s.%s", p.role(k), paperNode(k)), raw)
			if err != nil {
				p.t.Fatal(err)
			}
			if err := table.Announce(a, now); err != nil {
				p.t.Fatal(err)
			}
			if i%50 == 0 { // as a manager does every 10 ms
				table.Advance(now)
			}
		}
		beating = append(beating, time.Since(began))
	})
	slices.Sort(beating)
	one := beating[len(beating)/2] / time.Duration(len(beats))
	rate := float64(p.n) / subjects.BeatEvery(p.n).Seconds()
	p.say("  decode and take a beat  %10.1f µs; %.0f a second are %.3f core", float64(one.Nanoseconds())/1000, rate, rate*one.Seconds())
	var s subjects.Status
	p.say("  write the status anew   %10.1f ms", ms(took(func() { table.Fill(&s) })))
}

// siteLoss has a tenth of the members, one site, fall silent, and plays the active
// manager until they are gone.
func (p *paper) siteLoss() {
	table := membership.New(membership.Config{MaxMembers: 2 * p.n, TrustAnnouncedSites: true})
	began := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	every, now := subjects.BeatEvery(p.n), began
	var longest, all time.Duration
	gone, times, cut := 0, map[time.Time]bool{}, began.Add(60*time.Second)
	for now.Before(cut.Add(60 * time.Second)) {
		const step = 10 * time.Millisecond
		at := now.Sub(began) % every
		now = now.Add(step)
		for i := int(at) * p.n / int(every); i < int(at+step)*p.n/int(every); i++ {
			if i%paperSites == 0 && now.After(cut) {
				continue
			}
			a := p.announcement(i)
			a.Seq = uint64(now.Sub(began)/every) + 1
			_ = table.Announce(a, now) // of the first beats some come again
		}
		a := time.Now()
		table.Advance(now)
		for _, x := range table.Incidents() {
			table.Clear(x.Site, now)
		}
		table.Advance(now)
		d := time.Since(a)
		longest, all = max(longest, d), all+d
		for _, e := range table.Events() {
			if e.Kind == subjects.EventLeave {
				gone++
				times[e.Time] = true
				if !strings.HasSuffix(string(e.Node), "0") { // paperSite, of paperNode
					p.t.Errorf("%s left, which is of another site", e.Node)
				}
			}
		}
	}
	p.say("  a site of a tenth lost  %10d members gone in %d steps; the longest step took %.1f ms, all of 120 s %.0f ms", gone, len(times), ms(longest), ms(all))
	if site := (p.n + paperSites - 1) / paperSites; gone != site || len(times) != 1 {
		p.t.Errorf("%d members left in %d steps, of the %d of the site", gone, len(times), site)
	}
}

func (p *paper) lookup() {
	ms3 := lookup.Members(p.whole.Roles[subjects.SIPProxy])
	var table *lookup.Table
	heap := weighs(func() any {
		var err error
		if table, err = lookup.New(lookup.DefaultBits, ms3); err != nil {
			p.t.Fatal(err)
		}
		return table
	})
	began := time.Now()
	if _, err := lookup.New(lookup.DefaultBits, ms3); err != nil {
		p.t.Fatal(err)
	}
	built := time.Since(began)
	p.say("  a lookup table of %-6d%10.1f ms, %.1f MiB; one member leaves: %.1f ms", len(ms3), ms(built), heap, ms(took(func() {
		if _, err := table.Update(ms3[1:]); err != nil {
			p.t.Fatal(err)
		}
	})))
}

func (p *paper) zone() {
	b, err := zone.NewBuilder(zone.DefaultConfig("thor.test"))
	if err != nil {
		p.t.Fatal(err)
	}
	heap := weighs(func() any {
		z, err := b.Build(p.whole)
		if err != nil {
			p.t.Fatal(err)
		}
		return z
	})
	p.say("  a name server's zone    %10.1f ms, %.1f MiB", ms(took(func() {
		if _, err := b.Build(p.whole); err != nil {
			p.t.Fatal(err)
		}
	})), heap)
}

// sizes are those that THOR_BENCH_PAPER names, with commas.
func sizes(t *testing.T) (ns []int) {
	for s := range strings.SplitSeq(os.Getenv("THOR_BENCH_PAPER"), ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 100 {
			t.Fatalf("THOR_BENCH_PAPER: %q is no number from 100 on", s)
		}
		ns = append(ns, n)
	}
	return ns
}
