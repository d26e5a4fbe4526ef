package dnsagent

import (
	"net/netip"
	"time"

	"thor/dnsagent/limit"
)

// allow counts in l what a client gets, and reports whether it may have it.
func (a *Agent) allow(l *limit.Limiter, client netip.Addr, now time.Time) bool {
	for _, e := range a.exempt {
		if e.Contains(client) {
			return true
		}
	}
	return l.Allow(client, now.Sub(a.begun))
}
