package election_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"thor/manager/election"
	"thor/subjects"
)

// A bench is a machine and the clock of its inputs.
type bench struct {
	t     *testing.T
	m     *election.Machine
	now   time.Time
	facts election.Facts
	out   []election.Action // of the last step
	id    uint64            // of the newest operation
}

func newBench(t *testing.T) *bench {
	return &bench{
		t: t, m: election.NewMachine("m1", "m1-1", func(time.Duration) time.Duration { return 0 }),
		now:   time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
		facts: election.Facts{MayLead: true, Via: "b1#7"},
	}
}

func (b *bench) step(in election.Input) []election.Action {
	b.t.Helper()
	switch x := in.(type) { // results are of the newest operation
	case election.Fetched:
		x.ID = b.id
		in = x
	case election.Written:
		x.ID = b.id
		in = x
	case election.Released:
		x.ID = b.id
		in = x
	}
	b.out = b.m.Step(in, b.facts, b.now)
	for _, a := range b.out {
		switch a := a.(type) {
		case election.Read:
			b.id = a.ID
		case election.Write:
			b.id = a.ID
		case election.Release:
			b.id = a.ID
		}
	}
	return b.out
}

// pass wakes the machine whenever it wants, until something is to be done or d
// has passed.
func (b *bench) pass(d time.Duration) []election.Action {
	b.t.Helper()
	for end := b.now.Add(d); ; {
		at := b.m.Next()
		if at.IsZero() || at.After(end) {
			b.now = end
			return b.step(election.Woken{})
		}
		if at.After(b.now) {
			b.now = at
		}
		if out := b.step(election.Woken{}); len(out) > 0 {
			return out
		}
	}
}

// one is the only action, which must be an A.
func one[A election.Action](b *bench, out []election.Action) A {
	b.t.Helper()
	if len(out) == 1 {
		if a, ok := out[0].(A); ok {
			return a
		}
	}
	var want A
	b.t.Fatalf("%s, not one %T", fmt.Sprintf("%#v", out), want)
	return want
}

// last is the last action, which must be an A.
func last[A election.Action](b *bench, out []election.Action) A {
	b.t.Helper()
	return one[A](b, out[max(0, len(out)-1):])
}

// lease is what is stored under revision.
func (b *bench) lease(revision uint64, l subjects.Lease) *election.Entry {
	l.V = subjects.Version
	return &election.Entry{Revision: revision, Created: b.now, Held: true, Value: l.Encode()}
}

func (b *bench) others(revision uint64) *election.Entry {
	return b.lease(revision, subjects.Lease{Manager: "m2", Boot: "m2-1", Via: "b2#3", Epoch: 4, Ceiling: 9000})
}

func (b *bench) own(revision, epoch uint64) *election.Entry {
	return b.lease(revision, subjects.Lease{Manager: "m1", Boot: "m1-1", Via: "b1#7", Epoch: epoch, Ceiling: 9000})
}

// leads wins a term with the write of revision 1.
func (b *bench) leads() election.Begin {
	b.t.Helper()
	one[election.Read](b, b.step(election.Woken{}))
	one[election.Write](b, b.step(election.Fetched{}))
	return one[election.Begin](b, b.step(election.Written{Revision: 1}))
}

func TestTheLeaseIsCountedFromBeforeItWasSent(t *testing.T) {
	b := newBench(t)
	one[election.Read](b, b.step(election.Woken{}))
	one[election.Write](b, b.step(election.Fetched{}))
	sent := b.now
	b.now = b.now.Add(1400 * time.Millisecond) // until the acknowledgement
	if x := one[election.Begin](b, b.step(election.Written{Revision: 1})); !x.Until.Equal(sent.Add(election.LocalLease)) {
		t.Errorf("until %v after it was sent", x.Until.Sub(sent))
	}
	one[election.Write](b, b.pass(election.RenewEvery))
	sent = b.now
	b.now = b.now.Add(1400 * time.Millisecond)
	out := b.step(election.Written{Revision: 2})
	if x, ok := out[0].(election.Extend); !ok || !x.Until.Equal(sent.Add(election.LocalLease)) {
		t.Errorf("extended: %+v", out)
	}
}

func TestATermEndsWithItsLeaseWhateverIsUnderWay(t *testing.T) {
	b := newBench(t)
	x := b.leads()
	one[election.Write](b, b.pass(election.RenewEvery)) // and no result
	if one[election.End](b, b.pass(time.Minute)); !b.now.Equal(x.Until) {
		t.Errorf("ended %v after its lease", b.now.Sub(x.Until))
	}
	if out := b.step(election.Written{Revision: 2}); len(out) > 0 { // stored after all
		t.Errorf("a late acknowledgement: %#v", out)
	}
}

// Another manager's lease is told before the acknowledgement of the bid that it
// replaced, or of the renewal.
func TestWhatReplacedTheLeaseIsNotOverwritten(t *testing.T) {
	b := newBench(t)
	b.step(election.Woken{})
	one[election.Write](b, b.step(election.Fetched{}))
	b.step(election.Told{Entry: b.others(2)})
	if out := b.step(election.Written{Revision: 1}); len(out) > 0 {
		t.Errorf("a bid that was replaced: %#v", out)
	}
	b = newBench(t)
	b.leads()
	one[election.Write](b, b.pass(election.RenewEvery))
	one[election.End](b, b.step(election.Told{Entry: b.others(3)}))
	if out := b.step(election.Written{Revision: 2}); len(out) > 0 {
		t.Errorf("a renewal that was replaced: %#v", out)
	}
	one[election.Read](b, b.pass(time.Second))
}

// Told of its own renewals late, a holder writes over none but its own.
func TestAHolderReplacesItsOwnRevisionOnly(t *testing.T) {
	b := newBench(t)
	b.leads()
	for rev := uint64(2); rev < 6; rev++ {
		w := one[election.Write](b, b.pass(election.RenewEvery))
		if w.Revision != rev-1 {
			t.Errorf("renewal %d replaces %d", rev, w.Revision)
		}
		b.step(election.Told{Entry: b.own(rev-1, 1)})
		b.step(election.Written{Revision: rev})
	}
	out := b.step(election.StepDown{})
	if r := last[election.Release](b, out); r.Revision != 5 {
		t.Errorf("gives revision %d back", r.Revision)
	}
}

func TestALeaseIsGivenBackWhenTheRenewalUnderWayIsOver(t *testing.T) {
	b := newBench(t)
	b.leads()
	one[election.Write](b, b.pass(election.RenewEvery))
	if x := one[election.End](b, b.step(election.StepDown{})); !x.Released {
		t.Errorf("%+v", x)
	}
	b.step(election.Told{Entry: b.others(7)}) // and another is quicker
	if r := one[election.Release](b, b.step(election.Written{Revision: 2})); r.Revision != 2 {
		t.Errorf("gives revision %d back", r.Revision)
	}
}

func TestAConflictIsReconciled(t *testing.T) {
	for name, c := range map[string]struct {
		is   func(b *bench) election.Fetched
		want func(b *bench, out []election.Action)
	}{
		"an acknowledgement was lost": {
			func(b *bench) election.Fetched { return election.Fetched{Entry: b.own(2, 1)} },
			func(b *bench, out []election.Action) {
				if len(out) > 0 {
					b.t.Errorf("%#v", out)
				}
				if w := one[election.Write](b, b.pass(election.RenewEvery)); w.Revision != 2 {
					b.t.Errorf("replaces %d", w.Revision)
				}
			},
		},
		"another leads": {
			func(b *bench) election.Fetched { return election.Fetched{Entry: b.others(9)} },
			func(b *bench, out []election.Action) { one[election.End](b, out) },
		},
		"of an earlier term": {
			func(b *bench) election.Fetched { return election.Fetched{Entry: b.own(9, 0)} },
			func(b *bench, out []election.Action) { one[election.End](b, out) },
		},
		"unknown": {
			func(b *bench) election.Fetched { return election.Fetched{Err: errors.New("timeout")} },
			func(b *bench, out []election.Action) { one[election.End](b, out) },
		},
		"the bucket lost it": {
			func(b *bench) election.Fetched { return election.Fetched{} },
			func(b *bench, out []election.Action) {
				if w := one[election.Write](b, out); w.Revision != 0 || w.Epoch != 1 {
					b.t.Errorf("writes %+v", w)
				}
				if x := one[election.Extend](b, b.step(election.Written{Revision: 1})); x.Rewritten != 1 {
					b.t.Errorf("%+v", x)
				}
			},
		},
		"another gave it back": {
			func(b *bench) election.Fetched { return election.Fetched{Entry: &election.Entry{Revision: 9}} },
			func(b *bench, out []election.Action) { one[election.End](b, out) },
		},
		"the bucket lost it, and a later epoch is known": {
			func(b *bench) election.Fetched {
				b.facts.Known.Epoch = 2
				return election.Fetched{}
			},
			func(b *bench, out []election.Action) { one[election.End](b, out) },
		},
		"the bucket lost it, and another is first": {
			func(b *bench) election.Fetched { return election.Fetched{} },
			func(b *bench, out []election.Action) {
				one[election.Write](b, out)
				one[election.End](b, b.step(election.Written{Outcome: election.Conflict}))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.leads()
			one[election.Write](b, b.pass(election.RenewEvery))
			one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
			c.want(b, b.step(c.is(b)))
		})
	}
}

// A lease of which nothing newer was heard for the time in which its holder trusts it is
// written over, by compare-and-set on that revision; one that is renewed is not.
func TestALeaseThatIsNotRenewedIsVoid(t *testing.T) {
	b := newBench(t)
	b.step(election.Woken{})
	is, before, behind := b.others(50), b.others(50), false
	told := b.now
	one[election.Ask](b, b.step(election.Fetched{Entry: is}))
	for range 600 {
		if b.now.Sub(told) >= election.LocalLease-time.Second && is.Revision < 55 {
			is, before, told = b.others(is.Revision+1), is, b.now
			b.step(election.Told{Entry: is})
		}
		for _, a := range b.pass(100 * time.Millisecond) {
			switch a := a.(type) {
			case election.Read: // from copies, one of which is behind
				if behind = !behind; behind && is.Revision > 50 {
					b.step(election.Fetched{Entry: before})
				} else {
					b.step(election.Fetched{Entry: is})
				}
			case election.Write:
				if a.Revision < is.Revision {
					b.step(election.Written{Outcome: election.Conflict})
					continue
				}
				if d := b.now.Sub(told); d <= election.LocalLease || d > election.LocalLease+time.Second {
					t.Errorf("written %v after revision %d was told", d, is.Revision)
				}
				if a.Revision != 55 || a.Epoch != 5 {
					t.Errorf("%+v, the newest is 55", a)
				}
				return
			}
		}
	}
	t.Error("never written")
}

// In a bucket that was made anew, by a broker whose clock is behind, revisions are lower and
// times earlier than those that were told before: a renewal that is only read there is a
// sign of life all the same.
func TestARenewalInANewBucketIsASignOfLife(t *testing.T) {
	b := newBench(t)
	b.step(election.Woken{})
	is := b.others(50)
	b.step(election.Fetched{Entry: is})
	rewritten := b.now.Add(8 * time.Second)
	for b.now.Before(rewritten.Add(election.LocalLease)) {
		if !b.now.Before(rewritten) && is.Revision > 9 {
			is = b.others(9)
			is.Created = is.Created.Add(-time.Hour)
		}
		for _, a := range b.pass(100 * time.Millisecond) {
			switch a := a.(type) {
			case election.Read:
				b.step(election.Fetched{Entry: is})
			case election.Write:
				t.Fatalf("%+v, %v after it was written last", a, b.now.Sub(rewritten))
			}
		}
	}
}

// While JetStream has no leader a renewal fails at once. The first one that can be stored is
// not to be late.
func TestARenewalThatFailsIsTriedAgainSoon(t *testing.T) {
	b := newBench(t)
	b.leads()
	one[election.Write](b, b.pass(election.RenewEvery))
	for range 20 {
		b.step(election.Written{Outcome: election.Unknown, Err: errors.New("no responders")})
		failed := b.now
		one[election.Write](b, b.pass(election.RenewEvery))
		if d := b.now.Sub(failed); d > election.RenewEvery/2 {
			t.Errorf("tried again after %v", d)
		}
	}
}

// A candidate finds a bucket without the lease that it knew: the holder may rely
// on it for its time.
func TestALostLeaseHasItsTime(t *testing.T) {
	b := newBench(t)
	b.step(election.Woken{})
	one[election.Ask](b, b.step(election.Fetched{Entry: b.others(50)}))
	var lost time.Time
	for end := b.now.Add(time.Minute); b.now.Before(end); {
		for _, a := range b.pass(50 * time.Millisecond) {
			switch a := a.(type) {
			case election.Read: // nothing was told for so long
				if lost.IsZero() {
					lost = b.now
				}
				b.step(election.Fetched{})
			case election.Write:
				if d := b.now.Sub(lost); d < election.LocalLease || d > election.LocalLease+time.Second {
					t.Errorf("written %v after the loss", d)
				}
				if a.Revision != 0 || a.Epoch != 5 || a.Ceiling < 9000 {
					t.Errorf("%+v", a)
				}
				return
			}
		}
	}
	t.Error("never written")
}

// A bucket that was empty, could not be read and is empty again may have held a lease
// meanwhile. One that could not be read before it was empty has had none for all
// that is known.
func TestALeaseThatMayHaveBeenLostHasItsTime(t *testing.T) {
	for name, c := range map[string]struct {
		before bool // it was read as empty before it could not be read
		least  time.Duration
	}{
		"empty, not readable, empty": {true, election.LocalLease},
		"not readable, empty":        {false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.facts.MayLead = false // it has other things to find out
			one[election.Read](b, b.step(election.Woken{}))
			first := election.Fetched{Err: errors.New("no answer")}
			if c.before {
				first.Err = nil
			}
			b.step(first)
			var empty time.Time
			for away, end := b.now.Add(5*time.Second), b.now.Add(time.Minute); b.now.Before(end); {
				out := b.pass(50 * time.Millisecond)
				for i := 0; i < len(out); i++ {
					switch out[i].(type) {
					case election.Read:
						if b.now.Before(away) {
							b.step(election.Fetched{Err: errors.New("no answer")})
							continue
						}
						b.facts.MayLead = true
						if empty.IsZero() {
							empty = b.now
						}
						out = append(out, b.step(election.Fetched{})...)
					case election.Write:
						if d := b.now.Sub(empty); d < c.least || d > c.least+time.Second {
							t.Errorf("written %v after the bucket was found empty", d)
						}
						return
					}
				}
			}
			t.Error("never written")
		})
	}
}

// A manager that may not campaign writes nothing, whatever it hears.
func TestWhoMayNotLeadWritesNothing(t *testing.T) {
	b := newBench(t)
	b.facts.MayLead = false
	b.step(election.Woken{})
	b.step(election.Fetched{})
	for range 200 {
		for _, a := range b.pass(100 * time.Millisecond) {
			switch a.(type) {
			case election.Write:
				t.Fatal("it writes")
			case election.Read:
				b.step(election.Fetched{})
			}
		}
	}
	b.facts.MayLead = true
	if out := b.pass(time.Second); len(out) != 1 {
		t.Errorf("%#v", out)
	}
}

// With a new connection a holder asks at once whether the lease is still its own,
// whatever was under way, and publishes nothing for a moment.
func TestANewConnectionIsConfirmedAtOnce(t *testing.T) {
	b := newBench(t)
	b.leads()
	w := one[election.Write](b, b.pass(election.RenewEvery)) // its result is lost
	b.now = b.now.Add(100 * time.Millisecond)
	out := b.step(election.Online{})
	if h, ok := out[0].(election.Hold); !ok || !h.Until.After(b.now) || b.now.Sub(h.Sure) < election.RenewEvery {
		t.Errorf("%#v", out)
	}
	if x := last[election.Write](b, out); x.ID == w.ID || x.Revision != w.Revision {
		t.Errorf("%+v after %+v", x, w)
	}
	if out := b.m.Step(election.Written{ID: w.ID, Revision: 2}, b.facts, b.now); len(out) > 0 {
		t.Errorf("the result that was given up: %#v", out)
	}
	one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
	if out := b.step(election.Fetched{Entry: b.own(2, 1)}); len(out) > 0 { // the one given up was stored
		t.Errorf("%#v", out)
	}
	b = newBench(t)
	one[election.Read](b, b.step(election.Woken{}))
	one[election.Read](b, b.step(election.Online{}))
}

// A conflict is being looked into when a new connection comes: what is stored is not
// known, and the renewal replaces this process's own lease, nothing else.
func TestAReconnectionDuringAConflictReplacesItsOwnRevisionOnly(t *testing.T) {
	b := newBench(t)
	b.leads()
	one[election.Write](b, b.pass(election.RenewEvery))
	one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
	if w := last[election.Write](b, b.step(election.Online{})); w.Revision != 1 {
		t.Errorf("replaces revision %d", w.Revision)
	}
}

// The bucket lost the lease while its holder stood still or had no connection: another manager may have led
// and lost its own with the bucket. The holder hears of it by the beats of members, or writes its lease then.
func TestAfterABreakALostLeaseIsWrittenAgainWhenMembersWereHeard(t *testing.T) {
	stood := func(b *bench) []election.Action {
		b.now = b.now.Add(5 * time.Second)
		return b.step(election.Woken{})
	}
	away := func(b *bench) []election.Action {
		for end := b.now.Add(4 * time.Second); b.now.Before(end); {
			one[election.Write](b, b.pass(election.RenewEvery))
			b.step(election.Written{Outcome: election.Unknown, Err: errors.New("no connection")})
		}
		return b.step(election.Online{})
	}
	for name, c := range map[string]struct {
		breaks func(b *bench) []election.Action
		epoch  uint64 // what members say then
	}{
		"stood still":                         {stood, 1},
		"stood still, another led":            {stood, 2},
		"had no connection":                   {away, 1},
		"had no connection, another led then": {away, 2},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.leads()
			out := c.breaks(b)
			if h, ok := out[0].(election.Hold); !ok || h.Until.Before(b.now.Add(1500*time.Millisecond)) {
				t.Errorf("%#v", out)
			}
			last[election.Write](b, out)
			back := b.now
			one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
			if h := one[election.Hold](b, b.step(election.Fetched{})); h.Until.Before(back.Add(1500 * time.Millisecond)) {
				t.Errorf("publishes %v after the break", h.Until.Sub(back))
			}
			b.facts.Known.Epoch = c.epoch
			one[election.Write](b, b.pass(election.LocalLease))
			if b.now.Sub(back) < 1500*time.Millisecond {
				t.Errorf("asks again after %v", b.now.Sub(back))
			}
			one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
			out = b.step(election.Fetched{})
			if c.epoch > 1 {
				one[election.End](b, out)
				return
			}
			if w := one[election.Write](b, out); w.Epoch != 1 || w.Revision != 0 {
				t.Errorf("%+v", w)
			}
			one[election.Extend](b, b.step(election.Written{Revision: 1}))
		})
	}
}

// What is stored is learnt when the lease is over: nothing is written any more.
func TestALostLeaseIsNotWrittenAgainAfterItsTime(t *testing.T) {
	b := newBench(t)
	x := b.leads()
	one[election.Write](b, b.pass(election.RenewEvery))
	one[election.Read](b, b.step(election.Written{Outcome: election.Conflict}))
	b.now = x.Until
	for _, a := range b.step(election.Fetched{}) {
		if w, is := a.(election.Write); is {
			t.Errorf("writes %+v", w)
		}
	}
}
