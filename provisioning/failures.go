package provisioning

import (
	"net/netip"
	"sync"
	"time"
)

// Wrong passwords that are let through: from one address for one user, from one
// address for all, since one web server may log in many customers, and from one
// site (/24, IPv6: /56).
const (
	userTries, userEvery = 10, 6 * time.Second
	addrTries, addrEvery = 100, time.Second
	siteTries, siteEvery = 300, time.Second / 3
	mostDoublings        = 5                // each time a bucket gets full, the next tries count double…
	calmAfter            = 15 * time.Minute // …until it has been empty for so long
	mostFailing          = 30_000           // that are kept apart
)

// failures limits wrong passwords by leaky buckets. Its methods take the time,
// so that they are pure but for the map.
type failures struct {
	mu      sync.Mutex
	buckets map[failing]bucket
}

type bucket struct {
	until time.Time // when it has leaked empty
	full  int       // how often it got full
}

type failing struct {
	from netip.Prefix
	user string // empty: all
}

// source is the network that one host may use as it likes.
func source(from netip.Addr) netip.Prefix {
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // an invalid address has the zero prefix
	return p
}

// allowUser reports whether another try for user may be made from there.
func (f *failures) allowUser(from netip.Addr, user string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.room(failing{source(from), user}, userTries*userEvery, now)
}

// allowSource reports whether another try may be made from there, for any user.
func (f *failures) allowSource(from netip.Addr, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.room(failing{source(from), ""}, addrTries*addrEvery, now) && f.room(failing{site(from), ""}, siteTries*siteEvery, now)
}

func (f *failures) room(k failing, size time.Duration, now time.Time) bool {
	return f.buckets[k].until.Sub(now) < size
}

// noteUser counts a try for user that was refused unseen.
func (f *failures) noteUser(from netip.Addr, user string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.makeRoom(now)
	f.fill(failing{source(from), user}, userTries, userEvery, now)
}

// note counts a wrong password.
func (f *failures) note(from netip.Addr, user string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.makeRoom(now)
	f.fill(failing{source(from), user}, userTries, userEvery, now)
	f.fill(failing{source(from), ""}, addrTries, addrEvery, now)
	f.fill(failing{site(from), ""}, siteTries, siteEvery, now)
}

func (f *failures) fill(k failing, tries int, every time.Duration, now time.Time) {
	b := f.buckets[k]
	if now.Sub(b.until) >= calmAfter {
		b.full = 0
	}
	if b.until.Before(now) {
		b.until = now
	}
	b.until = b.until.Add(every << b.full)
	if size := time.Duration(tries) * every; b.until.Sub(now) >= size && b.full < mostDoublings {
		b.full++
	}
	f.buckets[k] = b
}

// makeRoom drops buckets that have been empty for long; of too many, those of
// users, and then all.
func (f *failures) makeRoom(now time.Time) {
	if f.buckets != nil && len(f.buckets) < mostFailing {
		return
	}
	out := make(map[failing]bucket)
	for k, b := range f.buckets {
		if now.Sub(b.until) < calmAfter && (k.user == "" || b.until.After(now) && len(f.buckets) < mostFailing) {
			out[k] = b
		}
	}
	if len(out) >= mostFailing {
		clear(out)
	}
	f.buckets = out
}
