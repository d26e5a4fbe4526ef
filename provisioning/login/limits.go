package login

import (
	"net/netip"
	"sync"
	"time"

	"thor/provisioning/origin"
)

// Wrong passwords that are compared: from one host for one user, from one host for
// all, since one web server may log in many customers, and from one site.
const (
	userTries, userEvery = 10, 6 * time.Second
	hostTries, hostEvery = 100, time.Second
	siteTries, siteEvery = 300, time.Second / 3
	maxDoublings         = 5                // each time a bucket gets full, the next tries count double…
	resetAfter           = 15 * time.Minute // …until it has been empty for so long
	maxBuckets           = 30_000           // that are kept apart
)

// limits bounds wrong passwords by leaky buckets. Its methods take the time,
// so that they are pure but for the map.
type limits struct {
	mu      sync.Mutex
	buckets map[bucketKey]bucket
}

type bucket struct {
	until time.Time // when it has leaked empty
	full  int       // how often it got full
}

type bucketKey struct {
	from netip.Prefix
	user string // empty: all
}

// allowUser reports whether another try for user may be made from there.
func (l *limits) allowUser(from netip.Addr, user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(bucketKey{origin.Host(from), user}, userTries*userEvery, now)
}

// allowSource reports whether another try may be made from there, for any user.
func (l *limits) allowSource(from netip.Addr, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(bucketKey{origin.Host(from), ""}, hostTries*hostEvery, now) && l.room(bucketKey{origin.Site(from), ""}, siteTries*siteEvery, now)
}

func (l *limits) room(k bucketKey, size time.Duration, now time.Time) bool {
	return l.buckets[k].until.Sub(now) < size
}

// noteUser counts a try for user that was refused unseen.
func (l *limits) noteUser(from netip.Addr, user string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeRoom(now)
	l.fill(bucketKey{origin.Host(from), user}, userTries, userEvery, now)
}

// note counts a wrong password.
func (l *limits) note(from netip.Addr, user string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeRoom(now)
	l.fill(bucketKey{origin.Host(from), user}, userTries, userEvery, now)
	l.fill(bucketKey{origin.Host(from), ""}, hostTries, hostEvery, now)
	l.fill(bucketKey{origin.Site(from), ""}, siteTries, siteEvery, now)
}

func (l *limits) fill(k bucketKey, tries int, every time.Duration, now time.Time) {
	b := l.buckets[k]
	if now.Sub(b.until) >= resetAfter {
		b.full = 0
	}
	if b.until.Before(now) {
		b.until = now
	}
	b.until = b.until.Add(every << b.full)
	if size := time.Duration(tries) * every; b.until.Sub(now) >= size && b.full < maxDoublings {
		b.full++
	}
	l.buckets[k] = b
}

// makeRoom drops buckets that have been empty for long; of too many, those of
// users, and then all.
func (l *limits) makeRoom(now time.Time) {
	if l.buckets != nil && len(l.buckets) < maxBuckets {
		return
	}
	out := make(map[bucketKey]bucket)
	for k, b := range l.buckets {
		if now.Sub(b.until) < resetAfter && (k.user == "" || b.until.After(now) && len(l.buckets) < maxBuckets) {
			out[k] = b
		}
	}
	if len(out) >= maxBuckets {
		clear(out)
	}
	l.buckets = out
}
