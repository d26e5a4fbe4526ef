package lookup_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"thor/overlay/lookup"
	"thor/subjects"
)

// cpuTime is what this thread has used. It hides waiting for a busy machine.
func cpuTime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

func median(ds []float64) float64 {
	s := slices.Sorted(slices.Values(ds))
	return s[len(s)/2]
}

func percentile(ds []float64, p float64) float64 {
	s := slices.Sorted(slices.Values(ds))
	return s[min(len(s)-1, int(p*float64(len(s))))]
}

// TestFigures prints what the package promises and what it measures; it is run by
// `just bench-lookup`. Times are CPU time of the thread, of rounds that take turns.
func TestFigures(t *testing.T) {
	if os.Getenv("THOR_BENCH") == "" {
		t.Skip("figures: run just bench-lookup")
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var out strings.Builder
	defer func() { t.Logf("\n%s", out.String()) }()
	fmt.Fprintf(&out, "%-58s %10s %10s %6s  %s\n", "figure", "median", "p99", "n", "goal")
	lookupFigures(t, &out)
	buildFigures(t, &out)
	balanceFigures(t, &out)
}

func row(out *strings.Builder, what string, ds []float64, unit, goal string) {
	fmt.Fprintf(out, "%-58s %7.2f %-2s %7.2f %-2s %6d  %s\n", what, median(ds), unit, percentile(ds, 0.99), unit, len(ds), goal)
}

// lookupFigures compares rounds of lookups with rounds of bare hashing that take
// turns with them: the ratio is of neighbours in time.
func lookupFigures(t *testing.T, out *strings.Builder) {
	const rounds, each = 101, 1 << 16
	ks, us := keys(1024, normal), keys(1024, uri)
	tabs := map[int]*lookup.Table{10: table(t, 18, setB(10)), 100: table(t, 18, setB(100)), 1000: table(t, 18, setB(1000))}
	time1 := func(f func(i int)) float64 {
		began := cpuTime(t)
		for i := range each {
			f(i)
		}
		return float64(cpuTime(t)-began) / each
	}
	found := func(f func(string) (lookup.Assignment, error), ks []string) func(int) {
		return func(i int) {
			p, err := f(ks[i&1023])
			if err != nil {
				t.Fatal(err)
			}
			sink += uint64(len(p.Owner()))
		}
	}
	got := make(map[string][]float64)
	for range rounds {
		bare := time1(func(i int) { sink += xxhash.Sum64String(ks[i&1023]) })
		got["hash"] = append(got["hash"], bare)
		for n, tab := range tabs {
			d := time1(found(tab.FindRaw, ks))
			got[fmt.Sprint("raw", n)] = append(got[fmt.Sprint("raw", n)], d)
			got[fmt.Sprint("ratio", n)] = append(got[fmt.Sprint("ratio", n)], d/bare)
			got[fmt.Sprint("find", n)] = append(got[fmt.Sprint("find", n)], time1(found(tab.Find, ks)))
			got[fmt.Sprint("uri", n)] = append(got[fmt.Sprint("uri", n)], time1(found(tab.Find, us)))
		}
	}
	row(out, "XXH64 of a 27-byte key", got["hash"], "ns", "")
	for _, n := range []int{10, 100, 1000} {
		row(out, fmt.Sprintf("lookup of a normalised key, %d nodes", n), got[fmt.Sprint("raw", n)], "ns", "")
		row(out, "   … divided by XXH64 of that key in the same round", got[fmt.Sprint("ratio", n)], "x", "≤ 2.2 x")
		if m := median(got[fmt.Sprint("ratio", n)]); m > 2.2 {
			t.Errorf("%d nodes: a lookup takes %.2f times its hash", n, m)
		}
		row(out, fmt.Sprintf("lookup of user@domain to be checked, %d nodes", n), got[fmt.Sprint("find", n)], "ns", "")
		row(out, fmt.Sprintf("lookup of a 47-byte SIP URI, %d nodes", n), got[fmt.Sprint("uri", n)], "ns", "")
	}
	tab := tabs[100]
	for what, f := range map[string]func(){
		"normalised": func() { _, _ = tab.FindRaw(ks[0]) }, "URI": func() { _, _ = tab.Find(us[0]) },
	} {
		a := testing.AllocsPerRun(1000, f)
		fmt.Fprintf(out, "%-58s %7.0f\n", "allocations of a lookup, "+what, a)
		if a != 0 {
			t.Errorf("%s: %v allocations", what, a)
		}
	}
}

func threeSites(set func(int) []lookup.Member) func(int) []lookup.Member {
	return func(n int) []lookup.Member { return sited(set(n), "ams", "fra", "par") }
}

func buildFigures(t *testing.T, out *strings.Builder) {
	time1 := func(n int, f func()) (ds []float64) {
		for range n {
			began := cpuTime(t)
			f()
			ds = append(ds, float64(cpuTime(t)-began)/1e6)
		}
		return ds
	}
	update := func(from *lookup.Table, to []lookup.Member) func() {
		return func() {
			if _, err := from.Update(to); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name string
		set  func(int) []lookup.Member
	}{{"equal", setB}, {"mixed", setA}, {"equal", threeSites(setB)}, {"mixed", threeSites(setA)}} {
		name, set := c.name+" weights", c.set
		if set(1)[0].Site != "" {
			name += ", three sites"
		}
		for _, n := range []int{10, 100, 1000} {
			small, full := table(t, 18, set(n)), table(t, 18, set(n+1))
			goal := ""
			if n == 100 && set(1)[0].Site == "" {
				goal = "≤ 5 ms"
			}
			join := time1(51, update(small, set(n+1)))
			row(out, fmt.Sprintf("one join at %d nodes, %s", n, name), join, "ms", goal)
			if goal != "" && median(join) > 5 {
				t.Errorf("a join takes %.1f ms", median(join))
			}
			row(out, fmt.Sprintf("one leave at %d nodes, %s", n+1, name), time1(51, update(full, set(n))), "ms", "")
			row(out, fmt.Sprintf("table anew, %d nodes, %s", n, name), time1(max(3, 100/n), func() { table(t, 18, set(n)) }), "ms", "")
		}
	}
}

// balanceFigures counts random subscribers, and those that move for nothing.
func balanceFigures(t *testing.T, out *strings.Builder) {
	rng := rand.New(rand.NewPCG(7, 7))
	for _, c := range []struct {
		n    int
		goal float64
	}{{10, 1.03}, {100, 1.06}, {1000, 1.25}} {
		n, goal := c.n, c.goal
		tab := table(t, 18, setB(n))
		count := make(map[subjects.NodeID]int)
		subscribers := min(50_000*n, 5_000_000)
		for range subscribers {
			p, err := tab.Find(fmt.Sprintf("user%d@sip.example.net", rng.Uint64()))
			if err != nil {
				t.Fatal(err)
			}
			count[p.Owner()]++
		}
		most := 0
		for _, c := range count {
			most = max(most, c)
		}
		ratio := float64(most) * float64(n) / float64(subscribers)
		fmt.Fprintf(out, "%-58s %7.3f    %7s    %6d  ≤ %.2f\n", fmt.Sprintf("load of the busiest of %d equal nodes, by its fair share", n), ratio, "", subscribers, goal)
		if ratio > goal {
			t.Errorf("%d nodes: busiest has %.3f of its share", n, ratio)
		}
	}
}
