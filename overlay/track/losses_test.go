package track

import (
	"net/netip"
	"testing"
	"time"

	"thor/subjects"
)

func newLosing(t *testing.T) (k *Tracker, now time.Time, s *subjects.Status) {
	t.Helper()
	now = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	k = New(30*time.Second, func(time.Duration) time.Duration { return 0 })
	k.Online(now)
	s = &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 7, Manager: "m1", Time: now, Roles: map[subjects.Role][]subjects.Member{}}
	s.Lost = []subjects.Lost{{Node: "n1", Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Since: now, Reason: "silent"}}
	s.Held = []subjects.Held{}
	if req, _ := k.Advance(now); req == nil || !req.Losses {
		t.Fatalf("asked %+v", req)
	}
	return k, now, s
}

func answer(t *testing.T, k *Tracker, s *subjects.Status, full []byte, now time.Time) {
	t.Helper()
	p, err := subjects.ParseStatus(full)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.Snapshot(p, full, 0, now); err != nil {
		t.Fatal(err)
	}
	if k.Mark() != s.Mark() || string(k.Encoded) != string(s.Encode()) || k.Digest != subjects.Digest(s.Encode()) {
		t.Fatalf("holds %v %s", k.Mark(), k.Encoded)
	}
}

func tickOf(s *subjects.Status) *subjects.Tick {
	return &subjects.Tick{V: 1, Epoch: s.Epoch, Generation: s.Generation, Digest: subjects.Digest(s.Encode()), LossesDigest: s.LossesDigest(), Manager: "m1"}
}

// quiet fails if the tracker asks for anything within a while of ticks.
func quiet(t *testing.T, k *Tracker, s *subjects.Status, now time.Time) time.Time {
	t.Helper()
	for range 20 {
		now = now.Add(time.Second)
		if _, err := k.Tick(tickOf(s), now); err != nil {
			t.Fatal(err)
		}
		if req, _ := k.Advance(now.Add(500 * time.Millisecond)); req != nil {
			t.Fatalf("it asks for a snapshot: %+v", req)
		}
	}
	return now
}

func TestLossesComeWithTheSnapshotAndInDeltas(t *testing.T) {
	k, now, s := newLosing(t)
	answer(t, k, s, s.EncodeFull(s.Encode()), now)
	if k.Status.FindLost("sip_proxy", "n1") == nil || k.Losses != s.LossesDigest() {
		t.Fatalf("losses %+v", k.Status.Losses)
	}
	now = quiet(t, k, s, now)
	next := s.Clone()
	next.Generation++
	next.ClearLosses()
	if changed, err := k.Delta(subjects.Diff(s, next), now); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	if len(k.Status.Lost) != 0 {
		t.Errorf("losses %+v", k.Status.Losses)
	}
	quiet(t, k, next, now)
	if string(k.Full()) != string(next.EncodeFull(next.Encode())) {
		t.Errorf("full encoding %s", k.Full())
	}
}

// A change that did not fit into its delta is found by the tick. The status is
// current meanwhile.
func TestLossesThatAreMissingAreFetched(t *testing.T) {
	k, now, s := newLosing(t)
	answer(t, k, s, s.EncodeFull(s.Encode()), now)
	next := s.Clone()
	next.Generation++
	next.Lost[0].Reason = "connection lost"
	d := subjects.Diff(s, next)
	d.Lost = nil
	if changed, err := k.Delta(d, now); !changed || err != nil {
		t.Fatalf("changed %v, %v", changed, err)
	}
	now = now.Add(time.Second)
	if _, err := k.Tick(tickOf(next), now); err != nil || k.Confirmed != now {
		t.Fatalf("confirmed %v, %v", k.Confirmed, err)
	}
	req, _ := k.Advance(now.Add(deltaWait))
	if req == nil || !req.Losses {
		t.Fatalf("asked %+v", req)
	}
	answer(t, k, next, next.EncodeFull(next.Encode()), now)
	if l := k.Status.FindLost("sip_proxy", "n1"); l == nil || l.Reason != "connection lost" {
		t.Errorf("lost %+v", l)
	}
	quiet(t, k, next, now)
}

// A manager of an earlier version keeps no losses: none are shown, and none are
// asked for. Neither are they when the next one that leads has none to tell.
func TestAManagerWithoutLossesIsNotAskedForThem(t *testing.T) {
	k, now, s := newLosing(t)
	answer(t, k, s, s.EncodeFull(s.Encode()), now)
	old := s.Clone()
	old.Generation++
	old.Losses = subjects.Losses{}
	d := subjects.Diff(s, old)
	d.Lost, d.Held = nil, nil // it knows no such fields
	if _, err := k.Delta(d, now); err != nil {
		t.Fatal(err)
	}
	now = quiet(t, k, old, now)
	if k.Status.LossesKnown() {
		t.Errorf("losses %+v", k.Status.Losses)
	}
	next := old.Clone()
	next.Generation++
	next.ClearLosses()
	if _, err := k.Delta(subjects.Diff(old, next), now); err != nil {
		t.Fatal(err)
	}
	now = quiet(t, k, next, now)
	if !k.Status.LossesKnown() || k.Losses != subjects.NoLossesDigest {
		t.Errorf("losses %+v", k.Status.Losses)
	}
	if changed := k.Same(now); changed {
		t.Error("the next tick changes something")
	}
}

func TestTheDiskKeepsLosses(t *testing.T) {
	k, now, s := newLosing(t)
	answer(t, k, s, s.EncodeFull(s.Encode()), now)
	full := k.Full()
	p, err := subjects.ParseStatus(full)
	if err != nil {
		t.Fatal(err)
	}
	again := New(30*time.Second, func(time.Duration) time.Duration { return 0 })
	again.Restore(p, full, now)
	if again.Digest != k.Digest || again.Losses != k.Losses || again.Status.FindLost("sip_proxy", "n1") == nil {
		t.Errorf("restored %+v", again.State)
	}
}
