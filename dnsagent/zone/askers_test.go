package zone_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"thor/dnsagent/zone"
	"thor/subjects"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestTheLongestPrefixSaysWhereAnAskerIs(t *testing.T) {
	cfg := zone.Config{Sites: map[string]subjects.Site{
		"192.0.2.0/24": "ams", "192.0.2.128/25": "fra", "192.0.2.200/32": "par", "10.0.0.0/8": "fra",
		"10.1.0.0/16": "fra", "2001:db8::/32": "ams", "2001:db8:1::/48": "par",
	}}
	a := cfg.Askers("lhr")
	for _, c := range []struct {
		from string
		site subjects.Site
		bits int
	}{
		{"192.0.2.1", "ams", 25},
		{"::ffff:192.0.2.1", "ams", 25},
		{"192.0.2.129", "fra", 26},
		{"192.0.2.200", "par", 32},
		{"192.0.2.201", "fra", 32},
		{"192.0.2.202", "fra", 31},
		{"10.1.2.3", "fra", 8}, // the two are of one site
		{"10.200.2.3", "fra", 8},
		{"11.0.0.1", "lhr", 8},
		{"192.0.3.1", "lhr", 24},
		{"200.0.0.1", "lhr", 5},
		{"2001:db8:1::9", "par", 48},
		{"2001:db8::9", "ams", 48},
		{"2001:db8:8000::9", "ams", 33},
		{"::1", "lhr", 3},
	} {
		if site, bits := a.At(addr(c.from)); site != c.site || bits != c.bits {
			t.Errorf("%s: %s /%d, want %s /%d", c.from, site, bits, c.site, c.bits)
		}
	}
	only := zone.Config{Sites: map[string]subjects.Site{"2001:db8::/32": "ams"}}
	if site, bits := only.Askers("lhr").At(addr("192.0.2.1")); site != "lhr" || bits != 0 {
		t.Errorf("of a family without prefixes: %s /%d", site, bits)
	}
	var none zone.Config
	if a := none.Askers(""); a != nil {
		t.Error("a table of nothing")
	}
	if site, bits := none.Askers("").At(addr("192.0.2.1")); site != "" || bits != 0 {
		t.Errorf("of no table: %s /%d", site, bits)
	}
	if site, bits := none.Askers("ams").At(addr("192.0.2.1")); site != "ams" || bits != 0 {
		t.Errorf("of no prefixes: %s /%d", site, bits)
	}
}

// FuzzAskers compares the table with the definition: the longest prefix that contains
// the address; and all addresses within the bits told are of that site, and not all of the
// network twice as large.
func FuzzAskers(f *testing.F) {
	f.Add(uint64(1), 3)
	f.Add(uint64(2), 12)
	f.Fuzz(func(t *testing.T, seed uint64, n int) {
		rng := rand.New(rand.NewPCG(seed, 9))
		sites := []subjects.Site{"ams", "fra", "par"}
		cfg := zone.Config{Sites: make(map[string]subjects.Site)}
		table := make(map[netip.Prefix]subjects.Site)
		random := func() netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(rng.Uint32() & 3), byte(rng.Uint32())}) }
		for range 1 + uint(n)%10 {
			p := netip.PrefixFrom(random(), 22+rng.IntN(11)).Masked()
			table[p] = sites[rng.IntN(3)]
			cfg.Sites[p.String()] = table[p]
		}
		siteOf := func(a netip.Addr) subjects.Site {
			best, site := -1, subjects.Site("own")
			for p, s := range table {
				if p.Contains(a) && p.Bits() > best {
					best, site = p.Bits(), s
				}
			}
			return site
		}
		uniform := func(p netip.Prefix) bool {
			for a := p.Addr(); p.Contains(a); a = a.Next() {
				if siteOf(a) != siteOf(p.Addr()) {
					return false
				}
			}
			return true
		}
		a := cfg.Askers("own")
		for range 10 {
			from := random()
			site, bits := a.At(from)
			if want := siteOf(from); site != want {
				t.Fatalf("%v: %s is at %s, want %s", cfg.Sites, from, site, want)
			}
			if bits < 22 {
				continue // much to look at
			}
			if p := netip.PrefixFrom(from, bits).Masked(); !uniform(p) {
				t.Fatalf("%v: not all of %s is at %s", cfg.Sites, p, site)
			}
			if p := netip.PrefixFrom(from, bits-1).Masked(); bits > 22 && uniform(p) {
				t.Fatalf("%v: all of %s is at %s, told is %d", cfg.Sites, p, site, bits)
			}
		}
	})
}
