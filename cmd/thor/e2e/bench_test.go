//go:build e2e

package e2e_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/subjects"
)

// bench takes the samples of all rows. Its network, with flap damping off, is
// started when the first row wants it.
type bench struct {
	top *testing.T // of the bench
	t   *rowT      // of the row
	n   int
	net *network
	dns *resolver

	of           *network // whose the joiners are
	stays, comes *joiner

	samples []time.Duration // of the row
	moment  func()          // waits before a loss
}

// TestBench prints how long the network needs to notice. It runs only when
// THOR_BENCH says how many samples to take; THOR_BENCH_ROWS is a regular
// expression for the rows wanted. "Gone" is gone from the answers of both name
// servers, each asked 200 times a second.
func TestBench(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH"))
	if err != nil || n < 1 {
		t.Skip("set THOR_BENCH to a number of samples, or use just bench")
	}
	only := regexp.MustCompile(os.Getenv("THOR_BENCH_ROWS"))
	b := &bench{top: t, t: &rowT{T: t}, n: n}
	b.moment = b.anyMoment
	var rows []row
	foot := ""
	defer func() { // whatever failed, the rows before it are not lost
		fmt.Printf("flap damping off; a sample begins 0.5 to 1.5 s after all members are in both name servers\n%s", foot)
		if err := printRows(os.Stdout, rows); err != nil {
			t.Error(err)
		}
	}()
	for _, r := range []struct {
		event  string
		goal   time.Duration
		alone  bool // it does not use the network of all rows
		sample func()
	}{
		{"thor up → ready", 8 * time.Second, true, b.starts},
		{"agent kill -9 → gone", time.Second, false, func() { b.losses(b.signal("node2", syscall.SIGKILL), b.start("node2")) }},
		{"program joins by the socket → in DNS", time.Second, false, func() { b.programs(false) }},
		{"program kill -9 → gone", time.Second, false, func() { b.programs(true) }},
		{"service dies → gone (500 ms, fall 2)", 1500 * time.Millisecond, false, func() { b.losses(b.killService, b.start("node2-sip")) }},
		{"SIGTERM of a node → gone", 100 * time.Millisecond, false, func() { b.losses(b.signal("node2", syscall.SIGTERM), b.start("node2")) }},
		{"drain → gone", 50 * time.Millisecond, false, func() { b.losses(b.ask("drain"), b.ask("resume")) }},
		{"drain, resume → in Kamailio's dispatcher", 500 * time.Millisecond, false, func() { b.sets(true) }},
		{"program joins, kill -9 → in Kamailio's dispatcher", time.Second, false, func() { b.sets(false) }},
		{"agent SIGSTOP → gone, nobody else", 6 * time.Second, false, func() { b.losses(b.signal("node2", syscall.SIGSTOP), b.signal("node2", syscall.SIGCONT)) }},
		{"active manager kill -9 → new epoch", 600 * time.Millisecond, false, b.takeOvers},
		{"one certificate floods: kill -9 → gone", time.Second, false, func() { b.underAttack("evil", fullSpeed) }},
		{"one sends large messages: kill -9 → gone", time.Second, false, func() { b.underAttack("bigevil", largeSize) }},
		{"one comes and goes as many processes: the same", time.Second, false, func() { b.underAttack("newevil", oneByOne) }},
		{"another begins to flood: kill -9 → gone", time.Second, false, b.attackBegins},
		{"one sends just below its limits: the same", time.Second, false, func() { b.underAttack("slyevil", justBelow) }},
		{"revoked while dead → out of DNS", time.Second, false, b.revocations},
		{"serf agent kill -9 → member-failed", 0, true, b.serf},
	} {
		if only.MatchString(r.event) {
			rows = append(rows, b.row(r.event, r.goal, r.alone, r.sample))
			t.Logf("%+v", rows[len(rows)-1])
		}
	}
	if only.MatchString("footprint") {
		foot = b.footnote("footprint", false, b.footprints) + b.footnote("serf footprint", true, b.serfFootprint)
	}
	if len(rows) == 0 && foot == "" {
		t.Errorf("no row matches %q", only)
	}
}

// row takes the samples of one row.
func (b *bench) row(event string, goal time.Duration, alone bool, sample func()) row {
	b.samples = nil
	failed := b.part(event, alone, sample)
	return summarise(event, goal, b.samples, failed)
}

// footnote is what f measures, or why it could not.
func (b *bench) footnote(name string, alone bool, f func() string) (text string) {
	if failed := b.part(name, alone, func() { text = f() }); failed != "" {
		return name + " failed: " + failed + "\n"
	}
	return text
}

// part runs f as a part of its own, and returns why it failed. If it did, the
// next part gets a new network.
func (b *bench) part(name string, alone bool, f func()) (failed string) {
	if !alone {
		b.network() // it lasts longer than the part
	}
	all := b.t
	defer func() { b.t = all }()
	failed = apart(b.top, name, func(t *rowT) {
		b.t = t
		f()
	})
	if failed != "" && !alone {
		b.dns.end()
		b.net.stop(all)
		b.net = nil
	}
	return failed
}

// took notes a sample.
func (b *bench) took(d time.Duration) { b.samples = append(b.samples, d) }

// network is the one of all rows but the first and the last.
func (b *bench) network() *network {
	b.t.Helper()
	if b.net == nil {
		b.net = startNetwork(b.t, "127.85", "--damping=false")
		b.dns = b.net.resolveEvery(b.t, 5*time.Millisecond, dns.TypeSRV)
		b.back()
	}
	return b.net
}

func (b *bench) back() {
	b.t.Helper()
	eventually(b.t, 60*time.Second, "all three are back", func() bool { return b.dns.everywhere("node1", "node2", "node3") })
}

// losses samples how long node2 stays in the answers after act.
func (b *bench) losses(act, undo func()) {
	b.t.Helper()
	b.network()
	defer b.dns.must()
	for range b.n {
		b.back()
		b.dns.must("node1", "node3")
		b.moment()
		began := time.Now()
		act()
		eventually(b.t, 60*time.Second, "node2 is gone, and nobody else", func() bool { return b.dns.everywhere("node1", "node3") })
		b.took(time.Since(began))
		undo()
	}
	b.back()
	if f := b.dns.failures(); len(f) > 0 {
		b.t.Fatalf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
}

// anyMoment returns after the network has come to rest, at no certain distance
// from what its processes do every second.
func (b *bench) anyMoment() { <-time.After(500*time.Millisecond + rand.N(time.Second)) }

func (b *bench) signal(name string, s syscall.Signal) func() {
	return func() {
		if err := syscall.Kill(b.net.pid(b.t, name), s); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) killService() {
	if err := syscall.Kill(-b.net.pid(b.t, "node2-sip"), syscall.SIGKILL); err != nil { // with its workers
		b.t.Fatal(err)
	}
}

func (b *bench) start(name string) func() {
	return func() {
		b.t.Helper() // starting what has not ended yet would start nothing
		eventually(b.t, 10*time.Second, name+" has ended", func() bool { return !b.net.runs(b.t, name) })
		b.net.control(b.t, "start", name)
	}
}

func (b *bench) ask(verb string) func() {
	return func() {
		view := b.net.view
		reply, err := view.Ask(b.t.Context(), subjects.AgentRequestFrom(view.ID(), "node2", verb), nil)
		if err != nil || reply.Code != "" {
			b.t.Fatalf("%s: %v, %+v", verb, err, reply)
		}
	}
}

// starts samples a whole network from nothing to ready, certificates and
// database files included.
func (b *bench) starts() {
	for range b.n {
		if failed := apart(b.t.T, "start", func(t *rowT) { b.took(startNetwork(t, "127.88").ready) }); failed != "" {
			b.t.Fatal(failed)
		}
	}
}

func (b *bench) takeOvers() {
	b.t.Helper()
	net := b.network()
	for range b.n {
		net.settle(b.t)
		b.anyMoment()
		s := net.status()
		began := time.Now()
		net.kill9(b.t, string(s.Manager))
		eventually(b.t, 60*time.Second, "a new epoch", func() bool { return net.status().Epoch > s.Epoch })
		b.took(time.Since(began))
		b.start(string(s.Manager))()
	}
}

// footprints are those of a node agent with the interval that thor up sets for
// its check, and with the default one.
func (b *bench) footprints() string {
	net, file := b.network(), filepath.Join(b.net.dir, "node1", "thor.toml")
	often := footprint(b.t, net.pid(b.t, "node1"))
	conf, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	seldom := strings.Replace(string(conf), `interval = "500ms"`, `interval = "2s"`, 1)
	if seldom == string(conf) {
		b.t.Fatalf("no interval in %s", file)
	}
	if err := os.WriteFile(file, []byte(seldom), 0o600); err != nil {
		b.t.Fatal(err)
	}
	b.signal("node1", syscall.SIGHUP)()
	return fmt.Sprintf("idle: node agent, its service checked every 500 ms: %s (goals 25 and 0.2)\n      the same, every 2 s, the default: %s\n", often, footprint(b.t, net.pid(b.t, "node1")))
}

// footprint is the resident memory of a process, and its share of a core over
// thirty seconds, as the scheduler counts it. Pages of the program's file are
// shared by all processes that run it.
func footprint(t testing.TB, pid int) string {
	t.Helper()
	before := onCPU(t, pid)
	<-time.After(30 * time.Second)
	cpu := float64(onCPU(t, pid)-before) / float64(30*time.Second) * 100
	pages, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident, shared float64
	if _, err := fmt.Sscan(string(pages), &size, &resident, &shared); err != nil {
		t.Fatal(err)
	}
	mib := float64(os.Getpagesize()) / (1 << 20)
	return fmt.Sprintf("RSS %.1f MiB, of which %.1f MiB its own, CPU %.2f %% of a core", resident*mib, (resident-shared)*mib, cpu)
}

func onCPU(t testing.TB, pid int) (sum time.Duration) {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		b, rerr := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/schedstat", pid, task.Name()))
		var ns time.Duration
		_, serr := fmt.Sscan(string(b), &ns)
		err = cmp.Or(err, rerr, serr)
		sum += ns
	}
	if err != nil {
		t.Fatal(err)
	}
	return sum
}
