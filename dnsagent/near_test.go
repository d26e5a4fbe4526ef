package dnsagent

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// sited is a network of 12 proxies with one address each, in two sites by turns: the last number of an
// address of ams is even.
func sited(generation uint64, sites ...subjects.Site) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "sipthor.net", Epoch: 1, Generation: generation, Time: time.Now(), Roles: map[subjects.Role][]subjects.Member{}}
	for i := range 12 {
		s.Put(subjects.SIPProxy, subjects.Member{
			Node: subjects.NodeID(fmt.Sprintf("p%02d", i)), State: subjects.Up, Weight: 100, Site: sites[i%len(sites)],
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})},
		})
	}
	return s
}

func nearOptions(own subjects.Site, ecs bool) func(*Config) {
	return func(c *Config) {
		c.Site, c.ClientSubnet = own, ecs
		c.Zone.Preferences = []zone.Preference{{Role: subjects.SIPProxy, Prefer: zone.PreferSite, Min: 2}}
		c.Zone.Sites = map[string]subjects.Site{"198.51.100.0/24": "fra", "2001:db8:f::/48": "fra"}
	}
}

// sitesOf are the sites of the addresses in many answers, and the last answer.
func (s *server) sitesOf(t *testing.T, proto string, edit func(*dns.Msg)) (map[subjects.Site]bool, *dns.Msg) {
	t.Helper()
	out := make(map[subjects.Site]bool)
	var last *dns.Msg
	for range 30 {
		m := new(dns.Msg)
		m.SetQuestion("proxy.sipthor.net.", dns.TypeA)
		if edit != nil {
			edit(m)
		}
		r, _, err := (&dns.Client{Net: proto, Timeout: 10 * time.Second}).Exchange(m, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range r.Answer {
			site := subjects.Site("fra")
			if rr.(*dns.A).A[len(rr.(*dns.A).A)-1]%2 == 0 {
				site = "ams"
			}
			out[site] = true
		}
		last = r
	}
	return out, last
}

// subnet tells of a client by EDNS client subnet.
func subnet(family uint16, bits uint8, addr string) func(*dns.Msg) {
	return func(m *dns.Msg) {
		m.SetEdns0(1232, false)
		o := m.IsEdns0()
		o.Option = append(o.Option, &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: family, SourceNetmask: bits, Address: net.ParseIP(addr)})
	}
}

func scopeOf(m *dns.Msg) int {
	if o := m.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if e, ok := x.(*dns.EDNS0_SUBNET); ok {
				return int(e.SourceScope)
			}
		}
	}
	return -1
}

func only(sites map[subjects.Site]bool, site subjects.Site) bool {
	return len(sites) == 1 && sites[site]
}

// Clients get members of the name server's own site, or of the site of the network that a resolver tells of.
func TestClientsGetMembersOfTheirSite(t *testing.T) {
	s := start(t, sited(1, "ams", "fra"), nearOptions("ams", true))
	plain := func(m *dns.Msg) {}
	for _, proto := range []string{"udp", "tcp"} {
		for name, c := range map[string]struct {
			ask   func(*dns.Msg)
			site  subjects.Site
			scope int // -1: no option in the answer
		}{
			"nothing told":                  {plain, "ams", -1},
			"a network of the table":        {subnet(1, 24, "198.51.100.0"), "fra", 24},
			"a part of it":                  {subnet(1, 32, "198.51.100.7"), "fra", 24},
			"an IPv6 network of the table":  {subnet(2, 56, "2001:db8:f:100::"), "fra", 48},
			"the client hides its network":  {subnet(1, 0, "0.0.0.0"), "ams", 0},
			"a network that is in no table": {subnet(1, 24, "203.0.113.0"), "ams", 5},
		} {
			got, m := s.sitesOf(t, proto, c.ask)
			if !only(got, c.site) {
				t.Errorf("%s, %s: members of %v, want %s", proto, name, got, c.site)
			}
			if scopeOf(m) != c.scope {
				t.Errorf("%s, %s: scope %d, want %d", proto, name, scopeOf(m), c.scope)
			}
		}
		for name, ask := range map[string]func(*dns.Msg){
			"bits behind the prefix": func(m *dns.Msg) {
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 24, 0, 198, 51, 100, 7}}}
			},
			"a scope in a question": func(m *dns.Msg) {
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 1, 24, 24, 198, 51, 100}}}
			},
			"an unknown family": func(m *dns.Msg) {
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: []byte{0, 9, 8, 0, 198}}}
			},
			"IPv4 within IPv6": func(m *dns.Msg) {
				m.SetEdns0(1232, false)
				m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_LOCAL{Code: dns.EDNS0SUBNET, Data: append([]byte{0, 2, 128, 0}, net.ParseIP("::ffff:198.51.100.7").To16()...)}}
			},
		} {
			m := new(dns.Msg)
			m.SetQuestion("proxy.sipthor.net.", dns.TypeA)
			ask(m)
			if r, _, err := (&dns.Client{Net: proto, Timeout: 10 * time.Second}).Exchange(m, s.addr); err != nil || r.Rcode != dns.RcodeFormatError {
				t.Errorf("%s, %s: %v %v, want FORMERR", proto, name, r, err)
			}
		}
	}
	off := start(t, sited(1, "ams", "fra"), nearOptions("ams", false))
	if got, m := off.sitesOf(t, "udp", subnet(1, 24, "198.51.100.0")); !only(got, "ams") || scopeOf(m) != -1 {
		t.Errorf("client subnet is off: members of %v, scope %d", got, scopeOf(m))
	}
	nowhere := start(t, sited(1, "ams", "fra"), nearOptions("", false))
	if got, _ := nowhere.sitesOf(t, "udp", nil); len(got) != 2 {
		t.Errorf("a name server without a site: members of %v", got)
	}
}

// Sites come apart from the status that they are of: the name server does not wait for the next one.
func TestSitesThatComeLaterAreUsed(t *testing.T) {
	s := start(t, sited(1, ""), nearOptions("ams", false))
	if got, _ := s.sitesOf(t, "udp", nil); len(got) != 2 {
		t.Fatalf("members of %v", got)
	}
	s.show(t, sited(1, "ams", "fra"), nil)
	if got, _ := s.sitesOf(t, "udp", nil); !only(got, "ams") {
		t.Errorf("members of %v", got)
	}
}
