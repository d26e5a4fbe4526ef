package track

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

var t0 = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)

// history is what a manager published: each status leads to the next by a delta.
type history struct {
	statuses []*subjects.Status
	deltas   []*subjects.Delta // deltas[i] leads to statuses[i]; deltas[0] from nothing
}

// newHistory makes statuses of the given marks, each with a member more.
func newHistory(marks ...subjects.Mark) *history {
	h := &history{}
	prev := &subjects.Status{V: 1, Domain: "example.net"}
	for i, m := range marks {
		s := prev.Clone()
		s.Epoch, s.Generation, s.Manager, s.Time = m.Epoch, m.Generation, "m1", t0
		s.Put("sip_proxy", testMember(fmt.Sprintf("n%d", i)))
		h.statuses = append(h.statuses, s)
		h.deltas = append(h.deltas, subjects.Diff(prev, s))
		prev = s
	}
	return h
}

func testMember(node string) subjects.Member {
	return subjects.Member{
		Node: subjects.NodeID(node), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		State: subjects.Up, Weight: 100, Since: t0,
	}
}

func (h *history) tick(i int) *subjects.Tick {
	s := h.statuses[i]
	return &subjects.Tick{
		V: 1, Epoch: s.Epoch, Generation: s.Generation, Digest: subjects.Digest(s.Encode()), Manager: "m1", Time: t0, Counts: s.Counts(),
	}
}

func generations(epoch uint64, gens ...uint64) (out []subjects.Mark) {
	for _, g := range gens {
		out = append(out, subjects.Mark{Epoch: epoch, Generation: g})
	}
	return out
}

// half is a chance that always falls in the middle.
func half(d time.Duration) time.Duration { return d / 2 }

func newTracker() *Tracker {
	return New(30*time.Second, half)
}

// trackerAt is a connected tracker that holds h.statuses[i], confirmed at t0.
func trackerAt(t *testing.T, h *history, i int) *Tracker {
	t.Helper()
	k := newTracker()
	k.Online(t0)
	k.Advance(t0.Add(time.Second)) // sends the first request
	if changed, err := k.Snapshot(h.statuses[i], h.statuses[i].Encode(), 0, t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	return k
}

func (t *Tracker) mustHold(tb testing.TB, s *subjects.Status) {
	tb.Helper()
	if t.Mark() != s.Mark() || string(t.Encoded) != string(s.Encode()) {
		tb.Fatalf("holds %v, want %v", t.Mark(), s.Mark())
	}
}

func TestFirstConnectionAsksAtOnce(t *testing.T) {
	k := newTracker()
	if !k.Next().IsZero() {
		t.Error("plans something before it is connected")
	}
	k.Online(t0)
	if at := k.Next(); at.Sub(t0) > spreadFirst {
		t.Errorf("asks after %v", at.Sub(t0))
	}
	req, _ := k.Advance(k.Next())
	if req == nil || req.AtLeast != nil {
		t.Fatalf("request %+v", req)
	}
	if req, _ := k.Advance(t0.Add(subjects.SnapshotPatience / 2)); req != nil {
		t.Error("asks again while it waits for the answer")
	}
}

func TestRestoredStatusIsStaleUntilConfirmed(t *testing.T) {
	h := newHistory(generations(3, 7, 8)...)
	k := newTracker()
	k.Restore(h.statuses[0], h.statuses[0].Encode(), t0)
	k.mustHold(t, h.statuses[0])
	if !k.Stale || !k.FromDisk {
		t.Error("not marked")
	}
	k.Online(t0)
	if k.Next().IsZero() {
		t.Error("does not ask the network")
	}
	changed, err := k.Tick(h.tick(0), t0)
	if !changed || err != nil || k.Stale || k.FromDisk {
		t.Errorf("tick of the same status: %v %v %v %v", changed, err, k.Stale, k.FromDisk)
	}
	if !k.ask.at.IsZero() {
		t.Error("still asks for what it has")
	}
}

func TestDeltasAreAppliedInOrderWithoutAsking(t *testing.T) {
	h := newHistory(generations(1, 1, 2, 5, 6)...)
	k := trackerAt(t, h, 0)
	for i := 1; i < 4; i++ {
		changed, err := k.Delta(h.deltas[i], t0)
		if !changed || err != nil {
			t.Fatal(i, changed, err)
		}
		k.mustHold(t, h.statuses[i])
		if changed, err := k.Tick(h.tick(i), t0); changed || err != nil || !k.ask.at.IsZero() {
			t.Error(changed, err, k.ask)
		}
	}
}

// Everything that makes the tracker ask, and when.
func TestWhatIsMissedIsAskedForOnce(t *testing.T) {
	h := newHistory(generations(1, 1, 2, 3, 4)...)
	other := h.tick(0)
	other.Digest = "0123456789abcdef0123456789abcdef"
	big := h.tick(2)
	big.Counts = map[subjects.Role]int{"sip_proxy": 1900, "media_relay": 100}
	huge := h.tick(2)
	huge.Counts = map[subjects.Role]int{"sip_proxy": 50_000}
	reload := *h.deltas[1]
	reload.Changes, reload.Reload = nil, true
	wrong := *h.deltas[1]
	wrong.Digest = other.Digest
	restarted := newHistory(generations(2, 5001)...)
	for _, c := range []struct {
		name string
		hear func(*Tracker) (bool, error)
		wait time.Duration // with half of the spread
		want subjects.Mark
	}{
		{"newer tick", func(k *Tracker) (bool, error) { return k.Tick(h.tick(2), t0) }, deltaWait + spread/2, h.statuses[2].Mark()},
		{"newer tick of many", func(k *Tracker) (bool, error) { return k.Tick(big, t0) }, deltaWait + time.Second, h.statuses[2].Mark()},
		{"newer tick of very many", func(k *Tracker) (bool, error) { return k.Tick(huge, t0) }, deltaWait + spreadMost/2, h.statuses[2].Mark()},
		{"same mark, other digest", func(k *Tracker) (bool, error) { return k.Tick(other, t0) }, deltaWait + spread/2, subjects.Mark{}},
		{"gap", func(k *Tracker) (bool, error) { return k.Delta(h.deltas[2], t0) }, spread / 2, h.statuses[2].Mark()},
		{"reload", func(k *Tracker) (bool, error) { return k.Delta(&reload, t0) }, spread / 2, h.statuses[1].Mark()},
		{"delta with a wrong digest", func(k *Tracker) (bool, error) { return k.Delta(&wrong, t0) }, spread / 2, h.statuses[1].Mark()},
		{"restarted network", func(k *Tracker) (bool, error) { return k.Delta(restarted.deltas[0], t0) }, spread / 2, restarted.statuses[0].Mark()},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := trackerAt(t, h, 0)
			if changed, err := c.hear(k); changed || err != nil {
				t.Fatal(changed, err)
			}
			at := k.ask.at
			if at.Sub(t0) != c.wait {
				t.Errorf("asks after %v, want %v", at.Sub(t0), c.wait)
			}
			if _, _ = k.Tick(h.tick(3), t0.Add(time.Millisecond)); k.ask.at != at {
				t.Error("a second sign of the same gap moved the request")
			}
			k = trackerAt(t, h, 0)
			_, _ = c.hear(k)
			req, _ := k.Advance(at)
			switch {
			case req == nil:
				t.Fatal("no request")
			case c.want.IsZero() && req.AtLeast != nil, !c.want.IsZero() && (req.AtLeast == nil || *req.AtLeast != c.want):
				t.Errorf("asks for %v, want %v", req.AtLeast, c.want)
			}
			k.mustHold(t, h.statuses[0])
		})
	}
}

func TestDeltasThatOvertakeTheSnapshotAreNotLost(t *testing.T) {
	h := newHistory(generations(1, 1, 2, 3, 4, 5)...)
	k := trackerAt(t, h, 0)
	for _, i := range []int{2, 4, 3} {
		if changed, err := k.Delta(h.deltas[i], t0); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	k.Advance(k.ask.at)
	if changed, err := k.Snapshot(h.statuses[2], h.statuses[2].Encode(), 0, t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	k.mustHold(t, h.statuses[4])
	if !k.ask.at.IsZero() || len(k.later) != 0 {
		t.Error("asks for what it has")
	}
}

func TestDeltasWithoutSnapshotDoNotPileUp(t *testing.T) {
	var gens []uint64
	for g := range uint64(200) {
		gens = append(gens, g+1)
	}
	h := newHistory(generations(1, gens...)...)
	k := trackerAt(t, h, 0)
	for _, d := range h.deltas[2:] {
		_, _ = k.Delta(d, t0)
	}
	if len(k.later) != maxLater || k.later[maxLater-1] != h.deltas[199] {
		t.Errorf("keeps %d", len(k.later))
	}
}

func TestLateDeltaClosesItsGapWithoutSnapshot(t *testing.T) {
	h := newHistory(generations(1, 1, 2, 3)...)
	k := trackerAt(t, h, 0)
	_, _ = k.Delta(h.deltas[2], t0)
	if changed, _ := k.Delta(h.deltas[1], t0); !changed {
		t.Fatal("not applied")
	}
	k.mustHold(t, h.statuses[2])
	if req, _ := k.Advance(t0.Add(time.Second)); req != nil {
		t.Error("asks for what it has")
	}
}

func TestSameMarkOtherContentIsReplacedByWhatTheTickNames(t *testing.T) {
	a, b := newHistory(generations(1, 1)...), newHistory(generations(1, 1)...)
	b.statuses[0].Put("sip_proxy", testMember("n9"))
	k := trackerAt(t, a, 0)
	if changed, _ := k.Snapshot(b.statuses[0], b.statuses[0].Encode(), 0, t0); changed {
		t.Error("replaced though no tick names it")
	}
	_, _ = k.Tick(b.tick(0), t0)
	k.Advance(k.ask.at)
	if changed, _ := k.Snapshot(b.statuses[0], b.statuses[0].Encode(), 0, t0); !changed {
		t.Fatal("not replaced")
	}
	k.mustHold(t, b.statuses[0])
}

func TestNothingGoesBack(t *testing.T) {
	h := newHistory(append(generations(1, 1, 2), generations(2, 3, 4)...)...)
	k := trackerAt(t, h, 3)
	for i := range 3 {
		if changed, err := k.Tick(h.tick(i), t0); changed || subjects.CodeOf(err) != subjects.CodeReplay {
			t.Errorf("tick %d: %v %v", i, changed, err)
		}
		if changed, _ := k.Delta(h.deltas[i], t0); changed {
			t.Errorf("delta %d was taken", i)
		}
		if changed, _ := k.Snapshot(h.statuses[i], h.statuses[i].Encode(), 0, t0); changed {
			t.Errorf("snapshot %d was taken", i)
		}
		k.mustHold(t, h.statuses[3])
	}
	if _, err := k.Delta(h.deltas[1], t0); subjects.CodeOf(err) != subjects.CodeReplay {
		t.Errorf("delta of an old epoch: %v", err)
	}
	if !k.ask.at.IsZero() {
		t.Error("old news made it ask")
	}
}

func TestAbsurdClaimsAreRefused(t *testing.T) {
	h := newHistory(generations(5, 10)...)
	for _, m := range []subjects.Mark{
		{Epoch: 5 + 1_000_001, Generation: 11},
		{Epoch: 6, Generation: 11 + 1<<40},
		{Epoch: subjects.MaxNumber + 1, Generation: 11},
		{Epoch: 1<<64 - 1, Generation: 1<<64 - 1},
	} {
		bad := newHistory(m)
		k := trackerAt(t, h, 0)
		_, e1 := k.Tick(bad.tick(0), t0)
		_, e2 := k.Delta(bad.deltas[0], t0)
		_, e3 := k.Snapshot(bad.statuses[0], bad.statuses[0].Encode(), 0, t0)
		for _, err := range []error{e1, e2, e3} {
			if subjects.CodeOf(err) != subjects.CodeAbsurd {
				t.Errorf("%v: %v", m, err)
			}
		}
		k.mustHold(t, h.statuses[0])
		if !k.want.After(k.Mark()) && k.later != nil {
			t.Error("the claim left something behind")
		}
	}
	k := newTracker()
	k.Online(t0)
	if _, err := k.Tick(newHistory(subjects.Mark{Epoch: 1_000_001, Generation: 1}).tick(0), t0); subjects.CodeOf(err) != subjects.CodeAbsurd {
		t.Errorf("first claim ever: %v", err)
	}
}

// A network that went on in large steps while an observer was away is believed
// when it tells nothing else for some time; one message, or one that others
// contradict, is not.
func TestAFarMarkIsBelievedWhenItIsToldSteadily(t *testing.T) {
	h, far := newHistory(generations(5, 10)...), newHistory(generations(4_000_000, 20)...)
	const seconds = int(steadyFor / time.Second)
	for _, c := range []struct {
		name   string
		stale  bool
		honest int // the second in which a tick of the status held comes
		every  time.Duration
		want   bool
	}{
		{"steadily", true, -1, time.Second, true},
		{"while the status held is confirmed", false, -1, time.Second, false},
		{"between ticks of the status held", true, 6, time.Second, false},
		{"now and then", true, -1, 5 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := trackerAt(t, h, 0)
			now := t0
			if c.stale {
				now = now.Add(time.Minute)
				k.Advance(now)
			}
			took := false
			for i := range seconds + 2 {
				if i == c.honest {
					_, _ = k.Tick(h.tick(0), now)
				}
				_, err := k.Tick(far.tick(0), now)
				if took = err == nil; took && i < seconds {
					t.Fatalf("taken after %d s", i)
				}
				now = now.Add(c.every)
			}
			if took != c.want {
				t.Fatalf("taken: %v", took)
			}
			_, err := k.Snapshot(far.statuses[0], far.statuses[0].Encode(), 0, now)
			if (err == nil) != c.want {
				t.Errorf("the snapshot: %v", err)
			}
		})
	}
}

// An answer without an age is what a tick named a moment ago: that confirms it.
func TestATickBeforeTheAnswerConfirmsIt(t *testing.T) {
	h := newHistory(generations(5, 10, 11)...)
	for _, c := range []struct {
		ago   time.Duration
		tick  int
		stale bool
	}{{time.Second, 0, false}, {subjects.MaxAge + 1, 0, true}, {time.Second, 1, true}} {
		k := newTracker()
		k.Online(t0)
		_, _ = k.Tick(h.tick(c.tick), t0)
		now := t0.Add(c.ago)
		k.Advance(now)
		if _, err := k.Snapshot(h.statuses[0], h.statuses[0].Encode(), -1, now); err != nil {
			t.Fatal(err)
		}
		if k.Stale != c.stale || !c.stale && k.Confirmed != t0 {
			t.Errorf("tick of %d %v ago: stale %v, confirmed %v", c.tick, c.ago, k.Stale, k.Confirmed)
		}
	}
}

// A restarted manager that tells what it held before it heard the present proves
// nothing: the status is taken for want of a better one, and asked for again.
func TestAnOldAnswerConfirmsNothing(t *testing.T) {
	h := newHistory(generations(5, 10, 11)...)
	for _, c := range []struct {
		name  string
		age   time.Duration
		stale bool
	}{
		{"the active manager's", 0, false},
		{"a standby's that heard a tick", subjects.MaxAge, false},
		{"an old one", subjects.MaxAge + 1, true},
		{"one without an age", -1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, restored := range []bool{false, true} {
				k := newTracker()
				if restored {
					k.Restore(h.statuses[0], h.statuses[0].Encode(), t0)
				}
				k.Online(t0)
				now := k.ask.at
				k.Advance(now)
				if _, err := k.Snapshot(h.statuses[0], h.statuses[0].Encode(), c.age, now); err != nil {
					t.Fatal(err)
				}
				k.mustHold(t, h.statuses[0])
				if k.Stale != c.stale || k.FromDisk != (c.stale && restored) {
					t.Errorf("restored %v: stale %v, from disk %v", restored, k.Stale, k.FromDisk)
				}
				if asks := !k.ask.at.IsZero(); asks != c.stale {
					t.Errorf("restored %v: asks again: %v", restored, asks)
				}
				if !c.stale && k.Confirmed != now.Add(-c.age) {
					t.Errorf("confirmed %v ago", now.Sub(k.Confirmed))
				}
				if _, err := k.Tick(h.tick(0), now); err != nil || k.Stale || !k.ask.at.IsZero() {
					t.Errorf("restored %v: not at rest after a tick: %v", restored, err)
				}
			}
		})
	}
}

// An earlier run showed a later status than an answer has: that is not taken for some
// seconds, in which the present is asked for again.
func TestAnAnswerBelowWhatWasShownIsAskedForAgain(t *testing.T) {
	h := newHistory(subjects.Mark{Epoch: 1, Generation: 1}, subjects.Mark{Epoch: 1, Generation: 2})
	k := New(time.Minute, func(time.Duration) time.Duration { return 0 })
	k.Floor(h.statuses[1].Mark(), t0.Add(2*time.Second))
	k.Online(t0)
	answer := func(i int, now time.Time) {
		t.Helper()
		if req, _ := k.Advance(now); req == nil {
			t.Fatal("it does not ask")
		}
		if _, err := k.Snapshot(h.statuses[i], h.statuses[i].Encode(), time.Second, now); err != nil {
			t.Fatal(err)
		}
	}
	if answer(0, t0); k.Status != nil {
		t.Fatalf("took %v", k.Mark())
	}
	l := *k
	if answer(1, t0.Add(time.Second)); k.Mark() != h.statuses[1].Mark() {
		t.Errorf("has %v", k.Mark())
	}
	k = &l
	if answer(0, t0.Add(3*time.Second)); k.Mark() != h.statuses[0].Mark() {
		t.Errorf("has %v, nothing newer is known", k.Mark())
	}
}

// An answer that comes when the request was given up counts for nothing, whether or not that
// was noted yet: a process that stood still finds it in its queue.
func TestAnAnswerAfterItsTimeIsNotWaitedFor(t *testing.T) {
	k := New(time.Minute, func(time.Duration) time.Duration { return 0 })
	k.Online(t0)
	if req, _ := k.Advance(t0); req == nil || !k.Asking(t0) || !k.Asking(t0.Add(subjects.SnapshotPatience-1)) {
		t.Fatal("it does not ask")
	}
	if k.Asking(t0.Add(subjects.SnapshotPatience)) {
		t.Error("it waits on")
	}
}

func TestStaleAfterSilenceAndOnlyThen(t *testing.T) {
	h := newHistory(generations(1, 1, 2)...)
	k := trackerAt(t, h, 0)
	if _, changed := k.Advance(t0.Add(30*time.Second - 1)); changed || k.Stale {
		t.Error("stale too early")
	}
	if at := k.Next(); at != t0.Add(30*time.Second) {
		t.Errorf("wakes at %v", at)
	}
	if _, changed := k.Advance(t0.Add(30 * time.Second)); !changed || !k.Stale {
		t.Error("not stale")
	}
	if !k.Next().IsZero() {
		t.Error("wakes again for nothing")
	}
	k.mustHold(t, h.statuses[0])
	// A tick that names what we do not have proves that ours is old.
	if changed, _ := k.Tick(h.tick(1), t0.Add(31*time.Second)); changed || !k.Stale {
		t.Error("current by the tick of another status")
	}
	if changed, _ := k.Delta(h.deltas[1], t0.Add(32*time.Second)); !changed || k.Stale {
		t.Error("still stale after a change that fits")
	}
}

func TestRequestsThatFailAreRepeatedEverMoreSeldom(t *testing.T) {
	h := newHistory(generations(1, 1, 2)...)
	k := trackerAt(t, h, 0)
	now := t0
	_, _ = k.Tick(h.tick(1), now)
	var last time.Duration
	for try := range 12 {
		at := k.Next()
		req, _ := k.Advance(at)
		if req == nil {
			t.Fatalf("try %d: no request", try)
		}
		if (req.AtLeast == nil) != (try >= patientTries) {
			t.Errorf("try %d asks for %v", try, req.AtLeast)
		}
		last = at.Sub(now)
		now = at
		switch try % 3 {
		case 0: // silence
			now = now.Add(subjects.SnapshotPatience)
			k.Advance(now)
		case 1: // refusal
			k.Failed(now)
		case 2: // an answer that is too old
			if changed, _ := k.Snapshot(h.statuses[0], h.statuses[0].Encode(), 0, now); changed {
				t.Error("changed by what it has")
			}
		}
	}
	if last < retryMax/2 || last > 2*retryMax {
		t.Errorf("after many failures asks each %v", last)
	}
	if changed, _ := k.Snapshot(h.statuses[1], h.statuses[1].Encode(), 0, now); !changed || k.ask != (ask{}) {
		t.Error("not settled by the right answer")
	}
}

// After an outage of all managers, members wait for seconds between requests;
// the first word of a manager ends the wait.
func TestFirstTickAfterAnOutageEndsTheLongWait(t *testing.T) {
	h := newHistory(generations(1, 1)...)
	k := newTracker()
	k.Online(t0)
	for range 10 {
		k.Advance(k.ask.at)
		k.Failed(t0)
	}
	if k.ask.at.Sub(t0) < 2*time.Second {
		t.Fatalf("waits only %v", k.ask.at.Sub(t0))
	}
	_, _ = k.Tick(h.tick(0), t0)
	if wait := k.ask.at.Sub(t0); wait > deltaWait+spread {
		t.Errorf("still waits %v", wait)
	}
}

func TestLostConnectionForgetsTheRequestAndTheNextOneRepeatsIt(t *testing.T) {
	h := newHistory(generations(1, 1, 2)...)
	k := trackerAt(t, h, 0)
	_, _ = k.Tick(h.tick(1), t0)
	k.Offline()
	if req, _ := k.Advance(t0.Add(time.Second)); req != nil {
		t.Error("asks without a connection")
	}
	k.Online(t0.Add(2 * time.Second))
	if req, _ := k.Advance(t0.Add(2*time.Second + spread)); req == nil || *req.AtLeast != h.statuses[1].Mark() {
		t.Error("does not ask again")
	}
	k = trackerAt(t, h, 0)
	k.Offline()
	k.Online(t0)
	if !k.ask.at.IsZero() {
		t.Error("a reconnection with nothing missed asks for the snapshot")
	}
}

// torture drives a tracker with what ops say and checks what must always hold.
func torture(t *testing.T, ops []byte) {
	h := newHistory(append(append(generations(1, 1, 2, 3), generations(2, 4, 5)...), generations(4, 9, 10, 11)...)...)
	false1 := newHistory(subjects.Mark{Epoch: 1 << 40, Generation: 5}, subjects.Mark{Epoch: 3, Generation: 1 << 53})
	k := newTracker()
	r := rand.New(rand.NewPCG(1, uint64(len(ops))))
	k.chance = func(d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d))) }
	now, mark := t0, subjects.Mark{}
	for len(ops) >= 2 {
		op, i := ops[0]%10, int(ops[1])
		ops = ops[2:]
		n := i % len(h.statuses)
		switch op {
		case 0:
			_, _ = k.Tick(h.tick(n), now)
		case 1, 2:
			_, _ = k.Delta(h.deltas[n], now)
		case 3:
			_, _ = k.Snapshot(h.statuses[n], h.statuses[n].Encode(), 0, now)
		case 4:
			now = now.Add(time.Duration(i) * 10 * time.Millisecond)
		case 5:
			k.Online(now)
		case 6:
			k.Offline()
		case 7:
			k.Failed(now)
		case 8:
			_, _ = k.Tick(false1.tick(i%2), now)
			_, _ = k.Delta(false1.deltas[i%2], now)
			_, _ = k.Snapshot(false1.statuses[i%2], false1.statuses[i%2].Encode(), 0, now)
		case 9:
			bad := *h.deltas[n]
			bad.Digest = "00"
			_, _ = k.Delta(&bad, now)
		}
		if req, _ := k.Advance(now); req != nil && !k.connected {
			t.Fatal("asks without a connection")
		}
		if mark.After(k.Mark()) {
			t.Fatalf("went back from %v to %v", mark, k.Mark())
		}
		mark = k.Mark()
		if k.Status != nil && (subjects.Digest(k.Encoded) != k.Digest || string(k.Status.Encode()) != string(k.Encoded)) {
			t.Fatal("status, encoding and digest disagree")
		}
		if len(k.later) > maxLater {
			t.Fatal("keeps too many deltas")
		}
		if at := k.Next(); !at.IsZero() && at.Before(now) {
			t.Fatalf("wants to be woken in the past: %v at %v", at, now)
		}
	}
	// Whatever happened, an honest manager is believed in the end.
	k.Online(now)
	last := len(h.statuses) - 1
	for range 40 {
		now = now.Add(time.Second)
		_, _ = k.Tick(h.tick(last), now)
		if req, _ := k.Advance(now); req != nil {
			_, _ = k.Snapshot(h.statuses[last], h.statuses[last].Encode(), 0, now)
		}
	}
	k.mustHold(t, h.statuses[last])
	if k.Stale || k.FromDisk || !k.ask.at.IsZero() {
		t.Fatalf("not at rest: %+v", k.ask)
	}
}

func TestTrackerKeepsItsPromisesWhateverArrives(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 7))
		ops := make([]byte, 0, 160)
		for len(ops) < 160 {
			ops = binary.LittleEndian.AppendUint64(ops, r.Uint64())
		}
		t.Run(fmt.Sprint(seed), func(t *testing.T) { torture(t, ops) })
	}
}

func FuzzTracker(f *testing.F) {
	f.Add([]byte{5, 0, 4, 20, 3, 0, 1, 1, 1, 3, 0, 4, 4, 100, 3, 4, 8, 0, 6, 0})
	f.Fuzz(torture)
}
