package overlay

import (
	"fmt"
	"time"

	"thor/subjects"
)

// How a missed change is repaired. The waits spread the requests of all members
// that missed the same change.
const (
	deltaWait     = 150 * time.Millisecond // a tick that is newer waits so long for its delta
	spread        = 250 * time.Millisecond // requests are spread over this…
	spreadMany    = 2 * time.Second        // …or this, when the network has more than manyMembers
	spreadFirst   = 50 * time.Millisecond  // the first request of a process, which knows nothing
	manyMembers   = 200
	answerWithin  = 3 * time.Second // the next part of a snapshot
	retryFirst    = 250 * time.Millisecond
	retryMax      = 5 * time.Second
	patientTries  = 3  // after so many failures any snapshot will do, not only the one heard of
	maxLater      = 32 // deltas kept until the snapshot before them is here
	maxEpochJump  = 1_000_000
	maxNumberJump = 1 << 40 // generations; a thousand years at thirty a second
)

// A tracker holds the status and decides which ticks, deltas and snapshots to
// accept, and when to request the snapshot. It is pure: time and randomness come
// from the caller. The mark of its status never goes back.
type tracker struct {
	staleAfter time.Duration
	chance     func(time.Duration) time.Duration // uniform in [0, d)

	status    *subjects.Status
	encoded   []byte
	digest    string
	received  time.Time
	confirmed time.Time // when the status was last known to be current; zero: never
	stale     bool
	fromDisk  bool
	connected bool

	want   subjects.Mark // the newest mark announced, if newer than the one held
	wantIs string        // its digest, "" if unknown
	many   bool          // the network is big
	doubts bool          // the status held may not be the manager's although the digests agree
	later  []*subjects.Delta
	ask    ask
}

// ask is the one request for a snapshot, planned or under way.
type ask struct {
	at    time.Time // when to send it; zero: none is planned
	until time.Time // when to give up waiting for an answer; zero: none is under way
	tries int       // that failed since the last success
}

func (t *tracker) mark() subjects.Mark {
	if t.status == nil {
		return subjects.Mark{}
	}
	return t.status.Mark()
}

// restore starts from a status of an earlier run.
func (t *tracker) restore(s *subjects.Status, encoded []byte, saved time.Time) {
	t.hold(s, encoded, subjects.Digest(encoded), saved)
	t.fromDisk, t.stale = true, true
}

// plausible refuses claims that no history of this network can have led to. One
// such mark, once accepted, would make every true status look old for ever.
func (t *tracker) plausible(m subjects.Mark) error {
	have := t.mark()
	if !m.Sane() || m.Epoch > have.Epoch+maxEpochJump || m.Generation > have.Generation+maxNumberJump {
		return &subjects.BadMessage{Code: subjects.CodeAbsurd, Detail: fmt.Sprintf(
			"epoch %d generation %d, far above %d %d", m.Epoch, m.Generation, have.Epoch, have.Generation)}
	}
	return nil
}

func (t *tracker) replay(m subjects.Mark) error {
	have := t.mark()
	return &subjects.BadMessage{Code: subjects.CodeReplay, Detail: fmt.Sprintf(
		"epoch %d generation %d, held is %d %d", m.Epoch, m.Generation, have.Epoch, have.Generation)}
}

// tick handles the manager's regular message on which status is current. changed
// reports whether the view differs now.
func (t *tracker) tick(k *subjects.Tick, now time.Time) (changed bool, err error) {
	m := k.Mark()
	if err := t.plausible(m); err != nil {
		return false, err
	}
	if t.mark().After(m) {
		return false, t.replay(m)
	}
	if t.status != nil && m == t.mark() && k.Digest == t.digest {
		return t.same(now), nil
	}
	serving := 0
	for _, c := range k.Counts {
		serving += c
	}
	t.many = t.many || serving > manyMembers
	t.want, t.wantIs = m, k.Digest // also when lower than before: the manager that ticks knows
	t.repair(now, deltaWait)
	return false, nil
}

// same is tick for one that names the status held.
func (t *tracker) same(now time.Time) (changed bool) {
	if !t.doubts {
		t.settle()
	}
	return t.confirm(now)
}

// delta handles one change. A delta that does not start at the status held waits
// for the snapshot before it.
func (t *tracker) delta(d *subjects.Delta, now time.Time) (changed bool, err error) {
	m := d.Mark()
	if err := t.plausible(m); err != nil {
		return false, err
	}
	if t.status != nil && !m.After(t.mark()) {
		if m.Epoch < t.status.Epoch {
			return false, t.replay(m)
		}
		return false, nil // the snapshot that we fetched had it already
	}
	if !t.apply(d, now) {
		if len(t.later) == maxLater {
			t.later = append(t.later[:0], t.later[1:]...)
		}
		t.later = append(t.later, d)
		t.claim(m, d.Digest)
		t.repair(now, 0)
		return false, nil
	}
	t.catchUp(now)
	t.confirm(now)
	return true, nil
}

// snapshot handles an answer to a request: s, as it was encoded.
func (t *tracker) snapshot(s *subjects.Status, encoded []byte, now time.Time) (changed bool, err error) {
	t.ask.until, t.doubts = time.Time{}, false
	m, digest := s.Mark(), subjects.Digest(encoded)
	if err = t.plausible(m); err != nil {
		t.retry(now)
		return false, err
	}
	switch {
	case t.status != nil && m == t.mark() && digest == t.digest:
		changed = t.confirm(now)
	case m.After(t.mark()) || t.status == nil, m == t.mark() && m == t.want && digest == t.wantIs:
		t.hold(s, encoded, digest, now)
		t.confirm(now)
		changed = true
	}
	t.catchUp(now)
	if t.missing() {
		t.retry(now)
	}
	return changed, nil
}

// doubt plans a request although all digests agree, since what follows from the
// status does not.
func (t *tracker) doubt(now time.Time) {
	t.doubts = true
	t.repair(now, 0)
}

// failed notes that a request was refused or its answer unusable.
func (t *tracker) failed(now time.Time) {
	t.ask.until = time.Time{}
	t.retry(now)
}

// progress notes that a part of the answer arrived.
func (t *tracker) progress(now time.Time) { t.ask.until = now.Add(answerWithin) }

// online notes that there is a connection, perhaps a new one: requests on the old
// one are lost.
func (t *tracker) online(now time.Time) {
	t.offline()
	t.connected = true
	switch {
	case t.status == nil || t.confirmed.IsZero():
		t.ask.at = now.Add(t.chance(spreadFirst))
	case t.missing() || t.doubts:
		t.repair(now, 0)
	}
}

// offline notes that there is no connection.
func (t *tracker) offline() {
	t.connected = false
	t.ask = ask{}
}

// advance lets time pass. req, if any, is to be sent now.
func (t *tracker) advance(now time.Time) (req *subjects.SnapshotRequest, changed bool) {
	if !t.ask.until.IsZero() && !now.Before(t.ask.until) {
		t.failed(now)
	}
	if !t.ask.at.IsZero() && !now.Before(t.ask.at) {
		t.ask.at, t.ask.until = time.Time{}, now.Add(answerWithin)
		req = &subjects.SnapshotRequest{V: subjects.Version}
		if m := t.want; m.After(t.mark()) && t.ask.tries < patientTries {
			req.AtLeast = &m
		}
	}
	if !t.stale && !now.Before(t.confirmed.Add(t.staleAfter)) {
		t.stale, changed = true, true
	}
	return req, changed
}

// next is when advance has something to do; zero: not before something happens.
func (t *tracker) next() time.Time {
	at := earliest(t.ask.at, t.ask.until)
	if !t.stale {
		at = earliest(at, t.confirmed.Add(t.staleAfter))
	}
	return at
}

// earliest is the earlier of two times that are zero when they are never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (t *tracker) hold(s *subjects.Status, encoded []byte, digest string, now time.Time) {
	t.status, t.encoded = s, encoded
	t.digest, t.received = digest, now
	members := 0
	for _, ms := range s.Roles {
		members += len(ms)
	}
	t.many = members > manyMembers
}

func (t *tracker) confirm(now time.Time) (changed bool) {
	changed = t.stale || t.fromDisk
	t.confirmed = now
	t.stale, t.fromDisk = false, false
	return changed
}

// claim notes that a delta leads to m.
func (t *tracker) claim(m subjects.Mark, digest string) {
	if !t.want.After(m) {
		t.want, t.wantIs = m, digest
	}
}

func (t *tracker) apply(d *subjects.Delta, now time.Time) bool {
	if t.status == nil {
		return false
	}
	s, encoded, ok := t.status.Apply(d)
	if ok {
		t.hold(s, encoded, d.Digest, now)
	}
	return ok
}

// catchUp applies the deltas that came too early, as far as they fit now.
func (t *tracker) catchUp(now time.Time) {
	for again := true; again; {
		again = false
		keep := t.later[:0]
		for _, d := range t.later {
			switch {
			case t.status == nil:
				keep = append(keep, d)
			case !d.Mark().After(t.mark()):
			case t.apply(d, now):
				again = true
			default:
				keep = append(keep, d)
			}
		}
		clear(t.later[len(keep):])
		t.later = keep
	}
	if !t.missing() && !t.doubts {
		t.settle()
	}
}

// missing reports whether another status is announced than the one held.
func (t *tracker) missing() bool {
	have := t.mark()
	return t.status == nil || t.want.After(have) || t.want == have && t.wantIs != t.digest
}

// settle ends repairs: the status held is the current one.
func (t *tracker) settle() {
	t.want, t.wantIs = t.mark(), t.digest
	t.ask = ask{}
	t.later = nil
}

// repair plans a request, unless one is planned or under way. A message of a
// living manager calls for it: a process without a current status, which waits
// long because its requests were not answered, then waits no longer.
func (t *tracker) repair(now time.Time, wait time.Duration) {
	if !t.connected || !t.ask.until.IsZero() {
		return
	}
	late := (t.status == nil || t.fromDisk) && t.ask.at.After(now.Add(wait+t.window()))
	if t.ask.at.IsZero() || late {
		t.ask.at = now.Add(wait + t.chance(t.window()))
	}
}

// retry plans the next request after one that did not help.
func (t *tracker) retry(now time.Time) {
	if !t.connected {
		return
	}
	wait := min(retryFirst<<min(t.ask.tries, 10), retryMax)
	t.ask.tries++
	t.ask.at = now.Add(wait/2 + t.chance(wait/2+t.window()))
}

// window is the time over which requests are to be spread.
func (t *tracker) window() time.Duration {
	if t.many {
		return spreadMany
	}
	return spread
}
