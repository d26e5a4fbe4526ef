package zone_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/overlay/setting"
	"thor/subjects"
)

// preferring is a configuration in which SIP proxies are preferred by site.
func preferring(by string, min int) zone.Config {
	cfg := zone.DefaultConfig("example.net")
	cfg.Preferences = []zone.Preference{{Role: subjects.SIPProxy, Prefer: zone.PreferSite, By: by, Min: min}}
	return cfg
}

// inSites gives the proxies of s the sites in turn.
func inSites(s *subjects.Status, sites ...subjects.Site) *subjects.Status {
	ms := s.Roles[subjects.SIPProxy]
	for i := range ms {
		ms[i].Site = sites[i%len(sites)]
	}
	return s
}

// slices of a zone for an asker: of each answer, its records as text without owner and TTL.
func answersFor(t *testing.T, z *zone.Zone, name string, qtype uint16, site subjects.Site, n int) (out [][]string) {
	t.Helper()
	by := &zone.Random{Rand: rng(), Site: site}
	var a zone.Answer
	for range n {
		z.LookupBy(name, qtype, by, &a)
		var texts []string
		for _, rr := range a.Answer {
			texts = append(texts, strings.TrimPrefix(rr.String(), rr.Header().String()))
		}
		out = append(out, texts)
	}
	return out
}

const (
	proxyA   = "proxy.example.net."
	proxySRV = "_sip._udp.example.net."
)

// siteOfRecord is the site of the member behind an A or SRV record of proxies(…).
func siteOfRecord(s *subjects.Status, text string) subjects.Site {
	for _, m := range s.Roles[subjects.SIPProxy] {
		if text == m.Address().String() || strings.Contains(text, " "+string(m.Node)+".") {
			return m.Site
		}
	}
	return "?"
}

// Share of the answers from the asker's site while it has min members up.
func TestAnswersComeFromTheSiteOfTheAsker(t *testing.T) {
	s := inSites(proxies(60, func(i int) int { return 50 + 50*(i%3) }), "ams", "fra", "par", "ams", "")
	s.Roles[subjects.SIPProxy][0].State = subjects.Suspect
	z := build(t, preferring("", 2), s)
	for _, site := range []subjects.Site{"ams", "fra", "par"} {
		for name, qtype := range map[string]uint16{proxyA: dns.TypeA, proxySRV: dns.TypeSRV} {
			records, near := 0, 0
			for _, a := range answersFor(t, z, name, qtype, site, 5000) {
				if len(a) != 4 || len(slices.Compact(slices.Sorted(slices.Values(a)))) != 4 {
					t.Fatalf("%s for %s: %v", name, site, a)
				}
				for _, r := range a {
					records++
					if siteOfRecord(s, r) == site {
						near++
					}
				}
			}
			if near != records {
				t.Errorf("%s for %s: %d of %d records are of the site", name, site, near, records)
			}
		}
	}
	for _, site := range []subjects.Site{"", "lhr"} {
		seen := make(map[subjects.Site]bool)
		for _, a := range answersFor(t, z, proxyA, dns.TypeA, site, 1000) {
			for _, r := range a {
				seen[siteOfRecord(s, r)] = true
			}
		}
		if len(seen) != 4 {
			t.Errorf("askers at %q get members of %v", site, seen)
		}
	}
}

// While fewer than min of a site are up, its members come first, and others fill the slice.
func TestOthersFillUpWhereTooFewAreUp(t *testing.T) {
	s := inSites(proxies(20, func(int) int { return 100 }), "fra")
	ms := s.Roles[subjects.SIPProxy]
	for i := range 3 {
		ms[i].Site = "ams"
	}
	for up := 3; up >= 0; up-- {
		for i := range 3 {
			if ms[i].State = subjects.Up; i >= up {
				ms[i].State = subjects.Suspect
			}
		}
		z := build(t, preferring("", 2), s)
		others := make(map[string]int)
		for _, a := range answersFor(t, z, proxyA, dns.TypeA, "ams", 3000) {
			want := 4
			if up >= 2 {
				want = 3
			}
			if len(a) != want {
				t.Fatalf("%d up: %v", up, a)
			}
			for i, r := range a {
				if near := siteOfRecord(s, r) == "ams"; near != (i < 3) {
					t.Fatalf("%d up: %v", up, a)
				} else if !near {
					others[r]++
				}
			}
		}
		if up < 2 && len(others) != 17 {
			t.Errorf("%d up: %d others fill up, want all 17", up, len(others))
		}
	}
}

// By priority SRV answers have both: own site 10, others 20.
func TestPriorityTellsOwnSiteFromOthers(t *testing.T) {
	for _, c := range []struct{ own, others, near, rest int }{{10, 10, 2, 2}, {10, 1, 3, 1}, {1, 10, 1, 3}, {3, 0, 3, 0}, {2, 1, 2, 1}} {
		s := proxies(c.own+c.others, func(i int) int { return 10 * (1 + i) })
		for i := range s.Roles[subjects.SIPProxy] {
			s.Roles[subjects.SIPProxy][i].Site = "fra"
			if i < c.own {
				s.Roles[subjects.SIPProxy][i].Site = "ams"
			}
		}
		z := build(t, preferring(zone.ByPriority, 2), s)
		for _, a := range answersFor(t, z, proxySRV, dns.TypeSRV, "ams", 500) {
			near, rest := 0, 0
			for _, r := range a {
				switch {
				case strings.HasPrefix(r, "10 ") && siteOfRecord(s, r) == "ams":
					near++
				case strings.HasPrefix(r, "20 ") && siteOfRecord(s, r) == "fra":
					rest++
				default:
					t.Fatalf("%+v: %s in %v", c, r, a)
				}
			}
			if near != c.near || rest != c.rest {
				t.Fatalf("%+v: %v", c, a)
			}
		}
		for _, a := range answersFor(t, z, proxySRV, dns.TypeSRV, "", 200) {
			for _, r := range a {
				if !strings.HasPrefix(r, "10 ") {
					t.Fatalf("for an asker of no site: %s", r)
				}
			}
		}
		for _, a := range answersFor(t, z, proxyA, dns.TypeA, "ams", 200) {
			for i, r := range a {
				if want := min(c.own, 4); siteOfRecord(s, r) == "ams" != (i < want) {
					t.Fatalf("%+v: addresses %v", c, a)
				}
			}
		}
	}
}

// Within a site the draw is as fair as that of a zone without sites: the same tests, by
// chi-square, for equal weights and by weight.
func TestFairnessWithinASite(t *testing.T) {
	const own, n = 50, 50_000
	s := inSites(proxies(4*own, func(int) int { return 50 }), "ams", "fra", "par", "")
	z := build(t, preferring("", 2), s)
	for name, qtype := range map[string]uint16{proxyA: dns.TypeA, proxySRV: dns.TypeSRV} {
		in, first := make(map[string]int), make(map[string]int)
		for _, a := range answersFor(t, z, name, qtype, "fra", n) {
			first[a[0]]++
			for _, r := range a {
				in[r]++
			}
		}
		for what, counts := range map[string]map[string]int{"membership": in, "first place": first} {
			if x, bound := chiSquare(counts, own); x > bound || len(counts) != own {
				t.Errorf("%s %s: %d members, chi-square %.1f > %.1f", name, what, len(counts), x, bound)
			}
		}
	}
	weighted := inSites(proxies(4*own, func(i int) int { return 100 + i }), "ams", "fra", "par", "")
	z = build(t, preferring("", 2), weighted)
	sum := 0
	for _, m := range weighted.Roles[subjects.SIPProxy] {
		if m.Site == "par" {
			sum += m.Weight
		}
	}
	first := make(map[string]int)
	for _, a := range answersFor(t, z, proxyA, dns.TypeA, "par", n) {
		first[a[0]]++
	}
	x := 0.0
	for _, m := range weighted.Roles[subjects.SIPProxy] {
		if m.Site == "par" {
			want := n * float64(m.Weight) / float64(sum)
			x += math.Pow(float64(first[m.Address().String()])-want, 2) / want
		}
	}
	if x > 74.9 { // 49 degrees of freedom, p = 0.01
		t.Errorf("first places are not as the weights: chi-square %.1f", x)
	}
	// What fills up is drawn by weight too.
	few := inSites(proxies(30, func(i int) int { return 100 + 20*i }), "fra")
	few.Roles[subjects.SIPProxy][7].Site = "ams"
	z = build(t, preferring("", 2), few)
	second := make(map[string]int)
	for _, a := range answersFor(t, z, proxyA, dns.TypeA, "ams", n) {
		second[a[1]]++
	}
	x, sum = 0, 0
	for i, m := range few.Roles[subjects.SIPProxy] {
		if i != 7 {
			sum += m.Weight
		}
	}
	for i, m := range few.Roles[subjects.SIPProxy] {
		if want := n * float64(m.Weight) / float64(sum); i != 7 {
			x += math.Pow(float64(second[m.Address().String()])-want, 2) / want
		}
	}
	if x > 48.3 { // 28 degrees of freedom, p = 0.01
		t.Errorf("what fills up is not as the weights: chi-square %.1f", x)
	}
}

// Where all of a site fit an answer, the client draws among them by their weights.
func TestWeightsAreToldWhereTheClientDraws(t *testing.T) {
	s := inSites(proxies(12, func(i int) int { return 10 + i }), "fra")
	for i := range 3 {
		s.Roles[subjects.SIPProxy][i].Site = "ams"
	}
	z := build(t, preferring("", 2), s)
	for _, a := range answersFor(t, z, proxySRV, dns.TypeSRV, "ams", 50) {
		slices.Sort(a)
		for i, r := range a {
			if want := fmt.Sprintf("10 %d 5060 n00%d.example.net.", 10+i, i); r != want {
				t.Fatalf("%v, want %s", a, want)
			}
		}
	}
	for _, site := range []subjects.Site{"fra", ""} {
		for _, a := range answersFor(t, z, proxySRV, dns.TypeSRV, site, 50) {
			for _, r := range a {
				if !strings.HasPrefix(r, "10 100 5060 ") {
					t.Fatalf("for %q the draw is ours: %s", site, r)
				}
			}
		}
	}
}

// Spares are served only while fewer than min of tier 1 are up.
func TestSparesAreServedWhileTooFewOthersAre(t *testing.T) {
	for _, prefer := range []bool{false, true} {
		for up := 4; up >= 0; up-- {
			s := inSites(proxies(6, func(int) int { return 100 }), "ams", "fra")
			for i := range s.Roles[subjects.SIPProxy] {
				m := &s.Roles[subjects.SIPProxy][i]
				switch {
				case i >= 4:
					m.Attrs = subjects.Attrs{subjects.AttrTier: subjects.SpareTier}
				case i >= up:
					m.State = subjects.Suspect
				}
			}
			cfg := zone.DefaultConfig("example.net")
			cfg.Slice = 8
			if prefer {
				cfg.Preferences = []zone.Preference{{Role: subjects.SIPProxy, Prefer: zone.PreferSite, Min: 2}}
			}
			z := build(t, cfg, s)
			seen := make(map[string]int)
			for _, a := range answersFor(t, z, proxySRV, dns.TypeSRV, "", 50) {
				for _, r := range a {
					seen[r]++
				}
			}
			want := 4
			if up < 2 {
				want = 6
			}
			if len(seen) != want {
				t.Errorf("prefer %v, %d up: %d members are served, want %d", prefer, up, len(seen), want)
			}
		}
	}
}

// The zone itself knows no asker and no tier.
func TestTheZoneIsTheSameWithPreferences(t *testing.T) {
	s := inSites(proxies(10, func(i int) int { return 100 + i }), "ams", "fra", "par")
	s.Roles[subjects.SIPProxy][3].Attrs = subjects.Attrs{subjects.AttrTier: subjects.SpareTier}
	plain, preferred := build(t, zone.DefaultConfig("example.net"), s), build(t, preferring(zone.ByPriority, 2), s)
	if a, b := plain.Text(), preferred.Text(); strings.SplitN(a, "\n", 2)[1] != strings.SplitN(b, "\n", 2)[1] {
		t.Errorf("%s\nis not\n%s", a, b)
	}
	all := func(z *zone.Zone) string {
		var a zone.Answer
		z.LookupBy("_sip._udp.all.example.net.", dns.TypeSRV, &zone.Random{Site: "ams"}, &a)
		return fmt.Sprint(a.Answer, a.Additional)
	}
	if a, b := all(plain), all(preferred); a != b || strings.Count(a, "5060") != 10 {
		t.Errorf("all members: %s, with preferences %s", a, b)
	}
}

// Preferences and prefixes are of the digest, which stays what it was without them.
func TestPreferencesAreOfTheDigest(t *testing.T) {
	plain := zone.DefaultConfig("example.net")
	if got, want := plain.Digest(), digestBefore; got != want {
		t.Errorf("the digest of a zone without sites is %s, it was %s", got, want)
	}
	seen := map[string]string{plain.Digest(): "none"}
	for what, change := range map[string]func(*zone.Config){
		"prefer":      func(c *zone.Config) { *c = preferring("", 2) },
		"by":          func(c *zone.Config) { *c = preferring(zone.ByPriority, 2) },
		"min":         func(c *zone.Config) { *c = preferring("", 3) },
		"sites":       func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/24": "ams"} },
		"other sites": func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/24": "fra"} },
		"another one": func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/25": "fra"} },
	} {
		c := zone.DefaultConfig("example.net")
		change(&c)
		if d := c.Digest(); seen[d] != "" {
			t.Errorf("%s and %s have one digest", what, seen[d])
		} else {
			seen[d] = what
		}
	}
	a, b := preferring("", 2), preferring("", 0)
	if b.Sites = map[string]subjects.Site{}; a.Digest() != b.Digest() {
		t.Error("a default that is written out makes another digest")
	}
}

const digestBefore = "260c3a8a0c543e3be46daf30328b6ab4"

func TestPreferencesAndSitesAreChecked(t *testing.T) {
	for _, c := range []struct {
		key    string
		change func(*zone.Config)
	}{
		{"preference[0].prefer", func(c *zone.Config) { c.Preferences[0].Prefer = "near" }},
		{"preference[0].by", func(c *zone.Config) { c.Preferences[0].By = "weight" }},
		{"preference[0].by", func(c *zone.Config) { c.Preferences[0].Prefer, c.Preferences[0].By = "", zone.ByPriority }},
		{"preference[0].min", func(c *zone.Config) { c.Preferences[0].Min = 9 }},
		{"preference[0].role", func(c *zone.Config) { c.Preferences[0].Role = "SIP" }},
		{"preference[1].role", func(c *zone.Config) { c.Preferences = append(c.Preferences, c.Preferences[0]) }},
		{"sites.192.0.2.0/33", func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/33": "ams"} }},
		{"sites.192.0.2.1/24", func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.1/24": "ams"} }},
		{"sites.::ffff:192.0.2.0/120", func(c *zone.Config) { c.Sites = map[string]subjects.Site{"::ffff:192.0.2.0/120": "ams"} }},
		{"sites.192.0.2.0/24", func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/24": "AMS"} }},
		{"sites.192.0.2.0/24", func(c *zone.Config) { c.Sites = map[string]subjects.Site{"192.0.2.0/24": ""} }},
		{"sites.2001:db8::/32", func(c *zone.Config) {
			c.Sites = map[string]subjects.Site{"2001:db8::/32": "ams", "2001:DB8::/32": "fra"}
		}},
	} {
		cfg := preferring("", 2)
		if ps := cfg.Validate(); len(ps) > 0 {
			t.Fatal(ps)
		}
		c.change(&cfg)
		ps := cfg.Validate()
		if !slices.ContainsFunc(ps, func(p setting.Problem) bool { return strings.HasPrefix(p.Error(), c.key+": ") }) {
			t.Errorf("want a problem of %s, got %v", c.key, ps)
		}
	}
}

// A draw for an asker allocates nothing, and neither does the look at its address.
func TestADrawForAnAskerAllocatesNothing(t *testing.T) {
	cfg := preferring("", 2)
	cfg.Sites = map[string]subjects.Site{"192.0.2.0/24": "ams", "198.51.100.0/24": "fra", "2001:db8::/32": "fra"}
	s := inSites(proxies(200, func(i int) int { return 100 + i%2 }), "ams", "fra")
	z, askers := build(t, cfg, s), cfg.Askers("par")
	by := &zone.Random{Rand: rand.New(rand.NewPCG(1, 1))}
	var a zone.Answer
	for _, from := range []string{"192.0.2.9", "2001:db8::1", "203.0.113.9"} {
		if n := testing.AllocsPerRun(100, func() {
			by.Site, _ = askers.At(addr(from))
			z.LookupBy(proxyA, dns.TypeA, by, &a)
		}); n != 0 {
			t.Errorf("%s: %v allocations", from, n)
		}
	}
}

// A member counts once among those that are up, however many addresses it has.
func TestAMemberWithSeveralAddressesCountsOnce(t *testing.T) {
	s := inSites(proxies(8, func(int) int { return 100 }), "fra")
	ms := s.Roles[subjects.SIPProxy]
	for i := range 2 {
		ms[i].Site = "ams"
		for j := range 3 {
			ms[i].Addresses = append(ms[i].Addresses, netip.AddrFrom4([4]byte{198, 51, 100, byte(10*i + j)}))
		}
	}
	near := func(text string) bool {
		return slices.ContainsFunc(ms[:2], func(m subjects.Member) bool {
			return slices.ContainsFunc(m.Addresses, func(a netip.Addr) bool { return a.String() == text })
		})
	}
	for min, alone := range map[int]bool{2: true, 3: false} {
		z := build(t, preferring("", min), s)
		for _, a := range answersFor(t, z, proxyA, dns.TypeA, "ams", 200) {
			all := !slices.ContainsFunc(a, func(text string) bool { return !near(text) })
			if alone && !all {
				t.Fatalf("two of two are up: %v", a)
			}
		}
	}
}
