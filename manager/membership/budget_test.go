package membership_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A pairsBudget is a row of docs/budget.md.
type pairsBudget struct {
	members       int
	beat, silence time.Duration
}

func budget(t *testing.T) (rows []pairsBudget) {
	t.Helper()
	b, err := os.ReadFile("../../docs/budget.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\| (\d+) \| (\d+) \| (\d+) \|$`).FindAllStringSubmatch(string(b), -1) {
		var x [3]int
		for i := range x {
			x[i], _ = strconv.Atoi(m[i+1]) // digits
		}
		rows = append(rows, pairsBudget{x[0], time.Duration(x[1]) * time.Millisecond, time.Duration(x[2]) * time.Millisecond})
	}
	if len(rows) < 5 {
		t.Fatalf("%d rows", len(rows))
	}
	return rows
}

// Of each size of a network: beats come as the document says; one that crashes is
// gone after half a second; one that falls silent after the silence of its row, and
// not before; and nobody else goes.
func TestTheBudgetIsKept(t *testing.T) {
	for _, x := range budget(t) {
		t.Run(fmt.Sprint(x.members), func(t *testing.T) {
			if got := subjects.BeatEvery(x.members); got != x.beat {
				t.Fatalf("beats every %s, documented %s", got, x.beat)
			}
			if testing.Short() && x.members > 1000 {
				t.Skip("takes seconds")
			}
			f := newCrowd(t, x.members)
			f.pass(3*x.beat, nil)
			// n0 beats last just now: it is the one to fall silent.
			f.beat(0)
			quiet := f.now
			f.pass(x.beat, map[int]bool{0: true})
			f.table.Disconnect(membership.Disconnect{Node: f.node(1), Boot: "boot", Via: f.via(1), Reason: "Client Closed"}, f.now)
			crashed := f.now
			gone := f.pass(x.silence+x.beat, map[int]bool{0: true, 1: true})
			if d := gone[f.node(1)].Sub(crashed); d < 500*time.Millisecond || d > 600*time.Millisecond {
				t.Errorf("a crash is seen after %s", d)
			}
			if d := gone[f.node(0)].Sub(quiet); d < x.silence || d > x.silence+100*time.Millisecond {
				t.Errorf("silence is seen after %s, documented %s", d, x.silence)
			}
			if len(gone) != 2 {
				t.Errorf("%d are gone", len(gone))
			}
		})
	}
}

// A network that shrinks bears the long silence until members had time to hear of
// the shorter interval.
func TestTheBudgetShrinksLate(t *testing.T) {
	f := newCrowd(t, 2000)
	f.pass(8*time.Second, nil)
	for i := 100; i < 2000; i++ { // they leave
		f.seq[i]++
		a := announcement(string(f.node(i)), "sip_proxy", "boot", f.seq[i])
		a.State = subjects.Leave
		if err := f.table.Announce(a, f.now); err != nil {
			t.Fatal(err)
		}
	}
	f.size = 100
	f.every = 4 * time.Second // they have not heard of it
	if gone := f.pass(8*time.Second, nil); len(gone) > 0 {
		t.Errorf("%d are gone", len(gone))
	}
	f.every = time.Second
	f.pass(12*time.Second, nil)
	f.beat(0)
	quiet := f.now
	if d := f.pass(12*time.Second, map[int]bool{0: true})[f.node(0)].Sub(quiet); d < 10*time.Second || d > 10100*time.Millisecond {
		t.Errorf("later silence is seen after %s", d)
	}
}

// A crowd is many members that beat one after the other.
type crowd struct {
	t     *testing.T
	table *membership.Table
	now   time.Time
	size  int
	every time.Duration
	seq   []uint64
	next  int
}

func newCrowd(t *testing.T, size int) *crowd {
	f := &crowd{t: t, table: membership.New(membership.Config{}), now: t0, size: size, every: subjects.BeatEvery(size), seq: make([]uint64, size)}
	for i := range size {
		f.beat(i)
	}
	f.table.Advance(f.now)
	return f
}

func (f *crowd) node(i int) subjects.NodeID { return subjects.NodeID(fmt.Sprintf("n%d", i)) }

func (f *crowd) via(i int) string { return fmt.Sprintf("b%d#%d", i%3, i) }

func (f *crowd) beat(i int) {
	f.seq[i]++
	a := announcement("n1", "sip_proxy", "boot", f.seq[i])
	a.Node, a.Via = f.node(i), f.via(i)
	if err := f.table.Announce(a, f.now); err != nil {
		f.t.Fatal(err)
	}
}

// pass lets all but some beat for d, and says who is gone, and since when.
func (f *crowd) pass(d time.Duration, without map[int]bool) map[subjects.NodeID]time.Time {
	const step = 20 * time.Millisecond
	gone := make(map[subjects.NodeID]time.Time)
	due := 0.0
	for end := f.now.Add(d); f.now.Before(end); f.now = f.now.Add(step) {
		for due += float64(f.size) * float64(step) / float64(f.every); due >= 1; due-- {
			if f.next++; !without[f.next%f.size] {
				f.beat(f.next % f.size)
			}
		}
		f.table.Advance(f.now)
		for _, e := range f.table.Events() {
			if e.Kind == subjects.EventLeave && e.Detail != "left" {
				gone[e.Node] = f.now
			}
		}
	}
	return gone
}
