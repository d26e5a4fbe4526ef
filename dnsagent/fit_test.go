package dnsagent

import (
	"testing"

	"github.com/miekg/dns"
)

// withProxies are the paths of a network with n more proxies.
func withProxies(t testing.TB, size, n int, change ...func(*Config)) *paths {
	t.Helper()
	p := bothPaths(t, size, change...)
	a := p.general.agent
	z, err := a.builder.Build(manyProxies(t, n))
	if err != nil {
		t.Fatal(err)
	}
	a.publish(z)
	p.zone = a.served.Load().packed
	p.general.at(testTime)
	p.general.client = addr4(192, 0, 2, 1)
	return p
}

// A small question whose answer names 100 hosts cannot keep a name server busy with packing.
func TestAnAnswerIsPackedAFewTimesHoweverMuchGlueThereIs(t *testing.T) {
	q := question("_sip._udp.all.sipthor.net", dns.TypeSRV, dns.ClassINET)
	for _, c := range []struct {
		what          string
		members, size int
		proved        bool
		packs         int
		truncated     bool
	}{
		{"too much for a stranger", 150, 1232, false, 2, true},
		{"too much for a datagram", 150, 1232, true, 2, true},
		{"a part of the addresses", 60, 4096, true, 10, false},
		{"all addresses", 5, 4096, true, 6, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			p := withProxies(t, c.size, c.members)
			r := p.general
			request := packet(0, [4]uint16{1, 0, 0, 1}, q, opt(uint16(c.size), 0, 0))
			if c.proved {
				request = packet(0, [4]uint16{1, 0, 0, 1}, q, opt(uint16(c.size), 0, 0, option(dns.EDNS0COOKIE, p.cookieOf(1))))
			}
			before := r.packs
			b := r.respond(request)
			if n := r.packs - before; n > c.packs {
				t.Errorf("packed %d times, want at most %d", n, c.packs)
			}
			m := parsed(t, b)
			if m.Truncated != c.truncated || m.Truncated == (len(m.Answer) > 0) || len(b) > c.size {
				t.Errorf("%d bytes: %v", len(b), m)
			}
			glue, all := len(m.Extra)-1, len(r.found.Additional)
			if !c.truncated && glue != all && (glue == 0 || len(b)+64 <= c.size) { // an address is 16 or 28 bytes, few hosts have several
				t.Errorf("%d addresses of %d in %d bytes", glue, all, len(b))
			}
		})
	}
}
