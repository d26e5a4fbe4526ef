package track

import "time"

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
