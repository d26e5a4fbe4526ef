package compare

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func texts(ds []Difference) (out []string) {
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%s %s: %s", d.Kind, d.Where, d.Text))
	}
	return out
}

func wantTexts(t *testing.T, got []Difference, want ...string) {
	t.Helper()
	if g, w := strings.Join(texts(got), "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("differences\n%s\nwant\n%s", g, w)
	}
}

func TestServersAreComparedWithTheFirstThatIsCurrent(t *testing.T) {
	a, key := Question{"proxy.all.example.net.", dns.TypeA}, Question{"example.net.", dns.TypeDNSKEY}
	sets := func(proxies, keys string) map[Question][]string {
		return map[Question][]string{a: strings.Fields(proxies), key: strings.Fields(keys)}
	}
	server := func(n string) Server { return Server{n, n + ":53"} }
	wantTexts(t, Servers([]Answers{
		{Server: server("dns1"), Err: errors.New("timeout")},
		{Server: server("dns2"), Serial: 7, Behind: 3},
		{Server: server("dns3"), Serial: 10, Sets: sets("1 2 3", "k")},
		{Server: server("dns4"), Serial: 10, Sets: sets("1 2 3", "k")},
		{Server: server("dns5"), Serial: 10, Sets: sets("1 3 4", "other")},
		{Server: server("dns6"), Serial: 10, Sets: sets("1 2 3 4 5 6 7 8 9", "k")},
		{Server: server("dns7"), Serial: 11, Moved: true},
	}),
		"unreachable dns1: dns1:53: timeout",
		"behind dns2: its serial is 7, 3 behind the newest",
		"keys dns5: example.net. DNSKEY lacks k, which dns3 has; has other, which dns3 lacks",
		"records dns5: proxy.all.example.net. A lacks 2, which dns3 has; has 4, which dns3 lacks",
		"records dns6: proxy.all.example.net. A has 4, 5, 6, 7, 8 and 1 more, which dns3 lacks",
		"unknown dns7: its zone changed again and again while it was asked: its records were not compared",
	)
	wantTexts(t, Servers(nil))
}

// dnskey is a key by name.
func dnskey(name byte) *dns.DNSKEY {
	return &dns.DNSKEY{
		Hdr:   dns.RR_Header{Name: "example.net.", Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: 3600},
		Flags: 257, Protocol: 3, Algorithm: 13, PublicKey: strings.Repeat(string(name), 86) + "==",
	}
}

func ds(of ...*dns.DNSKEY) (out []*dns.DS) {
	for _, k := range of {
		out = append(out, k.ToDS(dns.SHA256))
	}
	return out
}

func TestTheParentIsComparedWithTheZone(t *testing.T) {
	one, two := dnskey('A'), dnskey('B')
	z := Zone{
		NS:        []string{"ns1.example.net.", "ns2.example.net.", "ns3.example.org."},
		Addresses: map[string][]string{"ns1.example.net.": {"192.0.2.1"}, "ns2.example.net.": {"192.0.2.2", "2001:db8::2"}},
	}
	good := func(of ...*dns.DNSKEY) Referral {
		return Referral{Server: Server{Name: "p"}, NS: z.NS, Glue: z.Addresses, DS: ds(of...)}
	}
	signed := z
	signed.Keys = []*dns.DNSKEY{one, two}
	wantTexts(t, Parent(z, []Referral{good()}))
	for _, r := range []Referral{good(one), good(two), good(one, two)} {
		wantTexts(t, Parent(signed, []Referral{r}))
	}
	wantTexts(t, Parent(signed, []Referral{good()}), "ds parent p: no DS, and the zone is signed: its signatures prove nothing")
	signed.Keys = []*dns.DNSKEY{one}
	wantTexts(t, Parent(signed, []Referral{good(one, two)}), fmt.Sprintf("ds parent p: DS of key %d, which the zone does not have", two.KeyTag()))
	wantTexts(t, Parent(z, []Referral{good(one)}), fmt.Sprintf("ds parent p: DS of key %d, which the zone does not have", one.KeyTag()),
		"ds parent p: no DS is of a key of the zone: who validates gets no answer")
	wantTexts(t, Parent(z, []Referral{
		{Server: Server{"q", "q:53"}, Err: errors.New("timeout")},
		{Server: Server{Name: "p"}, NS: []string{"ns1.example.net.", "ns3.example.org.", "old.example.org."}, Glue: map[string][]string{"ns1.example.net.": {"192.0.2.9"}}},
	}), "unknown parent q: q:53: timeout",
		"delegation parent p: NS lacks ns2.example.net., which the zone has; has old.example.org., which the zone lacks",
		"glue parent p: ns1.example.net. lacks 192.0.2.1, which the zone has; has 192.0.2.9, which the zone lacks")
}

// listen takes a port that is free for TCP and UDP alike.
func listen(t *testing.T) (l net.Listener, pc net.PacketConn) {
	t.Helper()
	var err error
	for range 20 {
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		if pc, err = net.ListenPacket("udp", l.Addr().String()); err == nil {
			return l, pc
		}
		_ = l.Close()
	}
	t.Fatal(err)
	return nil, nil
}

// serve answers by a zone file, and delegates what has NS records below the apex. It fails to answer some.
func serve(t *testing.T, apex, records string, fails ...Question) string {
	t.Helper()
	var all []dns.RR
	for p := dns.NewZoneParser(strings.NewReader(records), apex, ""); ; {
		rr, ok := p.Next()
		if !ok {
			if p.Err() != nil {
				t.Fatal(p.Err())
			}
			break
		}
		all = append(all, rr)
	}
	match := func(name string, types ...uint16) (out []dns.RR) {
		for _, rr := range all {
			for _, of := range types {
				if rr.Header().Name == name && rr.Header().Rrtype == of {
					out = append(out, rr)
				}
			}
		}
		return out
	}
	handle := func(w dns.ResponseWriter, q *dns.Msg) {
		r, at := new(dns.Msg).SetReply(q), q.Question[0]
		name := strings.ToLower(at.Name)
		r.Answer = match(name, at.Qtype)
		if ns := match(name, dns.TypeNS); at.Qtype == dns.TypeNS && name != apex && len(ns) > 0 && !q.RecursionDesired {
			r.Answer, r.Ns = nil, ns
			for _, rr := range ns {
				r.Extra = append(r.Extra, match(rr.(*dns.NS).Ns, dns.TypeA, dns.TypeAAAA)...)
			}
		}
		if slices.Contains(fails, Question{name, at.Qtype}) {
			r = new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
		}
		r.Authoritative = true
		_ = w.WriteMsg(r)
	}
	l, pc := listen(t)
	for _, s := range []*dns.Server{{PacketConn: pc}, {Listener: l}} {
		up := make(chan struct{})
		s.Handler, s.NotifyStartedFunc = dns.HandlerFunc(handle), func() { close(up) }
		ended := make(chan struct{})
		go func() { defer close(ended); _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown(); <-ended })
	}
	return pc.LocalAddr().String()
}

const child = `@ 60 SOA ns1 hostmaster 7 1 1 1 1
@ 60 NS ns1
@ 60 NS ns2
ns1 60 A 192.0.2.1
ns2 60 A 192.0.2.2
@ 60 DNSKEY 257 3 13 ` + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==\n"

func TestAParentIsAskedForItsReferral(t *testing.T) {
	of := serve(t, "example.net.", child)
	parent := serve(t, "net.", `@ 60 NS a.gtld
example 60 NS ns1.example
example 60 NS ns2.example
ns1.example 60 A 192.0.2.1
ns2.example 60 A 192.0.2.77
`+dnskey('A').ToDS(dns.SHA256).String()+"\n")
	got, referrals := CheckParent(t.Context(), "example.net.", of, "", []Server{{"p", parent}})
	wantTexts(t, got, "glue parent p: ns2.example.net. lacks 192.0.2.2, which the zone has; has 192.0.2.77, which the zone lacks")
	if len(referrals) != 1 || referrals[0].Err != nil || len(referrals[0].DS) != 1 {
		t.Errorf("%+v", referrals)
	}
	got, _ = CheckParent(t.Context(), "example.net.", of, "", []Server{{"p", serve(t, "net.", "@ 60 NS a.gtld\n")}})
	if len(got) != 1 || got[0].Kind != Delegation || !strings.Contains(got[0].Text, "does not delegate") {
		t.Errorf("%v", got)
	}
}

func TestWhatAServerFailsToAnswerIsUnknown(t *testing.T) {
	const delegation = "example 60 NS ns1.example\nexample 60 NS ns2.example\nns1.example 60 A 192.0.2.1\nns2.example 60 A 192.0.2.2\n"
	of := func(rtype uint16) Question { return Question{"example.net.", rtype} }
	sound := delegation + "example 60 IN " + strings.TrimPrefix(dnskey('A').ToDS(dns.SHA256).String(), "example.net.\t3600\tIN\t") + "\n"
	for what, c := range map[string]struct{ zone, parent []Question }{
		"DS":     {nil, []Question{of(dns.TypeDS)}},
		"NS":     {[]Question{of(dns.TypeNS)}, nil},
		"DNSKEY": {[]Question{of(dns.TypeDNSKEY)}, nil},
		"glue":   {[]Question{{"ns2.example.net.", dns.TypeA}}, nil},
		"":       {},
	} {
		got, _ := CheckParent(t.Context(), "example.net.", serve(t, "example.net.", child, c.zone...), "", []Server{{"p", serve(t, "net.", sound, c.parent...)}})
		if what == "" {
			wantTexts(t, got)
		} else if len(got) != 1 || got[0].Kind != Unknown || !strings.Contains(got[0].Text, "SERVFAIL") {
			t.Errorf("%s: %v", what, got)
		}
	}
	resolver := serve(t, ".", "net. 60 NS a.gtld.example.\na.gtld.example. 60 A 192.0.2.40\n", of(dns.TypeNS))
	if got, err := FindParent(t.Context(), resolver, "sip.example.net."); err == nil {
		t.Errorf("%v, though the zone above may be one that the resolver failed to find", got)
	}
}

func TestTheParentIsFoundAboveTheDomain(t *testing.T) {
	resolver := serve(t, ".", "net. 60 NS a.gtld.example.\na.gtld.example. 60 A 192.0.2.40\na.gtld.example. 60 AAAA 2001:db8::40\n")
	for _, domain := range []string{"example.net.", "sip.example.net."} {
		got, err := FindParent(t.Context(), resolver, domain)
		if want := "[{a.gtld.example. 192.0.2.40:53} {a.gtld.example. [2001:db8::40]:53}]"; err != nil || fmt.Sprint(got) != want {
			t.Errorf("%s: %v, %v", domain, got, err)
		}
	}
	if got, err := FindParent(t.Context(), resolver, "example.org."); err == nil {
		t.Errorf("the parent of a domain without: %v", got)
	}
}
