//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/subjects"
)

// A row is one line of the table of just bench. Times are in milliseconds.
type row struct {
	Event  string  `json:"event"`
	N      int     `json:"n"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms,omitempty"` // from 200 samples on
	Max    float64 `json:"max_ms"`
	Goal   float64 `json:"goal_ms"`
}

func summarise(event string, goal time.Duration, ds []time.Duration) row {
	slices.Sort(ds)
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r := row{Event: event, N: len(ds), Median: ms(ds[len(ds)/2]), Max: ms(ds[len(ds)-1]), Goal: ms(goal)}
	if len(ds) >= 200 {
		r.P99 = ms(ds[len(ds)*99/100])
	}
	return r
}

// TestBench prints how long the network needs to notice. It runs only when
// THOR_BENCH says how many samples to take. "Gone" is gone from the answers of
// both name servers, each asked 200 times a second.
func TestBench(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("THOR_BENCH"))
	if err != nil || n < 1 {
		t.Skip("set THOR_BENCH to a number of samples, or use just bench")
	}
	began := time.Now()
	net := startNetwork(t, "127.85", "--damping=false")
	ready := time.Since(began)
	dns := net.resolveEvery(t, 5*time.Millisecond)
	all := []string{"node1", "node2", "node3"}
	back := func() {
		t.Helper()
		eventually(t, 60*time.Second, "all three are back", func() bool { return dns.everywhere(all...) })
	}
	gone := func(act func()) time.Duration {
		t.Helper()
		back()
		<-time.After(3 * time.Second) // a member just met is given more time: measure the normal case
		began := time.Now()
		act()
		eventually(t, 60*time.Second, "node2 is gone", func() bool { return dns.everywhere("node1", "node3") })
		return time.Since(began)
	}
	sample := func(act, undo func()) (ds []time.Duration) {
		for range n {
			ds = append(ds, gone(act))
			undo()
			back()
		}
		return ds
	}
	signal := func(name string, s syscall.Signal) func() {
		return func() {
			if err := syscall.Kill(net.pid(t, name), s); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := func(name string) func() {
		return func() {
			t.Helper() // starting what has not ended yet would start nothing
			eventually(t, 10*time.Second, name+" has ended", func() bool { return !net.runs(t, name) })
			net.control(t, "start", name)
		}
	}
	ask := func(verb string) func() {
		return func() {
			if _, err := net.view.Ask(t.Context(), subjects.AgentRequest("node2", verb), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	back()
	rss, cpu := footprint(t, net.pid(t, "node1"))
	rows := []row{
		summarise("thor up → ready", 8*time.Second, []time.Duration{ready}),
		summarise("agent kill -9 → gone", time.Second, sample(signal("node2", syscall.SIGKILL), start("node2"))),
		summarise("service dies → gone (500 ms, fall 2)", 1500*time.Millisecond, sample(func() {
			if err := syscall.Kill(-net.pid(t, "node2-sip"), syscall.SIGKILL); err != nil { // with its children
				t.Fatal(err)
			}
		}, start("node2-sip"))),
		summarise("SIGTERM of a node → gone", 100*time.Millisecond, sample(signal("node2", syscall.SIGTERM), start("node2"))),
		summarise("drain → gone", 50*time.Millisecond, sample(ask("drain"), ask("resume"))),
		summarise("agent SIGSTOP → gone", 6*time.Second, sample(signal("node2", syscall.SIGSTOP), signal("node2", syscall.SIGCONT))),
		summarise("active manager kill -9 → new epoch", 600*time.Millisecond, takeOvers(t, net, n)),
	}
	var b strings.Builder
	fmt.Fprintf(&b, "flap damping off, members up for 3 s before each sample; agent RSS %.1f MiB (goal 25), idle CPU %.2f %% of a core (goal 0.2)\n", rss, cpu)
	fmt.Fprintf(&b, "%-40s %5s %10s %10s %10s %10s\n", "event", "n", "median ms", "p99 ms", "max ms", "goal ms")
	for _, r := range rows {
		fmt.Fprintf(&b, "%-40s %5d %10.1f %10.1f %10.1f %10.0f\n", r.Event, r.N, r.Median, r.P99, r.Max, r.Goal)
	}
	fmt.Println(b.String())
	if err := json.NewEncoder(os.Stdout).Encode(rows); err != nil {
		t.Fatal(err)
	}
}

func takeOvers(t *testing.T, net *network, n int) (ds []time.Duration) {
	t.Helper()
	for range n {
		net.settle(t)
		s := net.status()
		net.pid(t, string(s.Manager))
		began := time.Now()
		net.kill9(t, string(s.Manager))
		eventually(t, 60*time.Second, "a new epoch", func() bool { return net.status().Epoch > s.Epoch })
		ds = append(ds, time.Since(began))
		net.control(t, "start", string(s.Manager))
	}
	return ds
}

// footprint is the resident memory in MiB of a process, and its share of a core
// over ten seconds in per cent.
func footprint(t *testing.T, pid int) (rss, cpu float64) {
	t.Helper()
	ticks := func() float64 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+2:]))
		u, _ := strconv.ParseFloat(f[11], 64)
		s, _ := strconv.ParseFloat(f[12], 64)
		return u + s
	}
	before := ticks()
	<-time.After(10 * time.Second)
	cpu = (ticks() - before) / 10 // 100 ticks a second: ticks in 10 s, as per cent
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for l := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(l, "VmRSS:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(v)[0], 64)
			rss = kb / 1024
		}
	}
	return rss, cpu
}
