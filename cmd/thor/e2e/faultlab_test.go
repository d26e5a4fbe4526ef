//go:build e2e

package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
	"thor/subjects"
)

// What a run of the lab is told from outside, see docs/lab.md.
const (
	labRounds  = "THOR_LAB"         // number of rounds; without it the lab does not run
	labSeed    = "THOR_LAB_SEED"    // of the schedule; empty: another one each time
	labKinds   = "THOR_LAB_KINDS"   // names of kinds, separated by commas; empty: all
	labTrace   = "THOR_LAB_TRACE"   // file for the trace; empty: none is kept
	labRead    = "THOR_LAB_READ"    // a trace to judge again
	labSites   = "THOR_LAB_SITES"   // not empty: nine hosts in three sites, and the kinds of faults of sites
	labMinutes = "THOR_LAB_MINUTES" // no round begins later than this; empty: all do
)

// TestLab breaks a network of real processes by a seeded schedule, and judges the
// trace of it.
func TestLab(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv(labRounds))
	if err != nil || rounds < 1 {
		t.Skipf("set %s to a number of rounds, or use just lab", labRounds)
	}
	labAllowed(t)
	plan := faults.Plan{Rounds: rounds, Seed: rand.Uint64N(1_000_000), Pairs: true}
	if s := os.Getenv(labSeed); s != "" {
		if plan.Seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv(labKinds); s == "quick" {
		plan.Only, plan.Pairs = faults.Quick, false
	} else if s != "" {
		plan.Only, plan.Pairs = strings.Split(s, ","), false
	}
	topology := faultTopology
	if os.Getenv(labSites) != "" {
		topology = siteTopology
	}
	schedule, err := faults.Schedule(plan, topology)
	if err != nil {
		t.Fatal(err)
	}
	damped := slices.ContainsFunc(faults.Kinds, func(k faults.Kind) bool { return k.Damped && slices.Contains(plan.Only, k.Name) })
	fmt.Printf("seed %d, %d rounds, flap damping %t\n", plan.Seed, rounds, damped)
	lines := runLab(t, topology, schedule, damped, "")
	report(t, lines)
}

// runLab runs the schedule on a network of its own, and returns the trace. With a
// former build of thor the network begins as one of that.
func runLab(t *testing.T, topology faults.Topology, schedule []faults.Round, damping bool, former string) []trace.Line {
	t.Helper()
	log := traceLog(t)
	f := newFaultNet(t, topology, log, damping)
	if former != "" {
		f.builds = append(f.builds, former)
		for _, d := range f.daemons {
			d.p.argv[0] = former
		}
	}
	f.start(t)
	f.watchers = f.watch(t)
	f.addLoad(t)
	f.whole(t)
	log.Add(trace.Line{Ready: true})
	f.probes = f.probe(t)
	f.resources(t)
	minutes, err := strconv.Atoi(cmp.Or(os.Getenv(labMinutes), "100000"))
	if err != nil {
		t.Fatal(err)
	}
	last := time.Now().Add(time.Duration(minutes) * time.Minute)
	for i, r := range schedule {
		if time.Now().After(last) {
			t.Logf("time is over after %d rounds of %d", i, len(schedule))
			break
		}
		if !f.round(t, i, r) {
			break // the checker says why
		}
	}
	f.resources(t)
	f.searchLogs(t)
	lines, err := log.Lines()
	if err != nil {
		t.Error(err)
	}
	return lines
}

func traceLog(t *testing.T) *trace.Log {
	t.Helper()
	file := cmp.Or(os.Getenv(labTrace), filepath.Join(t.TempDir(), "trace.jsonl"))
	w, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	log := trace.NewLog(w)
	t.Cleanup(func() {
		if _, err := log.Lines(); err != nil {
			t.Error(err)
		}
		_ = w.Close()
	})
	return log
}

// round breaks the network, heals it, and waits until it is whole. It reports whether
// the next one has a chance.
func (f *faultNet) round(t *testing.T, number int, r faults.Round) bool {
	t.Helper()
	pause(t, r.Gap)
	for i := range r.Faults {
		f.resolve(&r.Faults[i])
	}
	if endangersBuckets(r) {
		f.probes.hold()
		defer f.probes.release()
	}
	began := time.Now()
	var parts, shows sync.WaitGroup
	for i, x := range r.Faults {
		f.log.Add(trace.Line{Begin: &trace.Fault{Number: number, Kind: x.Kind, On: x.On, Settle: trace.Moment(x.Settle)}})
		parts.Go(func() {
			pause(t, time.Duration(i)*r.Later)
			f.inflict(t, x)
			f.log.Add(trace.Line{End: &trace.Fault{Number: number, Kind: x.Kind}})
		})
	}
	ctx, over := context.WithCancel(t.Context())
	shows.Go(func() { f.showDuring(ctx, r) })
	parts.Wait()
	over()
	healed := time.Now()
	f.startEnded(t)
	state, whole := f.awaitWhole(t, r.Faults[0].Settle)
	shows.Wait()
	fmt.Printf("%4d  %5.1f s fault, %5.1f s to whole  %s%s\n", number, healed.Sub(began).Seconds(), time.Since(healed).Seconds(), describe(r), state)
	hosts := slices.Sorted(maps.Keys(f.byName))
	f.watchers.restart(t, hosts[number%len(hosts)])
	f.show(hosts[number%len(hosts)])
	return whole
}

// inflict does the steps of a fault.
func (f *faultNet) inflict(t *testing.T, x faults.Fault) {
	began := time.Now()
	for i := 0; i < len(x.Steps); {
		pause(t, time.Until(began.Add(x.Steps[i].After)))
		n := 0 // cuts are made together
		for _, s := range x.Steps[i:] {
			if s.After != x.Steps[i].After || s.Act != trace.Cut && s.Act != trace.Heal {
				break
			}
			n++
		}
		if n > 0 {
			f.cut(t, x.Steps[i:i+n])
		} else {
			f.act(t, x.Steps[i].Effect)
		}
		i += max(n, 1)
	}
}

// endangersBuckets reports whether a round may lose what is in memory of brokers.
func endangersBuckets(r faults.Round) bool {
	stopped := make(map[string]bool)
	for _, x := range r.Faults {
		for _, s := range x.Steps {
			if s.Act == trace.Delete {
				return true
			}
			if (s.Act == trace.Kill || s.Act == trace.Term) && strings.HasSuffix(s.Process, "/"+trace.Broker) {
				stopped[s.Process] = true
			}
		}
	}
	return len(stopped) > 1
}

// startEnded finds processes that ended though no fault ended them, and starts them.
func (f *faultNet) startEnded(t *testing.T) {
	for _, name := range f.order {
		d := f.daemons[name]
		select {
		case <-d.p.done:
			f.log.Add(trace.Line{Finding: &trace.Finding{File: name, Text: fmt.Sprintf("ended by itself: %v", d.p.cmd.ProcessState)}})
			f.act(t, trace.Effect{Act: trace.Start, Process: name})
		default:
		}
	}
}

// awaitWhole waits until all agree, for longer than the checker allows. What is
// missing even then is restarted, so that the next round has its chance.
func (f *faultNet) awaitWhole(t *testing.T, more time.Duration) (state string, whole bool) {
	t.Helper()
	const patience = 35 * time.Second
	if f.wholeWithin(t, patience+more) {
		return "", true
	}
	why := f.watchers.differs()
	for _, name := range f.watchers.missing() {
		f.act(t, trace.Effect{Act: trace.Kill, Process: name})
		f.act(t, trace.Effect{Act: trace.Start, Process: name})
	}
	if f.wholeWithin(t, 2*patience) {
		return "  NOT WHOLE: " + why, true
	}
	t.Errorf("not whole after restarts: %s", f.watchers.differs())
	return "  NOT WHOLE, also after restarts: " + why, false
}

// whole waits for the first time.
func (f *faultNet) whole(t *testing.T) {
	t.Helper()
	if began := time.Now(); !f.wholeWithin(t, 90*time.Second) {
		t.Fatalf("not whole after %v: %s", time.Since(began), f.watchers.differs())
	}
}

// wholeWithin waits until the network is whole, and was so for a while.
func (f *faultNet) wholeWithin(t *testing.T, patience time.Duration) bool {
	t.Helper()
	var since time.Time
	for began := time.Now(); time.Since(began) < patience; pause(t, 50*time.Millisecond) {
		switch {
		case f.watchers.differs() != "":
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > 1600*time.Millisecond: // longer than the checker wants
			return true
		}
	}
	return false
}

func describe(r faults.Round) string {
	var parts []string
	for _, x := range r.Faults {
		parts = append(parts, fmt.Sprintf("%s (%s)", x.Kind, strings.Join(x.On, " ")))
	}
	return strings.Join(parts, " + ")
}

// showDuring asks on hosts that a fault hits, from time to time, what an operator is
// shown there.
func (f *faultNet) showDuring(ctx context.Context, r faults.Round) {
	var host string
	for _, x := range r.Faults {
		for _, on := range x.On {
			if f.byName[on] != nil && host == "" {
				host = on
			}
		}
	}
	for host != "" {
		wait(ctx, 6*time.Second)
		if ctx.Err() != nil {
			return
		}
		f.show(host)
	}
}

// show runs thor status on a host, and notes how it differs from the status of the
// same mark.
func (f *faultNet) show(host string) {
	in := func(name string) string { return filepath.Join(f.desk.dir, name) }
	args := []string{"status", "-o", "json", "--timeout", "3s", "--brokers", strings.Join(f.brokers, ","), "--cert", in("watch-" + host + ".crt"), "--key", in("watch-" + host + ".key"), "--ca", in("trusted.crt")}
	out, err := f.byName[host].try(args...)
	s := &trace.Shown{Host: host, Command: "thor status"}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		s.Exit = exit.ExitCode()
	case err != nil:
		s.Exit = -1
	}
	var is subjects.Status
	if json.Unmarshal([]byte(out), &is) == nil && is.Epoch > 0 {
		s.Epoch = is.Epoch
		f.watchers.mu.Lock()
		for _, v := range f.watchers.views {
			if v.Status != nil && v.Mark() == is.Mark() && !slices.EqualFunc(membersIn(v.Status), membersIn(&is), sameMember) {
				s.Differs = fmt.Sprintf("at %v", is.Mark())
			}
		}
		f.watchers.mu.Unlock()
	}
	f.log.Add(trace.Line{Shown: s})
}

func sameMember(a, b trace.Member) bool {
	return a.Role == b.Role && a.Node == b.Node && a.State == b.State && slices.Equal(a.Addresses, b.Addresses)
}
