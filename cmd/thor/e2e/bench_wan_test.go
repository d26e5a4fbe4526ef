//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"thor/cmd/thor/e2e/trace"
)

var wanSent = regexp.MustCompile(`bytes_sent:(\d+)`)

// idle is the time that processors had nothing to do, of all of them together.
func idle(t *testing.T) time.Duration {
	t.Helper()
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.Fields(string(b))[4])
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(n) * time.Second / 100
}

// TestBenchWAN measures what goes from each site to each other one while nothing happens, as
// TCP payload of the routes between brokers: nine hosts in three sites, 82 ms between them, and
// as many members as THOR_LAB_LOAD says, four each.
func TestBenchWAN(t *testing.T) {
	seconds, err := strconv.Atoi(os.Getenv("THOR_BENCH_WAN"))
	if err != nil || seconds < 1 {
		t.Skip("set THOR_BENCH_WAN to seconds, or use just bench-wan")
	}
	labAllowed(t)
	f := newFaultNet(t, siteTopology, traceLog(t), false)
	f.start(t)
	f.watchers = f.watch(t)
	f.addLoad(t)
	f.whole(t)
	pause(t, 40*time.Second) // nats-server chooses the compression by the pings of a route
	brokers := []string{"ams1", "fra1", "lon1"}
	sent := func() map[[2]string]int {
		out := make(map[[2]string]int)
		for _, from := range brokers {
			b, err := exec.Command("ip", "netns", "exec", f.byName[from].ns, "ss", "-tinHO", "state", "established", "( sport = :6222 or dport = :6222 )").Output()
			if err != nil {
				t.Fatal(err)
			}
			for l := range bytes.Lines(b) {
				n := wanSent.FindSubmatch(l)
				for _, to := range brokers {
					if n != nil && to != from && bytes.Contains(l, []byte(f.byName[to].address+":")) {
						x, _ := strconv.Atoi(string(n[1]))
						out[[2]string{from, to}] += x
					}
				}
			}
		}
		return out
	}
	before, began, rested := sent(), time.Now(), idle(t)
	pause(t, time.Duration(seconds)*time.Second)
	after, took := sent(), time.Since(began)
	fmt.Printf("THOR_LAB_LOAD=%s, THOR_LAB_COMPRESS=%s, %.0f s, %.0f %% of the machine idle\n", os.Getenv(labLoad), os.Getenv(labCompress), took.Seconds(), 100*float64(idle(t)-rested)/float64(took)/float64(runtime.NumCPU()))
	for _, name := range slices.Sorted(maps.Keys(f.daemons)) {
		if d := f.daemons[name]; d.Program == trace.Broker {
			fmt.Printf("%s: %d MiB of memory\n", name, residentSet(t, d.p.cmd.Process.Pid)>>20)
		}
	}
	for _, from := range brokers {
		for _, to := range brokers {
			if from != to {
				k := [2]string{from, to}
				fmt.Printf("%s to %s: %.1f KiB/s\n", from, to, float64(after[k]-before[k])/1024/took.Seconds())
				if after[k] <= before[k] {
					t.Errorf("nothing went from %s to %s", from, to)
				}
			}
		}
	}
}
