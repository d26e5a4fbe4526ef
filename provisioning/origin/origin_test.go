package origin_test

import (
	"net/netip"
	"testing"

	"thor/provisioning/origin"
)

func TestPrefixesOfAnOrigin(t *testing.T) {
	for _, c := range []struct{ addr, host, site string }{
		{"192.0.2.200", "192.0.2.200/32", "192.0.2.0/24"},
		{"::ffff:192.0.2.200", "192.0.2.200/32", "192.0.2.0/24"},
		{"2001:db8:1:2fe:3::4", "2001:db8:1:2fe::/64", "2001:db8:1:200::/56"},
	} {
		a := netip.MustParseAddr(c.addr)
		if host, site := origin.Host(a), origin.Site(a); host.String() != c.host || site.String() != c.site {
			t.Errorf("%s: host %s, site %s", c.addr, host, site)
		}
	}
	if (origin.Host(netip.Addr{}) != netip.Prefix{}) {
		t.Error("an invalid address has a prefix")
	}
}
