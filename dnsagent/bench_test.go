package dnsagent

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

// TestBenchDNS compares the name server with NSD and Knot, all on the first core
// and dnsperf on the second, and prints a table. The peers serve four fixed
// records; NSD adds the zone's NS record to answers with addresses. It runs only
// when THOR_BENCH_DNS says how many runs of two seconds each figure is the median
// of, or use just bench-dns.
func TestBenchDNS(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH_DNS"))
	if err != nil || n < 1 {
		t.Skip("set THOR_BENCH_DNS to a number of runs, or use just bench-dns")
	}
	for _, program := range []string{"taskset", "dnsperf", "nsd", "knotd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: Debian packages util-linux, dnsperf, nsd, knot", program)
		}
	}
	b := &benchmark{t: t, dir: t.TempDir(), runs: n}
	thor := b.thor()
	nsd, full, knot := b.nsd("yes"), b.nsd("no"), b.knot()
	b.row("A, slice 4 of 200", "proxy.sipthor.net A", nil, thor, nsd, knot)
	b.row("SRV, slice 4 of 200, with glue", "_sip._udp.sipthor.net SRV", nil, thor, full, knot)
	b.row("20,000/s from a bursty client", "proxy.sipthor.net A", []string{"-q", "40000", "-Q", "20000"}, thor, nsd, knot)
	b.row("SRV, signed (DO), of the unsigned one's", "_sip._udp.sipthor.net SRV", []string{"-D"}, b.thorSigned(), thor)
	for _, kinds := range [][]string{junkKinds} {
		b.junk = kinds
		b.row("the same beside 50,000/s of junk", "proxy.sipthor.net A", []string{"-q", "40000", "-Q", "20000"}, thor, nsd, knot)
		b.row("paced, beside 50,000/s of junk", "proxy.sipthor.net A", []string{"-q", "200", "-Q", "20000"}, thor, nsd, knot)
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 2, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(w, "%s\n%s", "figure\tserver\tµs per answer\tuser\tsystem\tanswers/s\tanswered\tof NSD's CPU", b.table.String())
	_ = w.Flush()
	fmt.Printf("medians of %d runs\n%s", n, out.String())
}

type benchmark struct {
	t     *testing.T
	dir   string
	runs  int
	junk  []string
	table strings.Builder
}

// A peer is a server that is measured.
type peer struct {
	name string
	pid  int
	port string
}

// A sample is one run of dnsperf: microseconds of the server per answer, answers
// per second, and the share of queries that were answered.
type sample struct{ cpu, user, system, rate, answered float64 }

// row measures all peers, one after the other and again.
func (b *benchmark) row(figure, query string, more []string, peers ...peer) {
	b.t.Helper()
	file := filepath.Join(b.dir, "queries")
	b.write(file, query+"\n")
	samples := make([][]sample, len(peers))
	for range b.runs {
		for i, p := range peers {
			samples[i] = append(samples[i], b.sample(p, file, more))
		}
	}
	median := func(i int, f func(sample) float64) float64 {
		var v []float64
		for _, s := range samples[i] {
			v = append(v, f(s))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	cpu := func(s sample) float64 { return s.cpu }
	for i, p := range peers {
		fmt.Fprintf(&b.table, "%s\t%s\t%.2f\t%.2f\t%.2f\t%.0f\t%.2f %%\t%.2f\n", figure, p.name, median(i, cpu),
			median(i, func(s sample) float64 { return s.user }), median(i, func(s sample) float64 { return s.system }),
			median(i, func(s sample) float64 { return s.rate }), 100*median(i, func(s sample) float64 { return s.answered }),
			median(i, cpu)/median(1, cpu))
	}
}

var perfLines = regexp.MustCompile(`(?m)^  (Queries sent|Queries completed|Run time \(s\)): +([0-9.]+)`)

func (b *benchmark) sample(p peer, file string, more []string) sample {
	b.t.Helper()
	args := append([]string{"-c", "1", "dnsperf", "-s", "127.0.0.1", "-p", p.port, "-d", file, "-l", "2", "-c", "8", "-T", "1", "-q", "100", "-t", "1", "-e"}, more...)
	ctx, cancel := context.WithTimeout(b.t.Context(), 20*time.Second)
	defer cancel()
	if b.junk != nil {
		junk, stop := context.WithCancel(ctx)
		cmd := exec.CommandContext(junk, "taskset", "-c", "1", os.Args[0])
		cmd.Env = append(os.Environ(), benchRole+"=junk", "THOR_BENCH_DNS_PORT="+p.port, "THOR_BENCH_DNS_KINDS="+strings.Join(b.junk, ","))
		if err := cmd.Start(); err != nil {
			b.t.Fatal(err)
		}
		defer func() { stop(); _ = cmd.Wait() }()
	}
	user, system := cpuOf(b.t, p.pid)
	out, err := exec.CommandContext(ctx, "taskset", args...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("dnsperf %s: %v\n%s", p.name, err, out)
	}
	user2, system2 := cpuOf(b.t, p.pid)
	got := make(map[string]float64)
	for _, m := range perfLines.FindAllStringSubmatch(string(out), -1) {
		got[m[1]], _ = strconv.ParseFloat(m[2], 64)
	}
	done := got["Queries completed"]
	if done == 0 {
		b.t.Fatalf("%s answered nothing:\n%s", p.name, out)
	}
	s := sample{user: (user2 - user) / done * 1e6, system: (system2 - system) / done * 1e6, rate: done / got["Run time (s)"], answered: done / got["Queries sent"]}
	s.cpu = s.user + s.system
	return s
}

// cpuOf is the time in seconds that a process and its children have used.
func cpuOf(t testing.TB, pid int) (user, system float64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	ticks := func(i int) float64 { v, _ := strconv.ParseFloat(f[i], 64); return v / 100 }
	user, system = ticks(11), ticks(12)
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for _, c := range strings.Fields(string(children)) {
		id, _ := strconv.Atoi(c)
		u, s := cpuOf(t, id)
		user, system = user+u, system+s
	}
	return user, system
}

func (b *benchmark) write(file, text string) {
	b.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// run starts a server on the first core and waits until it answers.
func (b *benchmark) run(name, port string, env []string, args ...string) peer {
	b.t.Helper()
	return b.runOn("0", nil, name, port, env, args...)
}

// runOn is run on some cores, with an input.
func (b *benchmark) runOn(cores string, in io.Reader, name, port string, env []string, args ...string) peer {
	b.t.Helper()
	cmd := exec.Command("taskset", append([]string{"-c", cores}, args...)...)
	cmd.Env, cmd.Stdin = append(os.Environ(), env...), in
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	m := new(dns.Msg)
	m.SetQuestion("_sip._udp.sipthor.net.", dns.TypeSRV)
	eventually(b.t, name+" answers", func() bool {
		r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m.Copy(), "127.0.0.1:"+port)
		return err == nil && len(r.Answer) == 4 && len(r.Extra) > 0 || name == "nsd" && err == nil && len(r.Answer) == 4
	})
	return peer{name, cmd.Process.Pid, port}
}

// freePort is one that is free now.
func (b *benchmark) freePort() string {
	b.t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

const benchRole = "THOR_BENCH_DNS_ROLE" // of this program as a child of the benchmark

func (b *benchmark) thor() peer {
	b.t.Helper()
	port := b.freePort()
	return b.run("thor", port, []string{benchRole + "=server", "THOR_BENCH_DNS_PORT=" + port}, os.Args[0])
}

// thorSigned serves the same zone with signatures.
func (b *benchmark) thorSigned() peer {
	b.t.Helper()
	var cfg Config
	withKeys(b.t, 1)(&cfg)
	port := b.freePort()
	return b.run("thor signed", port, []string{benchRole + "=server", "THOR_BENCH_DNS_PORT=" + port, "THOR_BENCH_DNS_KEYS=" + cfg.KeyFile}, os.Args[0])
}

const benchZone = `$ORIGIN sipthor.net.
$TTL 10
@ SOA ns.example.org. hostmaster 1 14400 3600 604800 10
@ NS ns.example.org.
proxy A 10.0.0.1
proxy A 10.0.0.2
proxy A 10.0.0.3
proxy A 10.0.0.4
_sip._udp SRV 10 100 5060 n000
_sip._udp SRV 10 100 5060 n001
_sip._udp SRV 10 100 5060 n002
_sip._udp SRV 10 100 5060 n003
n000 A 10.0.0.1
n001 A 10.0.0.2
n002 A 10.0.0.3
n003 A 10.0.0.4
`

func (b *benchmark) nsd(minimal string) peer {
	b.t.Helper()
	dir, port := b.t.TempDir(), b.freePort()
	b.write(filepath.Join(dir, "zone"), benchZone)
	b.write(filepath.Join(dir, "conf"), fmt.Sprintf(`server:
	ip-address: 127.0.0.1@%s
	server-count: 1
	reuseport: yes
	rrl-ratelimit: 0
	rrl-whitelist-ratelimit: 0
	minimal-responses: %s
	username: ""
	database: ""
	pidfile: ""
	zonelistfile: %q
	xfrdfile: ""
	zonesdir: %q
	xfrdir: %q
remote-control:
	control-enable: no
zone:
	name: sipthor.net
	zonefile: zone
`, port, minimal, dir+"/zonelist", dir, dir))
	return b.run("nsd", port, nil, "nsd", "-d", "-c", filepath.Join(dir, "conf"))
}

func (b *benchmark) knot() peer {
	b.t.Helper()
	dir, port := b.t.TempDir(), b.freePort()
	b.write(filepath.Join(dir, "zone"), benchZone)
	b.write(filepath.Join(dir, "conf"), fmt.Sprintf(`server:
    listen: 127.0.0.1@%s
    rundir: %s
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
database:
    storage: %s
zone:
  - domain: sipthor.net
    storage: %s
    file: zone
    zonefile-sync: -1
    journal-content: none
`, port, dir, dir, dir))
	return b.run("knot", port, nil, "knotd", "-c", filepath.Join(dir, "conf"))
}

// benchServer is the program that is measured: a name server of a network with 200
// members. Metrics are on.
func benchServer(port string) error {
	st := &subjects.Status{V: 1, Domain: "sipthor.net", Epoch: 1, Generation: 1}
	for i := range 200 {
		m := subjects.Member{Node: subjects.NodeID(fmt.Sprintf("n%03d", i)), State: subjects.Up}
		m.Addresses = append(m.Addresses, addr4(10, 0, byte(i/250), byte(1+i%250)))
		st.Put(subjects.SIPProxy, m)
	}
	views := make(fakeSource)
	cfg := config(prometheus.NewRegistry(), views)
	cfg.Listen = []string{"127.0.0.1:" + port}
	cfg.KeyFile = os.Getenv("THOR_BENCH_DNS_KEYS")
	cfg.Log = zerolog.New(os.Stderr)
	a, err := New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	go func() {
		if os.Getenv("THOR_BENCH_DNS_CHANGES") != "" {
			benchChanges(os.Stdin, views)
			return
		}
		views <- &overlay.View{Status: st, Connected: true}
	}()
	return a.Run(ctx)
}

// junkKinds are packets that are no queries: random bytes, queries cut in the
// middle, queries with something behind them, and responses.
var junkKinds = []string{"random", "cut", "more", "response"}

// benchJunk sends 50,000 of them a second until it is killed.
func benchJunk(port string, kinds []string) error {
	c, err := net.Dial("udp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	rng := rand.New(rand.NewPCG(1, 2))
	query := packet(0, [4]uint16{1, 0, 0, 1}, question("proxy.sipthor.net", dns.TypeA, dns.ClassINET), opt(1232, 0, 0))
	random := make([]byte, 64)
	const rate, tick = 50_000, 2 * time.Millisecond
	began, sent := time.Now(), 0
	for range time.Tick(tick) {
		for ; float64(sent) < rate*time.Since(began).Seconds(); sent++ {
			b := bytes.Clone(query)
			switch kinds[sent%len(kinds)] {
			case "random":
				for i := range random {
					random[i] = byte(rng.Uint32())
				}
				b = random[:12+rng.IntN(52)]
			case "cut":
				b = b[:12+rng.IntN(len(b)-12)]
			case "more":
				b = append(b, 1, 2, 3)
			case "response":
				b[2] |= 0x80
			}
			_, _ = c.Write(b) // refused while the server is not there
		}
	}
	return nil
}
