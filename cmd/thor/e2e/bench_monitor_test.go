//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	benchMembers = 1000
	benchSeconds = 30 // at rest, for each page
	benchKeys    = 200
)

// TestBenchMonitor prints what thor monitor costs in a network of 1,000 members, as the
// scale test has it, and how long a key takes to be a picture. THOR_BENCH_MONITOR is how
// many keys; 0 is benchKeys.
func TestBenchMonitor(t *testing.T) {
	keys, err := strconv.Atoi(os.Getenv("THOR_BENCH_MONITOR"))
	if err != nil {
		t.Skip("set THOR_BENCH_MONITOR to a number of keys, or use just bench-monitor")
	}
	if keys <= 0 {
		keys = benchKeys
	}
	net := startScale(t)
	preferMembers()
	f := newFleet(t, net, benchMembers)
	f.join(t)
	eventually(t, 120*time.Second, "all members are listed", f.complete)
	eventually(t, 60*time.Second, "the members have the status", func() bool { return f.everywhere(f.view.View().Mark().Generation) == 0 })
	m := watchScale(t, net)
	m.sees(t, "[1 members]", " of 10")
	fmt.Printf("%d members; terminal of %d by %d; load average of the machine %s\n", benchMembers, m.w, m.h, loadAverage())
	for _, p := range []struct{ key, name string }{{"1", "members"}, {"4", "lookup"}, {"6", "brokers"}} {
		m.key(t, p.key, func(s string) bool { return strings.Contains(s, "["+p.key+" "+p.name+"]") })
		m.settle(t)
		percents := m.rest(t, benchSeconds)
		fmt.Printf("at rest, page %s: %s of a core (median of %d s), p99 %s, mean %s; %d MiB resident\n", p.name, percent(rank(percents, 0.5)), len(percents),
			percent(rank(percents, 0.99)), percent(mean(percents)), residentSet(t, m.cmd.Process.Pid)>>20)
	}
	var took, late, waited []float64
	for i := range keys {
		k := m.turns()[i%len(m.turns())]
		before := coreWait(t, m.cmd.Process.Pid)
		ms := float64(m.key(t, k.key, k.shown).Microseconds()) / 1000
		took = append(took, ms)
		if ms > 50 {
			late = append(late, ms)
			waited = append(waited, float64((coreWait(t, m.cmd.Process.Pid)-before).Microseconds())/1000)
		}
	}
	fmt.Printf("key to picture: median %.1f ms, p99 %.1f ms, greatest %.1f ms of %d keys\n", rank(took, 0.5), rank(took, 0.99), slices.Max(took), len(took))
	if len(late) > 0 {
		fmt.Printf("above 50 ms: %d keys, median %.1f ms, in which threads of the monitor waited for a core for %.1f ms together (median)\n", len(late), rank(late, 0.5), rank(waited, 0.5))
	}
}

func percent(f float64) string { return fmt.Sprintf("%.2f %%", f) }

func mean(v []float64) (m float64) {
	for _, x := range v {
		m += x / float64(len(v))
	}
	return m
}

// rank is the value at a share of the sorted values.
func rank(v []float64, share float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[min(len(s)-1, int(share*float64(len(s))))]
}

// watchScale runs the monitor of an operator.
func watchScale(t *testing.T, n *scaleNet) *watched {
	t.Helper()
	urls := make([]string, len(n.brokers))
	for i, b := range n.brokers {
		urls[i] = "tls://" + b
	}
	files := func(name string) string { return filepath.Join(n.dir, "operator", name) }
	return watchWith(t, 160, 50, "--brokers", strings.Join(urls, ","), "--cert", files("node.crt"), "--key", files("node.key"), "--ca", files("ca.crt"), "--timeout", "30s")
}

// A turn is a key and how its picture is known.
type turn struct {
	key   string
	shown func(string) bool
}

// atTop matches a page of which the first rows are shown.
var atTop = regexp.MustCompile(` 1-\d+ of \d`)

// turns go through pages and through the members, each to another picture than the one before.
func (m *watched) turns() []turn {
	has := func(text string) func(string) bool { return func(s string) bool { return strings.Contains(s, text) } }
	return []turn{
		{"4", has("[4 lookup]")},
		{"1", has("[1 members]")},
		{"G", func(s string) bool { return !atTop.MatchString(s) }},
		{"g", atTop.MatchString},
		{"s", has(" by state")},
		{"S", has(" by state reversed")},
		{"\r", has("history of the node")},
		{"\x7f", has("[1 members]")},
		{"3", has("[3 roles]")},
		{"2", has("[2 events]")},
		{"1", has("[1 members]")},
		{"s", has(" by node")},
		{"s", has(" by address")},
		{"s", has(" by since")},
		{"s", has(" by weight")},
		{"s", has(" by priority")},
		{"s", func(s string) bool { return !strings.Contains(s, " by ") }},
	}
}

// settle waits until what a page asks for is there.
func (m *watched) settle(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "the page is complete", func() bool {
		s, _ := m.screen()
		return !strings.Contains(s, "is being")
	})
}

// rest is how much of a core the monitor uses, in percent, second by second.
func (m *watched) rest(t *testing.T, seconds int) (out []float64) {
	t.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	before, at := processorTime(t, m.cmd.Process.Pid), time.Now()
	for range seconds {
		<-tick.C
		now, when := processorTime(t, m.cmd.Process.Pid), time.Now()
		out = append(out, 100*(now-before).Seconds()/when.Sub(at).Seconds())
		before, at = now, when
	}
	return out
}

// processorTime is what all threads of a process have used.
func processorTime(t *testing.T, pid int) time.Duration { return schedstat(t, pid, 0) }

// coreWait is how long all threads of a process together could have run and had no core.
func coreWait(t *testing.T, pid int) time.Duration { return schedstat(t, pid, 1) }

// schedstat is a field of the kernel's schedstat, in nanoseconds, of all threads.
func schedstat(t *testing.T, pid, field int) (all time.Duration) {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("no threads of %d: %v", pid, err)
	}
	for _, p := range tasks {
		b, err := os.ReadFile(p)
		if err != nil {
			continue // it has ended
		}
		ns, err := strconv.ParseInt(strings.Fields(string(b))[field], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		all += time.Duration(ns)
	}
	return all
}
