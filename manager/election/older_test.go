package election_test

import (
	"testing"
	"time"

	"thor/manager/election"
	"thor/subjects"
)

// A copy that is behind tells what was stored before the holder's own lease: that
// replaced nothing.
func TestAnOlderRevisionEndsNoTerm(t *testing.T) {
	b := newBench(t)
	one[election.Read](b, b.step(election.Woken{}))
	back := &election.Entry{Revision: 5, Created: b.now} // the lease before was given back
	one[election.Write](b, b.step(election.Fetched{Entry: back}))
	one[election.Begin](b, b.step(election.Written{Revision: 6}))
	for _, e := range []*election.Entry{back, b.others(4)} {
		if out := b.step(election.Told{Entry: e}); len(out) > 0 {
			t.Errorf("revision %d below its own: %#v", e.Revision, out)
		}
	}
}

// A read is answered by a copy that is behind, after a newer lease was told: that counts.
func TestAnOlderRevisionThatIsReadHidesNoNewerLease(t *testing.T) {
	b := newBench(t)
	one[election.Read](b, b.step(election.Woken{}))
	b.step(election.Told{Entry: b.others(9)})
	out := b.step(election.Fetched{Entry: &election.Entry{Revision: 7, Created: b.now}}) // given back, then
	for _, a := range append(out, b.pass(time.Second)...) {
		if w, is := a.(election.Write); is {
			t.Errorf("writes over revision %d while another holds 9", w.Revision)
		}
	}
}

// What is known is of a later epoch than the last lease. No generation which that
// lease reserved is used again.
func TestATermBeginsAboveTheCeilingOfALeaseOfAnEarlierEpoch(t *testing.T) {
	b := newBench(t)
	b.facts.Known = subjects.Mark{Epoch: 6, Generation: 100}
	b.step(election.Woken{})
	b.step(election.Fetched{Entry: b.others(5)}) // of epoch 4, with the ceiling 9000
	one[election.Write](b, b.step(election.Told{Entry: &election.Entry{Revision: 6, Created: b.now}}))
	if x := one[election.Begin](b, b.step(election.Written{Revision: 7})); x.Epoch != 7 || x.First < 9000 {
		t.Errorf("epoch %d begins above generation %d", x.Epoch, x.First)
	}
}

// A holder whose process stood still asks whether the lease is still its own before it
// publishes: it may have been replaced meanwhile. Nothing is published until the
// answer, or to the end of the lease.
func TestAHolderThatStoodStillAsksBeforeItPublishes(t *testing.T) {
	b := newBench(t)
	x := b.leads()
	b.now = b.now.Add(1600 * time.Millisecond)
	out := b.step(election.Woken{})
	if h, ok := out[0].(election.Hold); !ok || !h.Until.Equal(x.Until) {
		t.Errorf("with a lease until %v: %#v", x.Until, out)
	}
	last[election.Write](b, out)
	one[election.Extend](b, b.step(election.Written{Revision: 2}))
	// Confirmed, it is as any other: a new connection alone holds it for a moment.
	if h, ok := b.step(election.Online{})[0].(election.Hold); !ok || !h.Until.Before(x.Until) {
		t.Errorf("after the lease was confirmed: %#v", b.out)
	}
}
