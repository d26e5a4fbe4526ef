package track

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"thor/subjects"
)

var followed = []subjects.Role{"sip_proxy", "thor_database"}

// rolesHistory is what a manager published that tells changes by role: each
// generation changes one role, and now and then what is lost in it.
type rolesHistory struct {
	statuses []*subjects.Status
	deltas   []*subjects.Delta
	parts    [][]*subjects.RoleDelta
}

// newRolesHistory has a generation for each role given.
func newRolesHistory(roles ...subjects.Role) *rolesHistory {
	h := &rolesHistory{}
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Manager: "m1", Time: t0, Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	for i, r := range roles {
		node := fmt.Sprintf("n%d", i%7)
		h.add(s, func(n *subjects.Status) {
			n.Generation++
			gone := func(p subjects.Pair) bool { return p == subjects.Pair{Node: subjects.NodeID(node), Role: r} }
			n.Lost = slices.DeleteFunc(n.Lost, func(l subjects.Lost) bool { return gone(l.Pair()) })
			if n.Member(r, subjects.NodeID(node)) == nil {
				n.Put(r, testMember(node))
				return
			}
			n.Remove(r, subjects.NodeID(node))
			if i%2 == 0 {
				n.Lost = append(n.Lost, subjects.Lost{Node: subjects.NodeID(node), Role: r, Addresses: testMember(node).Addresses, Since: t0, Reason: "silent"})
				slices.SortFunc(n.Lost, func(a, b subjects.Lost) int { return a.Pair().Compare(b.Pair()) })
			}
		})
		s = h.statuses[i]
	}
	return h
}

func (h *rolesHistory) add(s *subjects.Status, edit func(*subjects.Status)) {
	n := s.Clone()
	edit(n)
	d := subjects.Diff(s, n)
	parts := d.ByRole(n)
	for _, p := range parts {
		p.Digest = n.RoleDigest(p.Role)
	}
	h.statuses, h.deltas, h.parts = append(h.statuses, n), append(h.deltas, d), append(h.parts, parts)
}

// tick is that of generation i+1, and roleTick what a manager sends before that names
// roles.
func (h *rolesHistory) tick(i int) *subjects.Tick {
	s := h.statuses[i]
	return &subjects.Tick{
		V: 1, Epoch: s.Epoch, Generation: s.Generation, Digest: subjects.Digest(s.Encode()), LossesDigest: s.LossesDigest(), Manager: s.Manager, Time: s.Time, Counts: s.Counts(),
	}
}

func (h *rolesHistory) roleTick(i int) *subjects.RoleTick {
	s := h.statuses[i]
	return &subjects.RoleTick{V: 1, Epoch: s.Epoch, Generation: s.Generation, Roles: s.RoleDigests(), Manager: s.Manager, Time: s.Time}
}

func (h *rolesHistory) full(i int) []byte { return h.statuses[i].EncodeFull(h.statuses[i].Encode()) }

// part is the answer to a request of who follows some roles.
func (h *rolesHistory) part(i int) (*subjects.Status, []byte) {
	p := h.statuses[i].Part(followed)
	return p, p.EncodeFull(p.Encode())
}

// mustShow fails unless t shows what generation i+1 says of its roles.
func (h *rolesHistory) mustShow(tb testing.TB, t *Tracker, i int) {
	tb.Helper()
	s, encoded, content := t.Shown()
	want, full := h.part(i)
	if s == nil || s.Mark() != want.Mark() || string(encoded) != string(want.Encode()) || string(t.Full()) != string(full) || content == "" {
		tb.Fatalf("shows %s, want %s", t.Full(), full)
	}
}

// partAt is a connected tracker of some roles that holds generation i+1.
func (h *rolesHistory) partAt(t *testing.T, i int) *Tracker {
	t.Helper()
	k := NewPart(30*time.Second, half, followed)
	k.Online(t0)
	req, _ := k.Advance(t0.Add(time.Second))
	if req == nil || !slices.Equal(req.Roles, followed) || !req.Losses {
		t.Fatalf("asked %+v", req)
	}
	s, full := h.part(i)
	if changed, err := k.Snapshot(s, full, 0, t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, i)
	return k
}

func TestDeltasOfRolesAreShownWithTheTickThatNamesThem(t *testing.T) {
	h := newRolesHistory("sip_proxy", "thor_database", "media_relay", "sip_proxy", "media_relay", "thor_database")
	k := h.partAt(t, 0)
	for i := 1; i < len(h.statuses); i++ {
		for _, d := range h.parts[i] {
			if changed, err := k.RoleDelta(d, t0); changed || err != nil {
				t.Fatal(i, changed, err)
			}
		}
		h.mustShow(t, k, i-1)
		at := t0.Add(time.Duration(i) * 10 * time.Second)
		if changed, err := k.RoleTick(h.roleTick(i), at); !changed || err != nil {
			t.Fatal(i, changed, err)
		}
		h.mustShow(t, k, i)
		if k.Confirmed != at || !k.NamesPart(h.roleTick(i)) || k.NamesPart(h.roleTick(i-1)) {
			t.Errorf("generation %d: confirmed %v", i+1, k.Confirmed)
		}
		if changed := k.Same(at.Add(time.Second)); changed || k.Confirmed != at.Add(time.Second) {
			t.Error("the next tick of the same")
		}
		if !k.ask.at.IsZero() {
			t.Errorf("plans a request: %+v", k.ask)
		}
	}
}

// Only the mark moves where other roles change: nothing is asked for, and nothing but
// the ticks is heard.
func TestChangesOfOtherRolesMoveTheMarkAlone(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay", "media_relay", "voicemail_server")
	k := h.partAt(t, 0)
	_, _, content := k.Shown()
	for _, i := range []int{1, 3} { // the tick of 2 is lost
		if changed, err := k.RoleTick(h.roleTick(i), t0); !changed || err != nil {
			t.Fatal(changed, err)
		}
		h.mustShow(t, k, i)
		if _, _, now := k.Shown(); now != content {
			t.Error("the content has another name")
		}
	}
	if !k.ask.at.IsZero() {
		t.Error("asks")
	}
	for _, d := range h.parts[1] { // of a role that is not followed
		if changed, err := k.RoleDelta(d, t0); changed || err != nil {
			t.Error(changed, err)
		}
	}
	if _, err := k.RoleTick(h.roleTick(1), t0); subjects.CodeOf(err) != subjects.CodeReplay {
		t.Errorf("an older tick: %v", err)
	}
	h.mustShow(t, k, 3)
}

// A tick that names another digest of a role has the part fetched, spread over the
// size of the whole network. The part stays as it was meanwhile.
func TestAMissedDeltaOfARoleIsRepairedByOneRequest(t *testing.T) {
	h := newRolesHistory("sip_proxy", "sip_proxy", "media_relay", "sip_proxy", "sip_proxy")
	k := h.partAt(t, 0)
	big := h.roleTick(1)
	big.Members = 2000
	if changed, err := k.RoleTick(big, t0); changed || err != nil {
		t.Fatal(changed, err)
	}
	if at := k.ask.at.Sub(t0); at != deltaWait+time.Second || !k.Many() {
		t.Errorf("asks after %v; many: %v", at, k.Many())
	}
	h.mustShow(t, k, 0)
	if _, err := k.RoleTick(h.roleTick(2), t0); err != nil {
		t.Fatal(err)
	}
	req, _ := k.Advance(k.ask.at)
	if req == nil || req.AtLeast == nil || *req.AtLeast != h.statuses[2].Mark() || !slices.Equal(req.Roles, followed) {
		t.Fatalf("asked %+v", req)
	}
	// The answer is of before the last change of another role, its age unknown: what
	// it says of the roles is what the tick names.
	s, full := h.part(1)
	if changed, err := k.Snapshot(s, full, -1, t0.Add(time.Second)); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 2)
	if !k.Confirmed.Equal(t0) || !k.ask.at.IsZero() {
		t.Errorf("confirmed %v, asks %v", k.Confirmed, k.ask.at)
	}
	// A delta that does not start at what is held waits for the answer, and for its tick.
	for _, d := range h.parts[4] {
		if changed, err := k.RoleDelta(d, t0); changed || err != nil {
			t.Fatal(changed, err)
		}
	}
	if k.ask.at.Sub(t0) > time.Second || k.ask.at.IsZero() {
		t.Errorf("asks at %v", k.ask.at)
	}
	k.Advance(k.ask.at)
	s, full = h.part(3)
	if changed, err := k.Snapshot(s, full, 0, t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 3)
	if changed, err := k.RoleTick(h.roleTick(4), t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 4)
}

func TestALateDeltaOfARoleClosesItsGapWithoutAnAnswer(t *testing.T) {
	h := newRolesHistory("sip_proxy", "sip_proxy", "sip_proxy")
	k := h.partAt(t, 0)
	_, _ = k.RoleDelta(h.parts[2][0], t0)
	_, _ = k.RoleTick(h.roleTick(2), t0)
	if k.ask.at.IsZero() {
		t.Fatal("plans no request")
	}
	if changed, err := k.RoleDelta(h.parts[1][0], t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 2)
	if !k.ask.at.IsZero() || len(k.part.later) != 0 {
		t.Error("asks for what it has")
	}
	for range 2 * maxLater {
		d := *h.parts[2][0]
		d.Generation += 100
		d.Digest = "0"
		_, _ = k.RoleDelta(&d, t0)
	}
	if len(k.part.later) != maxLater {
		t.Errorf("keeps %d deltas", len(k.part.later))
	}
}

// What a manager told last, and no tick of its confirmed, is taken back by the next one.
func TestAChangeThatNoTickNamedIsTakenBack(t *testing.T) {
	h := newRolesHistory("sip_proxy", "sip_proxy")
	k := h.partAt(t, 0)
	_, _ = k.RoleDelta(h.parts[1][0], t0)
	h.add(h.statuses[0], func(n *subjects.Status) { n.Epoch, n.Generation, n.Manager = 2, 50, "m2" })
	if changed, err := k.RoleTick(h.roleTick(2), t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 2)
	for i, role := range []subjects.Role{"thor_database", "sip_proxy"} { // first one whose own change was not taken back
		h.add(h.statuses[i+2], func(n *subjects.Status) { n.Generation++; n.Put(role, testMember("n9")) })
		_, _ = k.RoleDelta(h.parts[i+3][0], t0)
		if changed, _ := k.RoleTick(h.roleTick(i+3), t0); !changed {
			t.Errorf("the next delta of %s does not start at the part", role)
		}
		h.mustShow(t, k, i+3)
	}
	if _, err := k.RoleDelta(h.parts[1][0], t0); subjects.CodeOf(err) != subjects.CodeReplay {
		t.Errorf("a delta of the term before: %v", err)
	}
	far := *h.parts[4][0]
	far.Epoch = 5_000_000
	if _, err := k.RoleDelta(&far, t0); subjects.CodeOf(err) != subjects.CodeAbsurd {
		t.Errorf("an absurd mark: %v", err)
	}
}

// A part that its lookup table belies is asked for, whatever the ticks name meanwhile.
func TestADoubtedPartIsAskedForAlthoughTheTicksNameIt(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay")
	k := h.partAt(t, 0)
	k.Doubt(t0)
	if changed, err := k.RoleTick(h.roleTick(1), t0); !changed || err != nil || k.ask.at.IsZero() {
		t.Fatalf("%v %v, asks at %v", changed, err, k.ask.at)
	}
	if req, _ := k.Advance(k.ask.at); req == nil {
		t.Fatal("no request")
	}
	s, full := h.part(1)
	if _, err := k.Snapshot(s, full, 0, t0); err != nil || !k.ask.at.IsZero() || k.Asking(t0) {
		t.Errorf("%v, asks on after the answer", err)
	}
}

// A manager of an earlier version names no roles: the whole is followed, and the part
// of it shown. The next one that names them ends that without a request.
func TestWithoutRoleDigestsTheWholeIsFollowed(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay", "sip_proxy", "media_relay", "thor_database", "sip_proxy")
	k := h.partAt(t, 0)
	if k.Wide() {
		t.Error("follows all at first")
	}
	if changed, err := k.Tick(h.tick(0), t0); changed || err != nil {
		t.Fatal(changed, err)
	}
	if !k.Wide() || k.ask.at.IsZero() {
		t.Fatal("the whole is not wanted")
	}
	h.mustShow(t, k, 0)
	req, _ := k.Advance(k.ask.at)
	if req == nil || req.Roles != nil {
		t.Fatalf("asked %+v", req)
	}
	// The answer to an earlier request, limited to the roles, is not the whole.
	s, full := h.part(0)
	if changed, err := k.Snapshot(s, full, 0, t0); changed || err != nil || k.ask.at.IsZero() {
		t.Fatalf("a part is taken for the whole: %v %v", changed, err)
	}
	k.Advance(k.ask.at)
	if changed, err := k.Snapshot(h.statuses[0], h.full(0), 0, t0); !changed || err != nil || !k.ask.at.IsZero() {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 0)
	for i := 1; i < 4; i++ {
		for _, d := range h.parts[i] { // none come, and they would change nothing
			if changed, err := k.RoleDelta(d, t0); changed || err != nil {
				t.Error(changed, err)
			}
		}
		if changed, err := k.Delta(h.deltas[i], t0); !changed || err != nil {
			t.Fatal(changed, err)
		}
		h.mustShow(t, k, i)
		if _, err := k.Tick(h.tick(i), t0); err != nil || !k.ask.at.IsZero() || !k.Names(h.tick(i)) {
			t.Fatal(err, k.ask)
		}
	}
	before, _, content := k.Shown()
	if again, _, _ := k.Shown(); again != before {
		t.Error("the part is made twice")
	}
	if changed, err := k.RoleTick(h.roleTick(3), t0); err != nil || k.Wide() || !k.ask.at.IsZero() {
		t.Fatal(changed, err, k.ask)
	}
	h.mustShow(t, k, 3)
	if _, _, now := k.Shown(); now != content {
		t.Error("the content has another name")
	}
	if changed, _ := k.Delta(h.deltas[4], t0); changed { // it was on its way
		t.Error("a delta of the whole changes the part")
	}
	for _, d := range h.parts[4] {
		_, _ = k.RoleDelta(d, t0)
	}
	if changed, err := k.RoleTick(h.roleTick(4), t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 4)
}

// The usual tick is listened for while the roles' own does not come, and says nothing
// then unless it is of a manager that sends no other.
func TestTheUsualTickIsHeardWhileTheRolesTickIsSilent(t *testing.T) {
	h := newRolesHistory("sip_proxy", "sip_proxy")
	k := h.partAt(t, 0)
	if !k.WantsTicks() || k.Wide() {
		t.Error("at first it does not listen for both")
	}
	if _, err := k.RoleTick(h.roleTick(0), t0); err != nil || k.WantsTicks() {
		t.Fatalf("after a tick of the roles it wants the usual one (%v)", err)
	}
	if changed, err := k.Tick(h.tick(1), t0); changed || err != nil || k.Wide() || !k.ask.at.IsZero() {
		t.Fatal("a usual tick on its way counts")
	}
	if at := k.Next(); !at.Equal(t0.Add(rolesSilent)) {
		t.Errorf("looks again at %v", at)
	}
	k.Same(t0.Add(time.Second))
	if k.Advance(t0.Add(rolesSilent)); k.WantsTicks() {
		t.Error("a tick of the same was not heard")
	}
	if k.Advance(t0.Add(time.Second + rolesSilent)); !k.WantsTicks() || k.Wide() {
		t.Error("silence is not noticed")
	}
	if changed, err := k.Tick(h.tick(0), t0); changed || err != nil || k.Wide() {
		t.Error("a tick of the same term ends it")
	}
	h.add(h.statuses[1], func(n *subjects.Status) { n.Epoch, n.Generation, n.Manager = 2, 9, "m2" })
	if _, err := k.Tick(h.tick(2), t0); err != nil || !k.Wide() {
		t.Errorf("the tick of another term does not: %v", err)
	}
}

func TestABrokerThatRefusesRolesHasTheWholeFollowed(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay")
	k := h.partAt(t, 0)
	k.RolesRefused(t0)
	k.RolesRefused(t0)
	if req, _ := k.Advance(k.ask.at); !k.Wide() || req == nil || req.Roles != nil {
		t.Fatalf("asked %+v", req)
	}
	if changed, err := k.RoleTick(h.roleTick(0), t0); changed || err != nil || !k.Wide() || !k.WantsTicks() {
		t.Fatal("a tick that names roles ends it")
	}
	if _, err := k.Tick(h.tick(0), t0); err != nil || !k.Wide() {
		t.Fatal("the usual tick ends it", err)
	}
	if changed, _ := k.Snapshot(h.statuses[0], h.full(0), 0, t0); !changed {
		t.Fatal("the whole is not taken")
	}
	h.mustShow(t, k, 0)
	k.Online(t0) // another broker
	if k.Wide() {
		t.Error("follows all through the next broker")
	}
	h.mustShow(t, k, 0)
	if changed, err := k.RoleTick(h.roleTick(1), t0); !changed || err != nil || !k.ask.at.IsZero() {
		t.Fatal(changed, err, k.ask)
	}
	h.mustShow(t, k, 1)
}

func TestAnAnswerWithOtherRolesIsNotTaken(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay")
	k := NewPart(30*time.Second, half, followed)
	k.Online(t0)
	k.Advance(t0.Add(time.Second))
	other := h.statuses[0].Part([]subjects.Role{"sip_proxy"})
	if changed, err := k.Snapshot(other, other.Encode(), 0, t0); changed || err != nil || k.Status != nil || k.ask.at.IsZero() {
		t.Fatalf("%v %v, holds %v, asks at %v", changed, err, k.Status, k.ask.at)
	}
	wider := h.statuses[1].Part(append([]subjects.Role{"media_relay"}, followed...))
	if changed, err := k.Snapshot(wider, wider.EncodeFull(wider.Encode()), 0, t0); !changed || err != nil {
		t.Fatal(changed, err)
	}
	h.mustShow(t, k, 1)
	all := newTracker()
	all.Online(t0)
	all.Advance(t0.Add(time.Second))
	if changed, _ := all.Snapshot(other, other.Encode(), 0, t0); changed || all.Status != nil {
		t.Error("a tracker of all takes a part")
	}
	if all.Restore(other, other.Encode(), t0) || k.Restore(other, other.Encode(), t0) {
		t.Error("a part of other roles is restored")
	}
}

func TestAPartIsRestoredAndConfirmed(t *testing.T) {
	h := newRolesHistory("sip_proxy", "media_relay", "thor_database")
	for name, full := range map[string][]byte{"a part": h.partAt(t, 1).Full(), "the whole": h.full(1)} {
		s, err := subjects.ParseStatus(full)
		if err != nil {
			t.Fatal(err)
		}
		k := NewPart(30*time.Second, half, followed)
		if !k.Restore(s, full, t0) || !k.Stale || !k.FromDisk {
			t.Fatalf("%s: not restored, or not marked", name)
		}
		h.mustShow(t, k, 1)
		k.Online(t0)
		if changed, err := k.RoleTick(h.roleTick(1), t0); !changed || err != nil || k.Stale || k.FromDisk || !k.ask.at.IsZero() {
			t.Errorf("%s: %v %v %v %v", name, changed, err, k.Stale, k.ask)
		}
		if _, changed := k.Advance(t0.Add(30 * time.Second)); !changed || !k.Stale {
			t.Errorf("%s: not stale without ticks", name)
		}
		h.mustShow(t, k, 1)
	}
}

// Managers of both versions lead in turn and answer, brokers of both are used, and
// messages are lost, late and doubled: the part shown is at each moment that of a
// status that was published, its mark never goes back, and once messages arrive again
// it is the newest one, without asking any more.
func TestAPartConvergesWhateverIsLost(t *testing.T) {
	requests, wide := 0, 0
	for seed := range uint64(60) {
		w := newPartWorld(t, seed)
		w.run(200)
		requests, wide = requests+w.requests, wide+w.wide
	}
	t.Logf("%d requests, %d steps with the whole", requests, wide)
	if requests < 1000 || wide < 10_000 {
		t.Error("the world is too quiet")
	}
}

type partWorld struct {
	t    *testing.T
	rng  *rand.Rand
	now  time.Time
	k    *Tracker
	h    *rolesHistory
	old  bool // the manager that leads is of the version before
	late []func()

	seed     uint64
	asked    *subjects.SnapshotRequest
	shown    subjects.Mark
	requests int
	wide     int
}

func newPartWorld(t *testing.T, seed uint64) *partWorld {
	w := &partWorld{t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 1)), now: t0, h: newRolesHistory("sip_proxy")}
	w.k = NewPart(30*time.Second, func(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(max(d, 1)))) }, followed)
	w.k.Online(w.now)
	return w
}

// hear delivers a message: at once, later, twice or never.
func (w *partWorld) hear(lossy bool, deliver func()) {
	switch n := w.rng.IntN(10); {
	case !lossy || n < 6:
		deliver()
	case n == 6:
		w.late = append(w.late, deliver)
	case n == 7:
		deliver()
		w.late = append(w.late, deliver)
	}
	w.check()
}

func (w *partWorld) run(generations int) {
	for i := range generations {
		w.step(true, func(n *subjects.Status) {
			n.Generation++
			if i%23 == 22 {
				n.Epoch++
				n.Manager = subjects.NodeID(fmt.Sprintf("m%d", n.Epoch%3+1))
				w.old = w.rng.IntN(2) == 0
			}
			switch role := []subjects.Role{"sip_proxy", "thor_database", "media_relay"}[w.rng.IntN(3)]; w.rng.IntN(3) {
			case 0:
				n.Put(role, testMember(fmt.Sprintf("n%d", w.rng.IntN(5))))
			case 1:
				n.Remove(role, subjects.NodeID(fmt.Sprintf("n%d", w.rng.IntN(5))))
			}
		})
		if w.rng.IntN(40) == 0 {
			w.k.Online(w.now)
			w.asked = nil
			if w.rng.IntN(3) == 0 {
				w.k.RolesRefused(w.now)
			}
		}
	}
	w.late = nil
	for range 45 { // a manager that is behind may answer several requests in a row
		w.step(false, nil)
	}
	newest := len(w.h.statuses) - 1
	if w.k.Stale || w.k.Mark() != w.h.statuses[newest].Mark() || w.k.Missing() || w.k.Asking(w.now) {
		w.t.Fatalf("seed %d: ends at %v, wants %v %s, holds %s, %+v", w.seed, w.k.Mark(), w.k.want, w.k.wantIs, w.k.Digest, w.k.ask)
	}
}

// step is a second, with a change if there is one.
func (w *partWorld) step(lossy bool, edit func(*subjects.Status)) {
	h, k := w.h, w.k
	if edit != nil {
		h.add(h.statuses[len(h.statuses)-1], edit)
		i := len(h.statuses) - 1
		if k.Wide() { // what it has subscribed to
			w.hear(lossy, func() { _, _ = k.Delta(h.deltas[i], w.now) })
		} else if !w.old {
			for _, d := range h.parts[i] {
				w.hear(lossy, func() { _, _ = k.RoleDelta(d, w.now) })
			}
		}
	}
	i := len(h.statuses) - 1
	if !w.old {
		w.hear(lossy, func() { _, _ = k.RoleTick(h.roleTick(i), w.now) })
	}
	if k.WantsTicks() {
		w.hear(lossy, func() { _, _ = k.Tick(h.tick(i), w.now) })
	}
	for range 20 {
		w.now = w.now.Add(50 * time.Millisecond)
		if w.rng.IntN(4) == 0 && len(w.late) > 0 {
			deliver := w.late[0]
			w.late = w.late[1:]
			deliver()
			w.check()
		}
		req, _ := k.Advance(w.now)
		if req != nil {
			w.requests++
			w.hear(lossy, func() { w.answer(req) })
		}
		if k.Wide() {
			w.wide++
		}
	}
}

// answer is that of a manager of either version, which may be a little behind.
func (w *partWorld) answer(r *subjects.SnapshotRequest) {
	i := max(0, len(w.h.statuses)-1-w.rng.IntN(2))
	s, full := w.h.statuses[i], w.h.full(i)
	switch {
	case !w.k.Asking(w.now):
		return
	case r.AtLeast != nil && r.AtLeast.After(s.Mark()):
		w.k.Failed(w.now)
		return
	case r.Roles != nil && w.rng.IntN(2) == 0:
		s = s.Part(r.Roles)
		full = s.EncodeFull(s.Encode())
	}
	if _, err := w.k.Snapshot(s, full, time.Duration(w.rng.IntN(2))*subjects.MaxAge, w.now); err != nil {
		w.t.Fatalf("seed %d: %v", w.seed, err)
	}
}

func (w *partWorld) check() {
	w.t.Helper()
	s, encoded, _ := w.k.Shown()
	if s == nil {
		return
	}
	if w.shown.After(s.Mark()) {
		w.t.Fatalf("seed %d: goes back from %v to %v", w.seed, w.shown, s.Mark())
	}
	w.shown = s.Mark()
	i := slices.IndexFunc(w.h.statuses, func(x *subjects.Status) bool { return x.Mark() == s.Mark() })
	if i < 0 {
		w.t.Fatalf("seed %d: shows %v, which was never published", w.seed, s.Mark())
	}
	if want, full := w.h.part(i); string(encoded) != string(want.Encode()) || string(w.k.Full()) != string(full) {
		w.t.Fatalf("seed %d: shows\n%s\npublished was\n%s", w.seed, w.k.Full(), full)
	}
}
