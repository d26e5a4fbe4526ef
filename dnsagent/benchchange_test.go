package dnsagent

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
	"thor/overlay"
	"thor/subjects"
)

// Of the part of the benchmark that changes the membership: a network of 1,000 members with five roles each.
const (
	changingMembers = 1000
	changeSamples   = 200
	pacedQueries    = 1000                  // a second, while latencies are measured
	changeEvery     = 50 * time.Millisecond // while latencies are measured
	pacedFor        = 5 * time.Second
)

// TestBenchDNSChanges prints figures of a name server whose membership changes: from a status to the answer,
// latencies of answers at rest and meanwhile, and its memory in the end; on both cores, and on one where the
// server has nothing else to run on while it makes a zone. It runs with TestBenchDNS.
func TestBenchDNSChanges(t *testing.T) {
	if os.Getenv("THOR_BENCH_DNS") == "" {
		t.Skip("set THOR_BENCH_DNS to a number of runs, or use just bench-dns")
	}
	b := &benchmark{t: t, dir: t.TempDir()}
	var out strings.Builder
	for what, cores := range map[string]string{"two cores": "0,1", "one core": "0"} {
		t.Run(what, func(t *testing.T) {
			b.t = t
			fmt.Fprintf(&out, "%s:\n", what)
			b.changes(cores, &out)
		})
	}
	benchPublish(t, &out)
	benchAllocations(t, &out)
	fmt.Printf("%d members of %d roles\n%s", changingMembers, len(fiveRoles), out.String())
}

// benchPublish writes how long zone, signatures and packed answers take to make.
func benchPublish(t *testing.T, out io.Writer) {
	_, _ = fmt.Fprintln(out, "rebuild (goal: ≤ 10 ms):")
	builder, err := zone.NewBuilder(zone.DefaultConfig("sipthor.net"))
	if err != nil {
		t.Fatal(err)
	}
	var cfg Config
	withKeys(t, 1)(&cfg)
	keys, err := ReadKeys(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	st := large(changingMembers)
	for what, k := range map[string]*dnssec.Keys{"unsigned": nil, "signed": keys} {
		for _, c := range publishings {
			var now *served
			var took []time.Duration
			turn := []*subjects.Status{st, without(st, "m0500", c.change...)}
			for i := range changeSamples {
				if c.change == nil {
					now = nil
				}
				began := time.Now()
				now = publishing(t, builder, k, now, turn[i%2])
				took = append(took, time.Since(began))
			}
			writeFigure(out, c.what+", "+what, took)
		}
	}
}

// benchAllocations writes those for one answer.
func benchAllocations(t *testing.T, out io.Writer) {
	p := bothPaths(t, 1232)
	for name, qtype := range map[string]uint16{"proxy.sipthor.net": dns.TypeA, "_sip._udp.sipthor.net": dns.TypeSRV} {
		request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, qtype, dns.ClassINET), opt(1232, 0, 0))
		n := testing.AllocsPerRun(10_000, func() { p.quick.serveUDP(request, p.out[:1232], netip.IPv6Loopback()) })
		_, _ = fmt.Fprintf(out, "allocations for an answer to %s %s: %v\n", name, dns.Type(qtype), n)
	}
}

func (b *benchmark) changes(cores string, out io.Writer) {
	b.t.Helper()
	port := b.freePort()
	steps, in := io.Pipe()
	defer func() { _ = in.Close() }()
	env := []string{benchRole + "=server", "THOR_BENCH_DNS_PORT=" + port, "THOR_BENCH_DNS_CHANGES=1"}
	p := b.runOn(cores, steps, "thor", port, env, os.Args[0])
	change := func() {
		if _, err := in.Write([]byte("\n")); err != nil {
			b.t.Fatal(err)
		}
	}
	writeFigure(out, "status until it is in an answer (goal: p99 ≤ 20 ms)", b.untilAnswered(port, change))
	writeFigure(out, "latency of answers at rest", b.latencies(port, nil))
	writeFigure(out, "latency of answers with 20 changes a second (goal: no step)", b.latencies(port, change))
	_, _ = fmt.Fprintf(out, "  %-62s %.1f MiB\n", "resident memory after these, without a connection to brokers", float64(residentKiB(b.t, p.pid))/1024)
}

// writeFigure writes percentiles.
func writeFigure(out io.Writer, name string, samples []time.Duration) {
	slices.Sort(samples)
	at := func(p float64) float64 { return float64(samples[int(p*float64(len(samples)-1))].Microseconds()) / 1000 }
	_, _ = fmt.Fprintf(out, "  %-62s p50 %.2f, p99 %.2f, max %.2f ms (n = %d)\n", name, at(0.5), at(0.99), at(1), len(samples))
}

// untilAnswered takes the time from each change until an answer has its serial.
func (b *benchmark) untilAnswered(port string, change func()) (out []time.Duration) {
	b.t.Helper()
	conn, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	serial := b.serial(conn)
	for range changeSamples {
		began := time.Now()
		change()
		now := serial
		for now == serial {
			now = b.serial(conn)
		}
		out, serial = append(out, time.Since(began)), now
	}
	return out
}

// serial asks for that of the zone.
func (b *benchmark) serial(conn net.Conn) uint32 {
	b.t.Helper()
	buf := make([]byte, maxQuery)
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Write(packet(0, [4]uint16{1}, soaQuestion())); err != nil {
		b.t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		b.t.Fatal(err)
	}
	m := new(dns.Msg)
	if err := m.Unpack(buf[:n]); err != nil || len(m.Answer) != 1 {
		b.t.Fatal(err, m)
	}
	return m.Answer[0].(*dns.SOA).Serial
}

// latencies are those of paced questions, one at a time, while change is called now and then.
func (b *benchmark) latencies(port string, change func()) (out []time.Duration) {
	b.t.Helper()
	conn, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(changeEvery)
		defer tick.Stop()
		for change != nil {
			select {
			case <-tick.C:
				change()
			case <-stop:
				return
			}
		}
	}()
	request, buf := packet(0, [4]uint16{1, 0, 0, 1}, question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET), opt(1232, 0, 0)), make([]byte, maxQuery)
	tick := time.NewTicker(time.Second / pacedQueries)
	defer tick.Stop()
	for end := time.Now().Add(pacedFor); time.Now().Before(end); <-tick.C {
		began := time.Now()
		_ = conn.SetDeadline(began.Add(5 * time.Second))
		if _, err := conn.Write(request); err != nil {
			b.t.Fatal(err)
		}
		if _, err := conn.Read(buf); err != nil {
			b.t.Fatal(err)
		}
		out = append(out, time.Since(began))
	}
	close(stop)
	<-done
	return out
}

// residentKiB is the memory of a process.
func residentKiB(t testing.TB, pid int) (kib int) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	if _, err := fmt.Sscanf(rest, "%d", &kib); err != nil {
		t.Fatal(err)
	}
	return kib
}

// benchChanges has a member come or go with each line of in.
func benchChanges(in io.Reader, views fakeSource) {
	st := large(changingMembers)
	views <- &overlay.View{Status: st, Connected: true}
	next := [2]*subjects.Status{st, without(st, "m0500", subjects.SIPProxy)}
	for lines, i := bufio.NewScanner(in), 1; lines.Scan(); i++ {
		s := *next[i%2]
		s.Generation = uint64(1 + i)
		views <- &overlay.View{Status: &s, Connected: true}
	}
}
