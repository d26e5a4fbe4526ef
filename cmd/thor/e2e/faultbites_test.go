//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
	"thor/subjects"
)

// What the lab does behind the back of the checker must be found: a live member that
// goes, a status older than the one before, a name server that does not answer. And
// direct reads of a bucket that is cut in two are no register.
func TestLabBites(t *testing.T) {
	if os.Getenv(labRounds) == "" {
		t.Skipf("set %s, or use just lab", labRounds)
	}
	labAllowed(t)
	f := newFaultNet(t, faultTopology, traceLog(t), false)
	f.start(t)
	f.watchers = f.watch(t)
	f.whole(t)
	f.log.Add(trace.Line{Ready: true})
	f.probes = f.probe(t)
	old := f.keepState(t, "host5")

	f.daemons["proxy4/node"].p.kill(t) // without a line
	gone := func() bool { return f.listed(subjects.SIPProxy) == 6 }
	eventually(t, 20*time.Second, "a member is gone", gone)
	f.daemons["proxy4/node"].p.run(t)
	eventually(t, 20*time.Second, "it is back", func() bool { return f.listed(subjects.SIPProxy) == 7 })

	f.isolate(t, "host3")
	f.silenceNames(t, "host1/dns")
	f.tellOldStatus(t, "host5", old)

	lines, err := f.log.Lines()
	if err != nil {
		t.Fatal(err)
	}
	found := trace.Check(lines)
	for _, invariant := range []string{"I2", "I4", "I6"} {
		i := slices.IndexFunc(found, func(v trace.Violation) bool { return v.Invariant == invariant })
		if i < 0 {
			t.Errorf("%s was violated, and the checker does not say so", invariant)
			continue
		}
		t.Log(found[i])
	}
	f.readsAreStale(t, lines)
}

// keepState copies the directory of an observer.
func (f *faultNet) keepState(t *testing.T, host string) string {
	t.Helper()
	dir := t.TempDir()
	from := f.watchers.observers[host].dir
	eventually(t, 20*time.Second, "the observer has saved its status", func() bool {
		_, err := os.Stat(filepath.Join(from, "status.json"))
		return err == nil
	})
	if err := os.CopyFS(filepath.Join(dir, "state"), os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "state")
}

// listed is how many members of a role the desk sees.
func (f *faultNet) listed(role subjects.Role) int {
	f.watchers.mu.Lock()
	defer f.watchers.mu.Unlock()
	return len(f.watchers.views[f.desk.name].Status.Roles[role])
}

// isolate cuts the routes of a broker until its probe has read there for a while.
func (f *faultNet) isolate(t *testing.T, host string) {
	t.Helper()
	for _, act := range []trace.Act{trace.Cut, trace.Heal} {
		var steps []faults.Step
		for _, o := range f.topology.Core {
			if o != host {
				steps = append(steps,
					faults.Step{Effect: trace.Effect{Act: act, From: host, To: o, Port: trace.RoutePort}},
					faults.Step{Effect: trace.Effect{Act: act, From: o, To: host, Port: trace.RoutePort}})
			}
		}
		f.cut(t, steps)
		pause(t, 10*time.Second)
	}
}

// tellOldStatus starts an observer again with what it knew at the begin. There are no
// brokers to ask, so that after a while it shows that.
func (f *faultNet) tellOldStatus(t *testing.T, host, old string) {
	t.Helper()
	o := f.watchers.observers[host]
	o.stop()
	<-o.done
	if err := os.RemoveAll(o.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(o.dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	f.watchers.open(t, o)
	eventually(t, 30*time.Second, "an observer shows what is on its disk", func() bool {
		lines, err := f.log.Lines()
		return err != nil || slices.ContainsFunc(lines, func(l trace.Line) bool {
			return l.Status != nil && l.Status.Observer == host && l.Status.FromDisk
		})
	})
}

// silenceNames starts a name server without a status and without brokers.
func (f *faultNet) silenceNames(t *testing.T, name string) {
	t.Helper()
	d := f.daemons[name]
	for _, h := range f.topology.Core {
		f.daemons[h+"/"+trace.Broker].p.kill(t)
	}
	f.act(t, trace.Effect{Act: trace.Kill, Process: name})
	if err := wipe(d.dir); err != nil {
		t.Fatal(err)
	}
	f.act(t, trace.Effect{Act: trace.Start, Process: name})
	started := f.log.Now()
	eventually(t, 30*time.Second, "it has answered without a status for a while", func() bool {
		lines, err := f.log.Lines()
		return err != nil || slices.ContainsFunc(lines, func(l trace.Line) bool {
			return l.DNS != nil && l.DNS.Server == name && l.DNS.Rcode != "NOERROR" && l.At > started+trace.Moment(3*time.Second)
		})
	})
}

// readsAreStale judges the registers with and without direct reads.
func (f *faultNet) readsAreStale(t *testing.T, lines []trace.Line) {
	t.Helper()
	for _, r := range trace.CheckRegisters(lines, false, time.Minute) {
		t.Log("compare-and-set:", r)
		if r.Result != porcupine.Ok {
			t.Errorf("I3: %v", r)
		}
	}
	stale := false
	for _, r := range trace.CheckRegisters(lines, true, time.Minute) {
		t.Log("with direct reads:", r)
		stale = stale || r.Result == porcupine.Illegal
	}
	if !stale {
		t.Error("direct reads of a broker without routes pass as a register")
	}
}
