package powerdns_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"thor/dnsagent/powerdns"
	"thor/dnsagent/powerdns/plan"
	"thor/dnsagent/zone"
	"thor/provisioning/store/mariadbtest"
	"thor/subjects"
)

// populate makes members of several roles, some with weights and both families.
func populate(n *network, proxies int) {
	for i := range proxies {
		n.put(subjects.SIPProxy, fmt.Sprintf("p%03d", i), 0, fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("2001:db8::%x", i+1))
	}
	for i := range 7 {
		n.put(subjects.MediaRelay, fmt.Sprintf("r%d", i), 50+i*100, fmt.Sprintf("198.51.100.%d", i+1))
	}
	n.put(subjects.XCAPServer, "x1", 0, "203.0.113.1")
	n.put("chat_room", "p001", 0, "203.0.113.77")
	n.put(subjects.DNSManager, "ns1", 0, "203.0.113.53")
	n.put(subjects.DNSManager, "ns2", 0, "203.0.113.54", "2001:db8::53")
}

// allowed compares an answer of PowerDNS with the zone: the same set, or as many
// members of it as an answer has.
func allowed(p *pdns, z *zone.Zone) error {
	names := make(map[string]map[uint16]zone.RRset)
	for _, name := range z.Names() {
		names[name] = make(map[uint16]zone.RRset)
	}
	for s := range z.RRsets() {
		names[s.Name][s.Type] = s
	}
	for name, sets := range names {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeCAA, dns.TypeTLSA, dns.TypeHTTPS, dns.TypePTR, dns.TypeSSHFP, dns.TypeLOC, dns.TypeURI} {
			if sets[dns.TypeCNAME].Records != nil {
				qtype = dns.TypeCNAME
			}
			r, err := p.ask(name, qtype)
			if err != nil {
				return fmt.Errorf("%s %s: %w", name, dns.Type(qtype), err)
			}
			if err := compare(r, sets[qtype]); err != nil {
				return fmt.Errorf("%s %s: %w", name, dns.Type(qtype), err)
			}
		}
	}
	return nil
}

func compare(r *dns.Msg, s zone.RRset) error {
	if r.Rcode != dns.RcodeSuccess || !r.Authoritative {
		return fmt.Errorf("%s, authoritative %v", dns.RcodeToString[r.Rcode], r.Authoritative)
	}
	texts := func(rrs []dns.RR) (out []string) {
		for _, rr := range rrs {
			out = append(out, rr.String())
		}
		slices.Sort(out)
		return out
	}
	got, want := texts(r.Answer), texts(s.Records)
	if s.Slice == 0 {
		if !slices.Equal(got, want) {
			return fmt.Errorf("%q, want %q", got, want)
		}
		return nil
	}
	if len(got) != min(s.Slice, len(want)) || len(slices.Compact(slices.Clone(got))) != len(got) {
		return fmt.Errorf("%q, want %d of %q", got, s.Slice, want)
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			return fmt.Errorf("%s is not in %q", g, want)
		}
	}
	return nil
}

// static are records of every kind that a configuration may have.
var static = []string{
	"@ MX 10 mail", "@ MX 20 mail.example.org.", "mail A 192.0.2.25", `@ TXT "v=spf1 mx -all"`, `txt TXT "a \"quoted\" \\ ; text" "and \195\164 another"`,
	"long TXT " + `"` + strings.Repeat("x", 255) + `" "` + strings.Repeat("y", 200) + `"`,
	"www CNAME proxy", "out CNAME www.example.org.", `@ CAA 0 issue "ca.example.org"`, "_443._tcp.www2 TLSA 3 1 1 " + strings.Repeat("ab", 32),
	"web HTTPS 1 . alpn=h2", "ptr PTR host.example.org.", "ssh SSHFP 4 2 " + strings.Repeat("cd", 32), `_ftp._tcp URI 10 1 "ftp://ftp.example.org/public"`,
	"place LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", "_stun._udp SRV 10 0 3478 relay", "a.b.c AAAA 2001:db8::c",
}

func TestPowerDNSAnswersFromTheSameSets(t *testing.T) {
	for _, mode := range []plan.Mode{plan.Lua, plan.Rotate} {
		t.Run(string(mode), func(t *testing.T) {
			d := newDatabase(t, mariadbtest.Shared(t))
			p := startPDNS(t, d)
			w := run(t, d, func(c *powerdns.Config) { beside(p)(c); c.Mode = mode })
			n := newNetwork(t, func(c *zone.Config) { c.Static = static })
			populate(n, 12)
			for round := range 4 {
				switch round {
				case 1:
					n.status.Remove(subjects.SIPProxy, "p003")
					n.put(subjects.SIPProxy, "p099", 300, "192.0.2.99")
				case 2: // an empty role
					n.status.Remove(subjects.XCAPServer, "x1")
				case 3:
					for i := range 11 {
						n.status.Remove(subjects.SIPProxy, subjects.NodeID(fmt.Sprintf("p%03d", i)))
					}
				}
				z := n.zone()
				w.Offer(z, true)
				eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
				eventually(t, "all answers are of the zone", func() error { return allowed(p, z) })
			}
			if f := w.Faults(); len(f) > 0 {
				t.Errorf("faults: %q", f)
			}
			if lua := d.rows("SELECT COUNT(*) FROM records WHERE type = 'LUA'") != "0"; lua != (mode == plan.Lua) {
				t.Errorf("LUA records: %v", lua)
			}
		})
	}
}

// Each answer is drawn: the same question has other answers.
func TestEachAnswerIsDrawn(t *testing.T) {
	t.Parallel() // it waits, mostly
	d := newDatabase(t, mariadbtest.Shared(t))
	p := startPDNS(t, d)
	w := run(t, d, beside(p))
	n := newNetwork(t, nil)
	weights := []int{10, 10, 10, 300, 10, 10, 10, 10}
	for i, weight := range weights {
		n.put(subjects.SIPProxy, fmt.Sprintf("p%d", i), 0, fmt.Sprintf("192.0.2.%d", i+1))
		n.put(subjects.MediaRelay, fmt.Sprintf("r%d", i), weight, fmt.Sprintf("198.51.100.%d", i+1))
	}
	z := n.zone()
	w.Offer(z, true)
	eventually(t, "the zone is there", func() error { return p.has(z.Serial()) })
	const asks = 500
	for _, host := range []string{"proxy", "relay"} {
		got, want := make(map[string]float64), make(map[string]float64)
		c := &dns.Client{Net: "udp"}
		conn, err := c.Dial(p.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		for range asks {
			r, _, err := c.ExchangeWithConn(new(dns.Msg).SetQuestion(host+".example.net.", dns.TypeA), conn)
			if err != nil || len(r.Answer) != 4 {
				t.Fatalf("%s: %v, %v", host, err, r)
			}
			for _, rr := range r.Answer {
				got[rr.(*dns.A).A.String()]++
			}
		}
		_ = conn.Close()
		rng := rand.New(rand.NewPCG(1, 2))
		var a zone.Answer
		const draws = 200_000
		for range draws {
			z.Lookup(host+".example.net.", dns.TypeA, rng, &a)
			for _, rr := range a.Answer {
				want[rr.(*dns.A).A.String()] += float64(asks) / draws
			}
		}
		chi := 0.0
		for addr, e := range want {
			chi += (got[addr] - e) * (got[addr] - e) / (e * (1 - e/asks))
		}
		// 8 counts, each nearly normal and together dependent: more than 35 is less likely than 1 in 10,000.
		if chi > 35 {
			t.Errorf("%s: χ² %.1f: drawn %v, by the name server %v", host, chi, got, want)
		}
	}
}
