package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
)

// A verdict is what the tests of one kind said of a mutant.
type verdict struct {
	Key     string  `json:"key"`
	Name    string  `json:"name"`
	Kind    string  `json:"kind"`
	By      string  `json:"by"`               // the test, or the seed; empty: it survived
	Beside  bool    `json:"beside,omitempty"` // the simulation has nothing of that package
	Tests   string  `json:"tests"`            // which they were
	Seconds float64 `json:"seconds"`
}

func (v *verdict) String() string {
	switch {
	case v == nil:
		return "not played"
	case v.Beside:
		return "survived: not part of the simulation"
	case v.By == "":
		return "survived"
	}
	return v.By
}

// readVerdicts reads those of earlier runs; the newest counts.
func readVerdicts(file string) (map[string]*verdict, error) {
	known := map[string]*verdict{}
	f, err := os.Open(file)
	if os.IsNotExist(err) {
		return known, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d := json.NewDecoder(f)
	for d.More() {
		var v verdict
		if err := d.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		known[v.Key] = &v
	}
	return known, nil
}

func (v *verdict) append(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(f).Encode(v); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// tally counts verdicts of one kind.
type tally struct{ played, killed, excused, open int }

// report prints the table, and fails if too many survived or some were not played.
func (o *options) report(w io.Writer, p *player, rows []*mutant, known map[string]*verdict) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "mutant\tunit tests\tsimulation\tseconds")
	sums := map[string]*tally{unitTests: {}, simulation: {}}
	for _, m := range rows {
		seconds := 0.0
		cells := map[string]string{}
		for kind, sum := range sums {
			v := known[p.key(m, kind)]
			if !p.holds(v, m, kind) {
				v = nil
			}
			cells[kind] = v.String()
			if v == nil {
				sum.open++
				continue
			}
			seconds += v.Seconds
			sum.played++
			switch {
			case v.By != "":
				sum.killed++
			case m.Equivalent != "":
				sum.excused++
				cells[kind] = "survived: " + firstLine(m.Equivalent)
			case kind == simulation && m.Unseen != "":
				cells[kind] = "survived: " + firstLine(m.Unseen)
			}
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%.1f\n", m.Name, cells[unitTests], shorten(cells[simulation], 100), seconds)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	unit, sim := sums[unitTests], sums[simulation]
	fmt.Fprintf(w, "\n%d mutants\n", len(rows))
	var bad []string
	for _, kind := range []string{unitTests, simulation} {
		s := sums[kind]
		fmt.Fprintf(w, "%-10s  killed %d of %d, survived with a reason %d, without %d, not played %d\n",
			kind, s.killed, s.played, s.excused, s.played-s.killed-s.excused, s.open)
		if s.open > 0 && (o.only == "" || o.only == kind) {
			bad = append(bad, fmt.Sprintf("%d were not played by %s: run again", s.open, kind))
		}
	}
	if n := unit.played - unit.killed - unit.excused; n > unitBound {
		bad = append(bad, fmt.Sprintf("%d survived the unit tests", n))
	}
	if n := sim.played - sim.killed - sim.excused; sim.played > 0 && float64(n) > simBound*float64(sim.played) {
		bad = append(bad, fmt.Sprintf("%d of %d survived the simulation, %.0f %% may", n, sim.played, 100*simBound))
	}
	if len(bad) > 0 {
		return fmt.Errorf("%s", strings.Join(bad, "; "))
	}
	return nil
}

// shorten cuts s to n characters.
func shorten(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}
