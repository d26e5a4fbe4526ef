package login

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/origin"
)

// Slow comparisons of passwords, at once and waiting. Hosts from which a login was
// right lately have slots of their own: guesses from elsewhere do not delay a
// client that comes back with a new password.
const (
	slotsOfOthers = 2
	slotsOfKnown  = 2
	maxWaiting    = 64 // for each pool: 2.3 s at 70 ms and two at once
	maxOfSite     = 8
	hostKnownFor  = time.Hour
	maxKnownHosts = 4096
)

// slots bound the slow comparisons.
type slots struct {
	others, ofKnown pool

	mu    sync.Mutex
	known map[netip.Prefix]time.Time // by host, when a login was last right
}

// A pool is slots and the logins that wait for them.
type pool struct {
	slots chan struct{}

	mu      sync.Mutex
	waiting int
	sites   map[netip.Prefix]int
}

func newPool(n int) pool {
	return pool{slots: make(chan struct{}, n), sites: make(map[netip.Prefix]int)}
}

func newSlots() *slots {
	return &slots{others: newPool(slotsOfOthers), ofKnown: newPool(slotsOfKnown), known: make(map[netip.Prefix]time.Time)}
}

// right notes that a login from there was right.
func (x *slots) right(from netip.Addr, now time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.known) >= maxKnownHosts {
		for host, t := range x.known {
			if now.Sub(t) >= hostKnownFor {
				delete(x.known, host)
			}
		}
	}
	if _, known := x.known[origin.Host(from)]; known || len(x.known) < maxKnownHosts {
		x.known[origin.Host(from)] = now
	}
}

// isKnown reports whether a login from there was right within the last hour.
func (x *slots) isKnown(from netip.Addr, now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	t, ok := x.known[origin.Host(from)]
	return ok && now.Sub(t) < hostKnownFor
}

// enter waits for a slot, which leave gives back. The error is a fault: too many
// wait already, or ctx ended.
func (x *slots) enter(ctx context.Context, from netip.Addr, now time.Time) (leave func(), err error) {
	p := &x.others
	if x.isKnown(from, now) {
		p = &x.ofKnown
	}
	leave = func() { <-p.slots }
	select {
	case p.slots <- struct{}{}:
		return leave, nil
	default:
	}
	busy := fmt.Errorf("%w: %w", ngnpro.ErrUnavailable, ErrBusy)
	if !p.join(origin.Site(from)) {
		return nil, busy
	}
	defer p.part(origin.Site(from))
	select {
	case p.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, busy
	}
}

func (p *pool) join(site netip.Prefix) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting >= maxWaiting || p.sites[site] >= maxOfSite {
		return false
	}
	p.waiting++
	p.sites[site]++
	return true
}

func (p *pool) part(site netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
	if p.sites[site]--; p.sites[site] == 0 {
		delete(p.sites, site)
	}
}
