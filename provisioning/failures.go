package provisioning

import (
	"net/netip"
	"sync"
	"time"
)

// Wrong passwords that are let through: from one address for one user, and from
// one address for all, since one web server may log in many customers.
const (
	userTries, userEvery = 10, 6 * time.Second
	addrTries, addrEvery = 100, time.Second
	mostFailing          = 10_000 // that are kept apart
)

// failures limits wrong passwords by leaky buckets. Its methods take the time,
// so that they are pure but for the map.
type failures struct {
	mu    sync.Mutex
	until map[failing]time.Time // when the bucket has leaked empty
}

type failing struct {
	from netip.Prefix
	user string // empty: all
}

func source(from netip.Addr) netip.Prefix {
	bits := 32
	if from = from.Unmap(); from.Is6() {
		bits = 64
	}
	p, _ := from.Prefix(bits) // an invalid address has the zero prefix
	return p
}

// allow reports whether another try may be made.
func (f *failures) allow(from netip.Addr, user string, now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := source(from)
	return f.until[failing{p, user}].Sub(now) < userTries*userEvery && f.until[failing{p, ""}].Sub(now) < addrTries*addrEvery
}

// note counts a wrong password.
func (f *failures) note(from netip.Addr, user string, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.until == nil || len(f.until) >= mostFailing {
		f.until = f.living(now)
	}
	p := source(from)
	f.fill(failing{p, user}, userEvery, now)
	f.fill(failing{p, ""}, addrEvery, now)
}

func (f *failures) fill(k failing, by time.Duration, now time.Time) {
	t := f.until[k]
	if t.Before(now) {
		t = now
	}
	f.until[k] = t.Add(by)
}

// living are the buckets that are not empty; of too many, those of addresses.
func (f *failures) living(now time.Time) map[failing]time.Time {
	out := make(map[failing]time.Time)
	for k, t := range f.until {
		if t.After(now) && (k.user == "" || len(f.until) < mostFailing) {
			out[k] = t
		}
	}
	if len(out) >= mostFailing {
		clear(out)
	}
	return out
}
