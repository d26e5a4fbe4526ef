// Package origin says which addresses count as one origin, for limits on
// connections and on logins.
package origin

import "net/netip"

// Host is the network that one host may use as it likes: an address of IPv4, a
// /64 of IPv6. An invalid address has the zero prefix.
func Host(a netip.Addr) netip.Prefix { return prefix(a, 32, 64) }

// Site is the network that one customer of a provider has: a /24 of IPv4, a /56
// of IPv6. An invalid address has the zero prefix.
func Site(a netip.Addr) netip.Prefix { return prefix(a, 24, 56) }

func prefix(a netip.Addr, v4, v6 int) netip.Prefix {
	bits := v4
	if a = a.Unmap(); a.Is6() {
		bits = v6
	}
	p, _ := a.Prefix(bits) // the zero prefix on error
	return p
}
