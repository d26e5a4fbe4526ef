package dnsagent

import (
	"net/netip"
	"time"
)

// allow counts an answer by UDP to a client that has proved nothing.
func (a *Agent) allow(client netip.Addr, now time.Time) bool {
	for _, e := range a.exempt {
		if e.Contains(client) {
			return true
		}
	}
	return a.limiter.Allow(client, now.Sub(a.begun))
}
