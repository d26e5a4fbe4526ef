package track

import (
	"time"

	"thor/subjects"
)

// repair plans a request, unless one is planned or under way. A message of a
// living manager calls for it: a process without a current status, which waits
// long because its requests were not answered, then waits no longer.
func (t *Tracker) repair(now time.Time, wait time.Duration) {
	if !t.connected || !t.ask.until.IsZero() {
		return
	}
	late := (t.Status == nil || t.FromDisk) && t.ask.at.After(now.Add(wait+t.window()))
	if t.ask.at.IsZero() || late {
		t.ask.at = now.Add(wait + t.chance(t.window()))
	}
}

// retry plans the next request after one that did not help.
func (t *Tracker) retry(now time.Time) {
	if !t.connected {
		return
	}
	wait := min(retryFirst<<min(t.ask.tries, 10), retryMax)
	t.ask.tries++
	t.ask.at = now.Add(wait/2 + t.chance(wait/2+t.window()))
}

// window is the time over which requests are to be spread: answers cost the
// managers the more the larger the network, and requests without an answer say that
// they cannot keep up.
func (t *Tracker) window() time.Duration {
	w := max(spread, min(time.Duration(t.serving)*spreadEach, spreadMost))
	return min(w<<min(t.ask.slow, maxWidening), max(w, spreadMost))
}

// Doubt plans a request although all digests agree, since what follows from the
// status does not.
func (t *Tracker) Doubt(now time.Time) {
	t.doubts = true
	t.repair(now, 0)
}

// Failed notes that a request was refused or its answer unusable.
func (t *Tracker) Failed(now time.Time) {
	t.ask.until = time.Time{}
	t.retry(now)
}

// Progress notes that a part of the answer arrived.
func (t *Tracker) Progress(now time.Time) { t.ask.until = now.Add(subjects.SnapshotPatience) }

// Asking reports whether a request is under way. An answer that comes when it is not
// counts for nothing: it may have lain there while this process stood still, and its age
// is not known.
func (t *Tracker) Asking(now time.Time) bool { return now.Before(t.ask.until) }

// Online notes that there is a connection, perhaps a new one: requests on the old
// one are lost.
func (t *Tracker) Online(now time.Time) {
	t.Offline()
	t.connected = true
	if t.part != nil {
		t.part.refused, t.part.silent = false, true
		t.setWide()
	}
	switch {
	case t.Status == nil || t.Confirmed.IsZero():
		t.ask.at = now.Add(t.chance(spreadFirst))
	case t.Missing() || t.doubts || t.behind:
		t.repair(now, 0)
	}
}

// Offline notes that there is no connection.
func (t *Tracker) Offline() {
	t.connected = false
	t.ask = ask{}
}

// Advance lets time pass. req, if any, is to be sent now.
func (t *Tracker) Advance(now time.Time) (req *subjects.SnapshotRequest, changed bool) {
	if !t.ask.until.IsZero() && !now.Before(t.ask.until) {
		t.ask.slow++
		t.Failed(now)
	}
	if !t.ask.at.IsZero() && !now.Before(t.ask.at) {
		t.ask.at, t.ask.until = time.Time{}, now.Add(subjects.SnapshotPatience)
		req = &subjects.SnapshotRequest{V: subjects.Version, Losses: true, Sites: true}
		if m := t.want; m.After(t.Mark()) && t.ask.tries < patientTries {
			req.AtLeast = &m
		}
		if t.limited() {
			req.Roles = t.part.roles
		}
	}
	if t.limited() && !t.part.silent && !now.Before(t.part.heard.Add(rolesSilent)) {
		t.part.silent = true
	}
	if !t.Stale && !now.Before(t.Confirmed.Add(t.staleAfter)) {
		t.Stale, changed = true, true
	}
	return req, changed
}

// Next is when advance has something to do; zero: not before something happens.
func (t *Tracker) Next() time.Time {
	at := earliest(t.ask.at, t.ask.until)
	if t.limited() && !t.part.silent {
		at = earliest(at, t.part.heard.Add(rolesSilent))
	}
	if !t.Stale {
		at = earliest(at, t.Confirmed.Add(t.staleAfter))
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
