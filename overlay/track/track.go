// Package track decides which ticks, deltas and snapshots an observer of the
// status accepts, and when it requests the snapshot. It is pure: time and
// randomness come from the caller, messages are values. Package overlay is its
// shell.
//
// The invariant: the mark of the status that a [Tracker] holds never goes back, and
// what it holds is what some manager published: the whole status, or (NewPart) all
// that it says of the followed roles under the mark of a tick or an answer.
// Confirmed is when a manager last knew that this status is the current one.
package track

import (
	"fmt"
	"time"

	"thor/subjects"
)

// How a missed change is repaired. The waits spread the requests of all members
// that missed the same change.
const (
	deltaWait    = 150 * time.Millisecond // a tick that is newer waits so long for its delta
	spread       = 250 * time.Millisecond // requests are spread over this, or…
	spreadEach   = time.Millisecond       // …over this for each member of the network, whatever is more…
	spreadMost   = 10 * time.Second       // …but not over more
	spreadFirst  = 50 * time.Millisecond  // the first request of a process, which knows nothing
	retryFirst   = 250 * time.Millisecond
	retryMax     = 5 * time.Second
	patientTries = 3  // after so many failures any snapshot will do, not only the one heard of
	maxWidening  = 2  // a request without an answer doubles the window, so often at most
	maxLater     = 32 // deltas kept until the snapshot before them is here
)

// A mark that does not follow the one held is accepted all the same when nothing
// else was confirmed for staleAfter and ticks have told of it steadily: the
// observer was away while the network went on in large steps.
const (
	steadyFor = 10 * time.Second
	steadyGap = 4 * time.Second // between two ticks
)

// A Tracker holds the status. Make it with New; it is not safe for concurrent use.
type Tracker struct {
	staleAfter time.Duration
	chance     func(time.Duration) time.Duration // uniform in [0, d)

	State
	connected bool

	want    subjects.Mark // the newest mark announced, if newer than the one held
	wantIs  string        // its digest, "" if unknown
	wantAt  time.Time     // when a tick or a delta told so
	serving int           // members that serve, by the newest tick or the status
	steady  steady        // ticks that do not follow
	doubts  bool          // the status held may not be the manager's although the digests agree
	behind  bool          // its losses or sites are not those that ticks tell of
	sites   string        // digest of the sites that the newest tick of the status held tells of
	later   []*subjects.Delta
	ask     ask
	part    *part // nil: the whole status is followed
	floor   floor
}

// A floor is what an earlier run of this process showed last. A standby may answer with what
// was current a few seconds ago, which is before that.
type floor struct {
	mark  subjects.Mark
	until time.Time
}

// A State is what a Tracker holds.
type State struct {
	Status    *subjects.Status // nil: none yet
	Encoded   []byte
	Digest    string
	Losses    string // digest of the losses of Status, "" if they are not known
	Sites     string // its SitesDigest
	Received  time.Time
	Confirmed time.Time // when the status was last known to be current; zero: never
	Stale     bool      // not confirmed for so long, or never
	FromDisk  bool      // of an earlier run, and not confirmed since
}

// New makes a tracker that holds nothing. Its status is stale when it was not
// confirmed for staleAfter. chance draws from [0, d), uniformly.
func New(staleAfter time.Duration, chance func(time.Duration) time.Duration) *Tracker {
	return &Tracker{staleAfter: staleAfter, chance: chance, State: State{Stale: true}}
}

// steady is what ticks tell steadily of a mark that does not follow the one held.
type steady struct {
	epoch       uint64
	since, last time.Time
	base        subjects.Mark // accepted: what follows this one follows too
}

// ask is the one request for a snapshot, planned or under way.
type ask struct {
	at    time.Time // when to send it; zero: none is planned
	until time.Time // when to give up waiting for an answer; zero: none is under way
	tries int       // that failed since the last success
	slow  int       // of these, for want of an answer
}

// Mark is the mark of the status, zero when there is none.
func (t *Tracker) Mark() subjects.Mark {
	if t.Status == nil {
		return subjects.Mark{}
	}
	return t.Status.Mark()
}

// manyMembers is the size of a network whose members do things less often, so
// that together they do not do them more often.
const manyMembers = 200

// Many reports whether the network is big.
func (t *Tracker) Many() bool { return t.serving > manyMembers }

// Restore starts from a status of an earlier run, unless that followed other roles.
func (t *Tracker) Restore(s *subjects.Status, encoded []byte, saved time.Time) (ok bool) {
	s, encoded, losses := split(s, encoded)
	if s, encoded, ok = t.cut(s, encoded); !ok {
		return false
	}
	t.hold(s, encoded, t.digest(s, encoded), losses, saved)
	t.FromDisk, t.Stale = true, true
	return true
}

// Floor has the tracker go on asking until a time when an answer is older than m.
func (t *Tracker) Floor(m subjects.Mark, until time.Time) { t.floor = floor{m, until} }

// follows refuses claims that no history of this network can have led to. One
// such mark, once accepted, would make every true status look old for ever.
func (t *Tracker) follows(m subjects.Mark) error {
	err := m.Follows(t.Mark())
	if err != nil && t.steady.base.After(t.Mark()) {
		return m.Follows(t.steady.base)
	}
	return err
}

// noteFar takes note of a tick that does not follow.
func (t *Tracker) noteFar(m subjects.Mark, now time.Time) {
	s := &t.steady
	if !t.Stale || m.Epoch != s.epoch || now.Sub(s.last) > steadyGap || !m.Sane() {
		*s = steady{epoch: m.Epoch, since: now}
	}
	s.last = now
	if t.Stale && now.Sub(s.since) >= steadyFor {
		s.base = m
	}
}

func (t *Tracker) replay(m subjects.Mark) error {
	have := t.Mark()
	return &subjects.BadMessage{Code: subjects.CodeReplay, Detail: fmt.Sprintf(
		"epoch %d generation %d, held is %d %d", m.Epoch, m.Generation, have.Epoch, have.Generation)}
}

// precedes is why a tick of m is not taken: the status held is newer, or m does not follow.
func (t *Tracker) precedes(m subjects.Mark, now time.Time) error {
	if err := m.Follows(t.Mark()); err == nil {
		t.steady = steady{}
	} else if t.noteFar(m, now); t.follows(m) != nil {
		return err
	}
	if t.Mark().After(m) {
		return t.replay(m)
	}
	return nil
}

// Tick handles the manager's regular message on which status is current. changed
// reports whether the view differs now.
func (t *Tracker) Tick(k *subjects.Tick, now time.Time) (changed bool, err error) {
	m := k.Mark()
	if err := t.precedes(m, now); err != nil {
		return false, err
	}
	if t.part != nil && t.ignores(k) {
		return false, nil
	}
	if t.Status != nil && m == t.Mark() && k.Digest == t.Digest {
		changed = t.noteLosses(k.LossesDigest)
		changed = t.noteSites(k.SitesDigest) || changed
		return t.same(now) || changed, nil
	}
	t.serving = 0
	for _, c := range k.Counts {
		t.serving += c
	}
	t.want, t.wantIs, t.wantAt = m, k.Digest, now // also when lower than before: the manager that ticks knows
	t.repair(now, deltaWait)
	return false, nil
}

// Same is Tick for one that names the status held, with its losses.
func (t *Tracker) Same(now time.Time) (changed bool) {
	t.behind = false
	if t.limited() {
		t.part.heard, t.part.silent = now, false
	}
	return t.same(now)
}

func (t *Tracker) same(now time.Time) (changed bool) {
	switch {
	case t.behind:
		t.repair(now, deltaWait)
	case !t.doubts:
		t.settle()
	}
	return t.confirm(now, now)
}

// Delta handles one change. A delta that does not start at the status held waits
// for the snapshot before it.
func (t *Tracker) Delta(d *subjects.Delta, now time.Time) (changed bool, err error) {
	if t.limited() {
		return false, nil // heard still, or early
	}
	m := d.Mark()
	if err := t.follows(m); err != nil {
		return false, err
	}
	if t.Status != nil && !m.After(t.Mark()) {
		if m.Epoch < t.Status.Epoch {
			return false, t.replay(m)
		}
		return false, nil // the snapshot that we fetched had it already
	}
	if !t.apply(d, now) {
		if len(t.later) == maxLater {
			t.later = append(t.later[:0], t.later[1:]...)
		}
		t.later = append(t.later, d)
		t.claim(m, d.Digest, now)
		t.repair(now, 0)
		return false, nil
	}
	t.catchUp(now)
	t.confirm(now, now)
	return true, nil
}

// Snapshot handles an answer to a request: s, as it was encoded. age is how long
// ago the answerer knew that s is the current status, negative if it did not
// say. An old one is better than none, but proves nothing: the tracker goes on
// asking.
func (t *Tracker) Snapshot(s *subjects.Status, encoded []byte, age time.Duration, now time.Time) (changed bool, err error) {
	t.ask.until, t.doubts = time.Time{}, false
	s, encoded, losses := split(s, encoded)
	s, encoded, ok := t.cut(s, encoded)
	if !ok {
		t.retry(now)
		return false, nil
	}
	m, digest := s.Mark(), t.digest(s, encoded)
	if err = t.follows(m); err != nil {
		t.retry(now)
		return false, err
	}
	if t.floor.mark.After(m) && now.Before(t.floor.until) {
		t.retry(now)
		return false, nil
	}
	known := now.Add(-age)
	proof := age >= 0 && age <= subjects.MaxAge
	if m == t.want && digest == t.wantIs && now.Sub(t.wantAt) <= subjects.MaxAge && (!proof || t.wantAt.After(known)) {
		known, proof = t.wantAt, true
	}
	same := t.Status != nil && m == t.Mark() && digest == t.Digest
	if !same && (m.After(t.Mark()) || t.Status == nil || m == t.Mark() && m == t.want && digest == t.wantIs) {
		t.hold(s, encoded, digest, losses, now)
		t.FromDisk = false
		changed, same = true, true
	} else if same {
		changed = t.takeSites(s) // first: the losses taken then are kept
		changed = t.takeLosses(s, losses) || changed
	}
	if same && proof {
		changed = t.confirm(known, now) || changed
	}
	changed = t.catchUp(now) || changed
	if t.Missing() || t.Confirmed.IsZero() && !proof {
		t.retry(now)
	}
	return changed, nil
}

func (t *Tracker) hold(s *subjects.Status, encoded []byte, digest, losses string, now time.Time) {
	t.Status, t.Encoded, t.Losses = s, encoded, losses
	t.Digest, t.Received, t.Sites = digest, now, s.SitesDigest()
	t.steady = steady{}
	if t.limited() {
		t.part.begin(s)
		return
	}
	t.serving = 0
	for _, ms := range s.Roles {
		t.serving += len(ms)
	}
}

// confirm notes that the status held was the current one at a time until now.
func (t *Tracker) confirm(at, now time.Time) (changed bool) {
	if at.After(t.Confirmed) {
		t.Confirmed = at
	}
	stale := !now.Before(t.Confirmed.Add(t.staleAfter))
	changed = t.Stale != stale || t.FromDisk
	t.Stale, t.FromDisk = stale, false
	return changed
}

// claim notes that a delta leads to m.
func (t *Tracker) claim(m subjects.Mark, digest string, now time.Time) {
	if !t.want.After(m) {
		t.want, t.wantIs, t.wantAt = m, digest, now
	}
}

func (t *Tracker) apply(d *subjects.Delta, now time.Time) bool {
	if t.Status == nil {
		return false
	}
	s, encoded, ok := t.Status.ApplyEncoded(t.Encoded, d)
	if ok {
		losses := t.Losses
		if d.Lost != nil || d.Held != nil {
			losses = s.LossesDigest()
		}
		t.hold(s, encoded, d.Digest, losses, now)
	}
	return ok
}

// catchUp applies the deltas that came too early, as far as they fit now.
func (t *Tracker) catchUp(now time.Time) (changed bool) {
	if t.limited() {
		changed = t.catchUpRoles(now)
	}
	for again := true; again; {
		again = false
		keep := t.later[:0]
		for _, d := range t.later {
			switch {
			case t.Status == nil:
				keep = append(keep, d)
			case !d.Mark().After(t.Mark()):
			case t.apply(d, now):
				again, changed = true, true
			default:
				keep = append(keep, d)
			}
		}
		clear(t.later[len(keep):])
		t.later = keep
	}
	if !t.Missing() && !t.doubts && !t.behind {
		t.settle()
	}
	return changed
}

// Missing reports whether another status is announced than the one held.
func (t *Tracker) Missing() bool {
	have := t.Mark()
	return t.Status == nil || t.want.After(have) || t.want == have && t.wantIs != t.Digest
}

// settle ends repairs: the status held is the current one.
func (t *Tracker) settle() {
	t.want, t.wantIs = t.Mark(), t.Digest
	t.ask = ask{}
	t.later = nil
	if t.part != nil {
		t.part.later = nil
	}
}
