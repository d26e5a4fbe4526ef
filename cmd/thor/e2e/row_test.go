//go:build e2e

package e2e_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A row is one line of the table of just bench. Times are in milliseconds.
type row struct {
	Event  string  `json:"event"`
	N      int     `json:"n"`
	Median float64 `json:"median_ms"`
	P99    float64 `json:"p99_ms,omitempty"` // from 200 samples on
	Max    float64 `json:"max_ms"`
	Goal   float64 `json:"goal_ms,omitempty"` // for Max; none: the row is for comparison
	Failed string  `json:"failed,omitempty"`  // why there are no samples, or fewer than wanted
}

// summarise makes the row of the samples ds; failed is why they are not all,
// empty if they are.
func summarise(event string, goal time.Duration, ds []time.Duration, failed string) row {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	r := row{Event: event, N: len(ds), Goal: ms(goal), Failed: failed}
	if len(ds) == 0 {
		r.Failed = cmp.Or(failed, "no samples")
		return r
	}
	slices.Sort(ds)
	r.Median, r.Max = ms(ds[len(ds)/2]), ms(ds[len(ds)-1])
	if len(ds) >= 200 {
		r.P99 = ms(ds[len(ds)*99/100])
	}
	return r
}

// printRows writes the table, and the rows as JSON in one line.
func printRows(w io.Writer, rows []row) error {
	dash := func(v float64, digits int) string {
		if v == 0 {
			return "-"
		}
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	_, err := fmt.Fprintf(w, "%-46s %5s %10s %10s %10s %10s\n", "event", "n", "median ms", "p99 ms", "max ms", "goal ms")
	for _, r := range rows {
		_, e := fmt.Fprintf(w, "%-46s %5d %10s %10s %10s %10s\n", r.Event, r.N, dash(r.Median, 1), dash(r.P99, 1), dash(r.Max, 1), dash(r.Goal, 0))
		err = errors.Join(err, e)
		if r.Failed != "" {
			_, e := fmt.Fprintf(w, "  failed: %s\n", r.Failed)
			err = errors.Join(err, e)
		}
	}
	return errors.Join(err, json.NewEncoder(w).Encode(rows))
}

// A rowT is the T of a row. It remembers why the row failed.
type rowT struct {
	*testing.T
	why string // the first reason
}

func (r *rowT) note(text string) { r.why = cmp.Or(r.why, text) }

func (r *rowT) Fatal(args ...any) {
	r.Helper()
	r.note(fmt.Sprint(args...))
	r.T.Fatal(args...)
}

func (r *rowT) Fatalf(format string, args ...any) {
	r.Helper()
	r.note(fmt.Sprintf(format, args...))
	r.T.Fatalf(format, args...)
}

func (r *rowT) Error(args ...any) {
	r.Helper()
	r.note(fmt.Sprint(args...))
	r.T.Error(args...)
}

func (r *rowT) Errorf(format string, args ...any) {
	r.Helper()
	r.note(fmt.Sprintf(format, args...))
	r.T.Errorf(format, args...)
}

// apart runs f as a part of its own, whose failure does not end the test, and
// returns why it failed; empty: it did not.
func apart(t *testing.T, name string, f func(*rowT)) (failed string) {
	r := &rowT{}
	if t.Run(name, func(t *testing.T) {
		r.T = t
		f(r)
	}) {
		return ""
	}
	return cmp.Or(r.why, "it ended")
}

// One row without samples does not lose the others.
func TestARowWithoutSamplesSaysWhy(t *testing.T) {
	var out strings.Builder
	rows := []row{
		summarise("good", time.Second, []time.Duration{3 * time.Millisecond, time.Millisecond, 2 * time.Millisecond}, ""),
		summarise("none", 0, nil, ""), summarise("failed", 0, nil, "serf is missing"),
		summarise("cut off", 0, []time.Duration{time.Millisecond}, "not within 60 s"),
	}
	if err := printRows(&out, rows); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"event                                              n  median ms     p99 ms     max ms    goal ms",
		"good                                               3        2.0          -        3.0       1000",
		"none                                               0          -          -          -          -",
		"  failed: no samples",
		"failed                                             0          -          -          -          -",
		"  failed: serf is missing",
		"cut off                                            1        1.0          -        1.0          -",
		"  failed: not within 60 s",
	}
	if got := strings.Split(out.String(), "\n"); !slices.Equal(got[:len(want)], want) {
		t.Errorf("%q", got)
	}
	var back []row
	if err := json.Unmarshal([]byte(strings.Split(out.String(), "\n")[len(want)]), &back); err != nil || !slices.Equal(back, rows) {
		t.Errorf("%v, %+v", err, back)
	}
	if s := summarise("many", 0, slices.Repeat([]time.Duration{time.Millisecond}, 200), ""); s.P99 != 1 || s.N != 200 {
		t.Errorf("%+v", s)
	}
}
