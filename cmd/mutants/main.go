// Command mutants shows what the tests notice. It breaks the code in one place at a
// time, as table.toml says, and runs the unit tests of the packages concerned,
// and apart from them the simulation of whole networks. A mutant that passes has survived: a rule
// that no test proves.
//
//	go run ./cmd/mutants                          all of them; hours of a small machine
//	go run ./cmd/mutants -run '^g3' -only unit    some of them
//	go run ./cmd/mutants -for 5m                  what five minutes are enough for; the next run goes on
//
// The source is not touched: the go command reads the broken file in the place of the
// good one (its flag -overlay). Verdicts are kept in a file, so that a run goes on
// where the last one ended.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// What a run finds; each makes it fail.
const (
	unitBound      = 0   // mutants that may survive the unit tests without a reason
	mostEquivalent = 5   // rows with such a reason
	simBound       = 0.1 // share of them that may survive the simulation
)

func main() {
	var o options
	run := flag.String("run", "", "only mutants whose name or file matches this regular expression")
	flag.StringVar(&o.only, "only", "", `"unit" or "sim": only these tests`)
	flag.IntVar(&o.seeds, "seeds", 2000, "how many seeds the simulation plays")
	flag.DurationVar(&o.last, "for", 0, "begin no test after so long; 0: all of them")
	flag.StringVar(&o.record, "record", "dist/mutants.jsonl", "file that keeps the verdicts")
	fresh := flag.Bool("fresh", false, "do not go on where the last run ended")
	flag.Parse()
	err := func() (err error) {
		if o.which, err = regexp.Compile(*run); err != nil {
			return err
		}
		if o.only != "" && o.only != unitTests && o.only != simulation {
			return fmt.Errorf("-only is %q or %q", unitTests, simulation)
		}
		if *fresh {
			if err := os.Remove(o.record); err != nil && !os.IsNotExist(err) {
				return err
			}
		}
		if o.root, err = moduleRoot(); err != nil {
			return err
		}
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
		defer stop()
		return o.play(ctx)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// options say what to play.
type options struct {
	root   string // of the module
	which  *regexp.Regexp
	only   string
	seeds  int
	last   time.Duration
	record string
}

// The two kinds of tests.
const (
	unitTests  = "unit"
	simulation = "sim"
)

// play plays what is not known yet, and prints what is.
func (o *options) play(ctx context.Context) error {
	all, err := readTable()
	if err != nil {
		return err
	}
	var rows []*mutant
	for _, m := range all {
		if o.which.MatchString(m.Name) || o.which.MatchString(m.File) {
			rows = append(rows, m)
		}
	}
	if err := os.MkdirAll(filepath.Dir(o.record), 0o755); err != nil {
		return err
	}
	known, err := readVerdicts(o.record)
	if err != nil {
		return err
	}
	p, err := newPlayer(ctx, o.root, o.seeds, all)
	if err != nil {
		return err
	}
	defer p.close()
	began := time.Now()
	for _, m := range rows {
		for _, kind := range []string{unitTests, simulation} {
			key := p.key(m, kind)
			if p.holds(known[key], m, kind) || o.only != "" && o.only != kind {
				continue
			}
			if o.last > 0 && time.Since(began) > o.last {
				continue
			}
			v, err := p.play(m, kind)
			if err != nil {
				return fmt.Errorf("%s: %w", m.Name, err)
			}
			v.Key, v.Tests = key, p.tests(m, kind)
			known[key] = v
			if err := v.append(o.record); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "%-28s %-4s %5.1f s  %s\n", m.Name, kind, v.Seconds, v)
		}
	}
	return o.report(os.Stdout, p, rows, known)
}

// moduleRoot is the directory of go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "go.mod")); err == nil {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("no go.mod above %s", dir)
		}
	}
}

// firstLine is the first line of s.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
