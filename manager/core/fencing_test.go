package core

import (
	"testing"
	"time"

	"thor/overlay/track"
	"thor/subjects"
)

// A term fences (G7): what the manager of an earlier one tells, however late and with
// whatever generation, changes nothing at an observer, nor at a manager; it publishes
// nothing when its lease is over by its own clock, and stands by when it hears of a
// later term.
func TestATermFencesTheEarlierOnes(t *testing.T) {
	old, next := newLone(t), newLone(t, func(c *Config) { c.Node = "m2" })
	o := track.New(30*time.Second, func(d time.Duration) time.Duration { return d / 2 })
	old.vouch("n1")
	old.leads(5, 100, 10_000)
	old.hear(said(subjects.SIPProxy, "n1", 1))
	old.pass(time.Second)
	next.follow(old.status(), false)
	next.leads(6, 10_000, 20_000)
	next.pass(time.Second)
	current := next.status()
	if _, err := o.Snapshot(current, current.Encode(), 0, next.now); err != nil {
		t.Fatal(err)
	}

	// Its process stood still: it publishes what it had decided.
	old.out = nil
	old.hear(said(subjects.SIPProxy, "n1", 2, weight(50)))
	old.pass(time.Second)
	deltas, ticks := all[Delta](old), all[Tick](old)
	if len(deltas) == 0 || len(ticks) == 0 {
		t.Fatal("nothing of the earlier term")
	}
	for _, d := range deltas {
		if changed, err := o.Delta(d.Delta, next.now); changed || subjects.CodeOf(err) != subjects.CodeReplay {
			t.Errorf("an observer takes %v after %v: %v", d.Mark(), current.Mark(), err)
		}
	}
	for _, k := range ticks {
		if changed, err := o.Tick(k.Tick, next.now); changed || subjects.CodeOf(err) != subjects.CodeReplay {
			t.Errorf("an observer takes a tick of %v: %v", k.Mark(), err)
		}
	}
	late := old.status()
	if _, err := o.Snapshot(late, late.Encode(), 0, next.now); err != nil || o.Mark() != current.Mark() {
		t.Errorf("an observer has %v, %v", o.Mark(), err)
	}
	next.follow(late, false)
	if !next.Leads() || next.status() != current {
		t.Error("the manager of the later term gives way")
	}

	old.out = nil
	old.term.until = old.now
	old.hear(said(subjects.SIPProxy, "n1", 3, weight(60)))
	old.pass(time.Second)
	for _, x := range old.out {
		if Led(x) {
			t.Errorf("published after the lease: %#v", x)
		}
	}
	if old.Leads() {
		t.Error("it leads without a lease")
	}

	third := newLone(t, func(c *Config) { c.Node = "m3" })
	third.leads(5, 100, 10_000)
	third.follow(current, false)
	third.take()
	if third.Leads() || len(all[StepDown](third)) == 0 {
		t.Error("it leads on although a later term is told")
	}
}
