package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/dnsagent/zone"
	"thor/subjects"
)

func TestDefaultConfigIsValidAndTheZeroValuesMeanIt(t *testing.T) {
	full, bare := zone.DefaultConfig("example.net"), zone.Config{Domain: "Example.NET."}
	for _, c := range []zone.Config{full, bare} {
		if p := c.Validate(); len(p) > 0 {
			t.Errorf("problems %v", p)
		}
	}
	if full.Digest() != bare.Digest() {
		t.Error("defaults left out and defaults written out differ in digest")
	}
	if len(full.Digest()) != 32 {
		t.Errorf("digest %q", full.Digest())
	}
}

func TestDigestTellsEveryFieldApart(t *testing.T) {
	seen := map[string]string{}
	for what, change := range map[string]func(*zone.Config){
		"nothing":   func(*zone.Config) {},
		"domain":    func(c *zone.Config) { c.Domain = "example.org" },
		"ns":        func(c *zone.Config) { c.NameServers = []string{"ns1.example.net"} },
		"primary":   func(c *zone.Config) { c.Primary = "ns1.example.net" },
		"contact":   func(c *zone.Config) { c.Contact = "dns@example.net" },
		"slice":     func(c *zone.Config) { c.Slice = 3 },
		"slices":    func(c *zone.Config) { c.Slices = map[subjects.Role]int{"web": 1} },
		"ttl":       func(c *zone.Config) { c.TTL.Role = 11 * time.Second },
		"negative":  func(c *zone.Config) { c.TTL.Negative = 11 * time.Second },
		"refresh":   func(c *zone.Config) { c.Timers.Refresh = 5 * time.Hour },
		"none":      func(c *zone.Config) { c.Services = []zone.Service{} },
		"port":      func(c *zone.Config) { c.Services[0].SRV[0].Port = 443 },
		"static":    func(c *zone.Config) { c.Static = []string{"www A 192.0.2.1"} },
		"static it": func(c *zone.Config) { c.Static = []string{"www A 192.0.2.2"} },
	} {
		c := zone.DefaultConfig("example.net")
		change(&c)
		d := c.Digest()
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", what, other)
		}
		seen[d] = what
	}
}

func TestDigestIgnoresOrderAndSpelling(t *testing.T) {
	a, b := zone.DefaultConfig("example.net"), zone.DefaultConfig("example.net")
	a.NameServers, b.NameServers = []string{"ns1.example.net", "ns2.example.net"}, []string{"NS2.example.net.", "ns1.example.net"}
	a.Static, b.Static = []string{"www A 192.0.2.1", "ftp CNAME www"}, []string{"ftp  300 IN CNAME www.example.net.", "WWW 300 IN A 192.0.2.1"}
	slices.Reverse(b.Services)
	if a.Digest() != b.Digest() {
		t.Error("the same zone, differently written, has two digests")
	}
}

func TestDigestOfTheDefaultsIsAPromise(t *testing.T) {
	// Name servers of two versions compare digests while a network is upgraded:
	// change this value only together with the zone it stands for.
	c := zone.DefaultConfig("example.net")
	if got, want := c.Digest(), "260c3a8a0c543e3be46daf30328b6ab4"; got != want {
		t.Errorf("digest %s, was %s", got, want)
	}
}

// The bound of a slice is a tag, and the size of an array.
func TestASliceIsAtMostMaxSlice(t *testing.T) {
	for slice, problems := range map[int]int{zone.MaxSlice: 0, zone.MaxSlice + 1: 1} {
		c := zone.DefaultConfig("example.net")
		c.Slice = slice
		if ps := c.Validate(); len(ps) != problems {
			t.Errorf("%d: %v", slice, ps)
		}
	}
}

func TestValidateReportsEverythingAtOnce(t *testing.T) {
	c := zone.Config{
		Domain: "bad_domain", Contact: "nobody", Primary: "x y", NameServers: []string{"ns1.example.net", "ns1.example.net", "single"},
		Slice: 9, Slices: map[subjects.Role]int{"Bad": 2, "web": 0, "sip_proxy": -1},
		TTL:    zone.TTLs{Role: 1500 * time.Millisecond, Host: -1, Negative: 48 * time.Hour},
		Timers: zone.Timers{Refresh: time.Millisecond},
		Services: []zone.Service{
			{Role: "No", Host: "a.b", SRV: []zone.SRV{{Name: "sip", Port: 0, NAPTR: "a b"}}},
			{Role: "web", Host: "www"},
			{Role: "sip_proxy", Host: "WWW"},
		},
		Static: []string{"", "www", "$INCLUDE /etc/passwd", "x A 1.2.3"},
	}
	want := []string{
		"service[0].role", "slice", "slices.Bad", "slices.sip_proxy", "slices.web", "ttl", "ttl_host", "ttl_negative", "refresh",
		"domain", "contact", "ns[1]", "ns[2]", "primary", "service[0].host", "service[0].srv[0].name", "service[0].srv[0].port",
		"service[0].srv[0].naptr", "service[2].host", "static[0]", "static[1]", "static[2]", "static[3]",
	}
	var got []string
	for _, p := range c.Validate() {
		got = append(got, p.Key)
		if strings.ContainsAny(p.Error(), "\n\r") {
			t.Errorf("%q is not one line", p)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems at\n%q, want\n%q", got, want)
	}
	if _, err := zone.NewBuilder(c); err == nil || !strings.Contains(err.Error(), "static[3]") {
		t.Errorf("NewBuilder: %v, want all problems", err)
	}
}

func TestStaticRecordsThatWouldBreakTheZoneAreRefused(t *testing.T) {
	many := []string{}
	for i := range 101 {
		many = append(many, "many TXT \""+strings.Repeat("x", i+1)+"\"")
	}
	for _, c := range []struct {
		why   string
		lines []string
	}{
		{"directive", []string{"$TTL 5"}},
		{"directive that makes many", []string{"$GENERATE 1-9 n$ A 192.0.2.$"}},
		{"two lines", []string{"a A 192.0.2.1\nb A 192.0.2.2"}},
		{"only a comment", []string{"; nothing"}},
		{"unknown type", []string{"a FOO bar"}},
		{"bad rdata", []string{"a MX ten mail"}},
		{"open parenthesis", []string{"a TXT ( \"x\""}},
		{"class", []string{"a CH TXT \"x\""}},
		{"SOA", []string{"@ SOA a b 1 2 3 4 5"}},
		{"NS at the apex", []string{"@ NS ns1.example.org."}},
		{"delegation", []string{"sub NS ns1.example.org."}},
		{"DNAME", []string{"sub DNAME example.org."}},
		{"signature", []string{"@ DNSKEY 256 3 8 AwEAAcw="}},
		{"outside", []string{"www.example.org. A 192.0.2.1"}},
		{"wildcard", []string{"* A 192.0.2.1"}},
		{"address of a service", []string{"proxy A 192.0.2.1"}},
		{"AAAA of a service", []string{"Proxy AAAA 2001:db8::1"}},
		{"SRV of a service", []string{"_sip._udp SRV 10 10 5060 n1"}},
		{"NAPTR at the apex", []string{`@ NAPTR 5 5 "s" "SIP+D2S" "" _sip._sctp`}},
		{"CNAME at the apex", []string{"@ CNAME example.org."}},
		{"CNAME and more", []string{"a CNAME b", "a A 192.0.2.1"}},
		{"more and CNAME", []string{"a TXT x", "a CNAME b"}},
		{"two CNAMEs", []string{"a CNAME b", "a CNAME c"}},
		{"twice", []string{"a A 192.0.2.1", "A 60 IN A 192.0.2.1"}},
		{"more than resolvers take", many},
		{"alias of itself", []string{"a CNAME a"}},
		{"the name of a slot", []string{"0000.sip-proxy.lookup A 192.0.2.1"}},
		{"a name in front of a slot", []string{"x.0000.sip-proxy.Lookup TXT x"}},
	} {
		t.Run(c.why, func(t *testing.T) {
			cfg := zone.DefaultConfig("example.net")
			cfg.Static = c.lines
			p := cfg.Validate()
			if len(p) != 1 {
				t.Fatalf("problems %v, want one", p)
			}
			if want := "static[" + string(rune('0'+len(c.lines)-1)) + "]"; len(c.lines) < 10 && p[0].Key != want {
				t.Errorf("problem at %s, want %s", p[0].Key, want)
			}
		})
	}
	cfg := zone.DefaultConfig("example.net")
	cfg.Static = []string{"@ A 192.0.2.80", "@ TXT x", "proxy TXT x", "a TYPE666 \\# 2 0102", "_443._tcp.www TLSA 3 1 1 00"}
	if p := cfg.Validate(); len(p) > 0 {
		t.Errorf("harmless records: %v", p)
	}
}

func TestAliasesThatLeadNowhereAreRefused(t *testing.T) {
	long := []string{}
	for i := range 17 {
		long = append(long, fmt.Sprintf("a%d CNAME a%d", i, i+1))
	}
	for what, c := range map[string]struct {
		lines []string
		keys  string
	}{
		"a circle":              {[]string{"a CNAME b", "b CNAME c", "c CNAME a"}, "static[0] static[1] static[2]"},
		"a way into a circle":   {[]string{"a CNAME b", "b CNAME c", "c CNAME b"}, "static[0] static[1] static[2]"},
		"more than 16":          {long, "static[0]"},
		"16":                    {long[1:], ""},
		"out of the zone, back": {[]string{"a CNAME b.example.org.", "c CNAME a"}, ""},
	} {
		cfg := zone.DefaultConfig("example.net")
		cfg.Static = c.lines
		var keys []string
		for _, p := range cfg.Validate() {
			keys = append(keys, p.Key)
		}
		if got := strings.Join(keys, " "); got != c.keys {
			t.Errorf("%s: problems at %q, want %q", what, got, c.keys)
		}
	}
}

func TestNameServersWithoutAddressAreRefused(t *testing.T) {
	for ns, want := range map[string]string{
		"ns1.example.net": "", "ns1.thor-dnsmanager.example.net": "", "ns1.proxy.example.net": "", "ns.example.org": "", "ns.of.example.net": "",
		"example.net":          "has no address",
		"ns.under.example.net": "has no address",
		"alias.example.net":    "is a CNAME",
		"alias.of.example.net": "is a CNAME",
	} {
		cfg := zone.DefaultConfig("example.net")
		cfg.NameServers = []string{ns}
		cfg.Static = []string{"ns.of AAAA 2001:db8::1", "alias CNAME ns1", "alias.of CNAME ns1", "ns.under TXT x"}
		p := cfg.Validate()
		if want == "" && len(p) > 0 || want != "" && (len(p) != 1 || p[0].Key != "ns[0]" || !strings.Contains(p[0].Text, want)) {
			t.Errorf("%s: %v, want %q", ns, p, want)
		}
	}
}

func FuzzStatic(f *testing.F) {
	for _, s := range []string{"www A 192.0.2.1", "$INCLUDE x", "@ TXT \"a\\\"b\"", "a\\.b 5 CNAME c", "( ) ;", "x TYPE1 \\# 4 01020304", "HTTPS 1 . alpn=h2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		cfg := zone.DefaultConfig("example.net")
		cfg.Static = []string{line}
		_ = cfg.Digest()
		if len(cfg.Validate()) > 0 {
			return
		}
		z, err := zone.Build(cfg, status(1))
		if err != nil {
			t.Fatalf("valid, but: %v", err)
		}
		_ = z.Text()
	})
}
