package provisioning

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"thor/provisioning/ngnpro"
)

// Slow comparisons of passwords, at once and waiting. Sources from which a login
// was right lately have slots of their own: guesses from elsewhere do not delay a
// client that comes back with a new password.
const (
	strangersAtOnce = 2
	familiarsAtOnce = 2
	waitingAtMost   = 64 // in front of each: 2.3 s at 70 ms and two at once
	waitingPerSite  = 8
	familiarFor     = time.Hour
	mostFamiliar    = 4096
)

// errBusy says that too many passwords waited to be checked, whatever the store does.
var errBusy = errors.New("provisioning: no password could be checked in time")

// checks hands out the slots.
type checks struct {
	strangers, familiars line

	mu       sync.Mutex
	familiar map[netip.Prefix]time.Time // when a login was last right
}

// A line is slots and who waits for them.
type line struct {
	slots chan struct{}

	mu      sync.Mutex
	waiting int
	sites   map[netip.Prefix]int
}

func newChecks() *checks {
	return &checks{
		strangers: line{slots: make(chan struct{}, strangersAtOnce), sites: make(map[netip.Prefix]int)},
		familiars: line{slots: make(chan struct{}, familiarsAtOnce), sites: make(map[netip.Prefix]int)},
		familiar:  make(map[netip.Prefix]time.Time),
	}
}

// right notes that a login from there was right.
func (c *checks) right(from netip.Addr, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.familiar) >= mostFamiliar {
		for p, t := range c.familiar {
			if now.Sub(t) >= familiarFor {
				delete(c.familiar, p)
			}
		}
	}
	if _, known := c.familiar[source(from)]; known || len(c.familiar) < mostFamiliar {
		c.familiar[source(from)] = now
	}
}

// isFamiliar reports whether a login from there was right within the last hour.
func (c *checks) isFamiliar(from netip.Addr, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.familiar[source(from)]
	return ok && now.Sub(t) < familiarFor
}

// enter waits for a slot, which leave gives back. The error is a fault: too many
// wait already, or ctx ended.
func (c *checks) enter(ctx context.Context, from netip.Addr, now time.Time) (leave func(), err error) {
	l := &c.strangers
	if c.isFamiliar(from, now) {
		l = &c.familiars
	}
	leave = func() { <-l.slots }
	select {
	case l.slots <- struct{}{}:
		return leave, nil
	default:
	}
	busy := fmt.Errorf("%w: %w", ngnpro.ErrUnavailable, errBusy)
	if !l.join(site(from)) {
		return nil, busy
	}
	defer l.part(site(from))
	select {
	case l.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, busy
	}
}

func (l *line) join(s netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting >= waitingAtMost || l.sites[s] >= waitingPerSite {
		return false
	}
	l.waiting++
	l.sites[s]++
	return true
}

func (l *line) part(s netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	if l.sites[s]--; l.sites[s] == 0 {
		delete(l.sites, s)
	}
}
