//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// A scaleRow is one figure of the table at the end.
type scaleRow struct {
	name              string
	n                 int
	median, p99, most string
	goal              string // "": none
}

// figure adds a row with one value.
func (s *scale) figure(name, goal, format string, args ...any) {
	s.rows = append(s.rows, scaleRow{name: name, n: 1, median: fmt.Sprintf(format, args...), goal: goal})
}

// times adds a row with the times of samples, and sorts them.
func (s *scale) times(name, goal string, took []time.Duration) {
	slices.Sort(took)
	at := func(share int) string {
		return fmt.Sprintf("%d ms", took[min(len(took)*share/100, len(took)-1)].Milliseconds())
	}
	if len(took) > 0 {
		s.rows = append(s.rows, scaleRow{name, len(took), at(50), at(99), at(100), goal})
	}
}

// cpu notes what a phase used of the machine. The harness shares it with the network:
// where it takes more than half, times say nothing of the network alone.
func (s *scale) cpu(name string, used scaleUsage, d time.Duration) {
	cores := float64(runtime.NumCPU())
	if share := float64(used.self) / float64(d) / cores; share > 0.5 {
		s.busy = append(s.busy, fmt.Sprintf("%s (%.0f %%)", name, 100*share))
	}
}

// table prints the figures.
func (s *scale) table() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\nfigure at %d members\tn\tmedian\tp99\tmax\tgoal\n", len(s.f.light)+len(s.f.sdk))
	for _, r := range s.rows {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", r.name, r.n, r.median, r.p99, r.most, r.goal)
	}
	_ = w.Flush()
	if len(s.busy) > 0 {
		s.say("the harness took more than half of the machine, so that times are not shown to be the network's, during: %s", strings.Join(s.busy, ", "))
	}
}
