package track

import (
	"testing"
	"time"

	"thor/subjects"
)

// lost is a tracker that missed a change told at t0, whose chance is the least or the greatest.
func lost(t *testing.T, late bool) *Tracker {
	t.Helper()
	h := newHistory(generations(1, 1, 2)...)
	k := trackerAt(t, h, 0)
	k.chance = func(d time.Duration) time.Duration {
		if late {
			return d - 1
		}
		return 0
	}
	_, _ = k.Tick(h.tick(1), t0)
	return k
}

// spreadOf is the time over which those who do the same with a lost tracker ask next.
func spreadOf(t *testing.T, do func(k *Tracker)) time.Duration {
	t.Helper()
	var at [2]time.Time
	for i := range at {
		k := lost(t, i == 1)
		do(k)
		if at[i] = k.ask.at; at[i].IsZero() {
			t.Fatal("it does not ask")
		}
	}
	return at[1].Sub(at[0]) + 1
}

// Members that missed the same change, and whose requests failed at the same
// moment, do not ask again together (G9).
func TestRequestsAreSpread(t *testing.T) {
	if got := spreadOf(t, func(*Tracker) {}); got != spread {
		t.Errorf("the first requests are spread over %v, want %v", got, spread)
	}
	if got, want := spreadOf(t, func(k *Tracker) { k.Failed(t0) }), retryFirst/2+spread; got != want {
		t.Errorf("requests after a refusal are spread over %v, want %v", got, want)
	}
}

// Requests without an answer say that the managers cannot keep up: the window doubles
// with each, twice at most, until an answer comes.
func TestRequestsWithoutAnAnswerWidenTheWindow(t *testing.T) {
	unanswered := func(k *Tracker, times int) {
		now := k.ask.at
		for range times {
			if req, _ := k.Advance(now); req == nil {
				t.Fatal("it does not ask")
			}
			k.Advance(now.Add(subjects.SnapshotPatience))
			now = k.ask.at
		}
	}
	for i, want := range []time.Duration{spread, 2 * spread, 4 * spread, 4 * spread} {
		k := lost(t, false)
		unanswered(k, i)
		if got := k.window(); got != want {
			t.Errorf("after %d requests without an answer the window is %v, want %v", i, got, want)
		}
	}
	k := lost(t, false)
	unanswered(k, 3)
	h := newHistory(generations(1, 1, 2)...)
	if _, err := k.Snapshot(h.statuses[1], h.statuses[1].Encode(), 0, t0.Add(time.Minute)); err != nil || k.window() != spread {
		t.Errorf("after an answer the window is %v: %v", k.window(), err)
	}
}

// What follows from the status held is not what the manager tells: it is fetched
// again, although the digests agree.
func TestADoubtIsNotSettledByATickOfTheSameStatus(t *testing.T) {
	h := newHistory(generations(1, 1)...)
	k := trackerAt(t, h, 0)
	k.Doubt(t0)
	if _, err := k.Tick(h.tick(0), t0); err != nil {
		t.Fatal(err)
	}
	if req, _ := k.Advance(t0.Add(time.Second)); req == nil {
		t.Fatal("it does not ask")
	}
	if _, err := k.Snapshot(h.statuses[0], h.statuses[0].Encode(), 0, t0); err != nil || !k.Next().Equal(t0.Add(k.staleAfter)) {
		t.Errorf("it goes on asking at %v: %v", k.Next(), err)
	}
}

// The time at which a status was known to be current does not go back.
func TestAnOlderConfirmationIsNoNews(t *testing.T) {
	h := newHistory(generations(1, 1)...)
	k := trackerAt(t, h, 0)
	at := t0.Add(5 * time.Second)
	k.Same(at)
	if _, err := k.Snapshot(h.statuses[0], h.statuses[0].Encode(), 2*time.Second, at.Add(time.Second)); err != nil || k.Confirmed != at {
		t.Errorf("confirmed %v, want %v: %v", k.Confirmed, at, err)
	}
}

// How long a far mark was told while the status held was current does not count.
func TestAFarMarkIsNotBelievedAsSoonAsTheStatusIsStale(t *testing.T) {
	h, far := newHistory(generations(5, 10)...), newHistory(generations(4_000_000, 20)...)
	k := trackerAt(t, h, 0)
	stale := t0.Add(k.staleAfter)
	for now := t0; now.Before(stale.Add(steadyFor - time.Second)); now = now.Add(time.Second) {
		k.Advance(now)
		if _, err := k.Tick(far.tick(0), now); err == nil {
			t.Fatalf("taken %v after the status was stale", now.Sub(stale))
		}
	}
	if _, err := k.Tick(far.tick(0), stale.Add(steadyFor)); err != nil {
		t.Errorf("told steadily since the status is stale: %v", err)
	}
}
