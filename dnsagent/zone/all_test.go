package zone_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// crowd has n proxies, and one voicemail server.
func crowd(n int) *subjects.Status {
	s := status(1)
	for i := range n {
		s.Put(subjects.SIPProxy, member(fmt.Sprintf("p%03d", i), fmt.Sprintf("10.0.%d.%d 2001:db8::%x", i/250, 1+i%250, i+1)))
	}
	s.Put(subjects.VoicemailServer, member("v1", "192.0.2.9"))
	return s
}

func TestAllMembersAreFoundPageByPage(t *testing.T) {
	s := crowd(250)
	drain := s.Member(subjects.SIPProxy, "p007")
	drain.State = subjects.Draining
	z := build(t, zone.DefaultConfig("example.net"), s)
	for _, qtype := range []string{"A", "AAAA", "SRV"} {
		front := map[bool]string{true: "_sip._udp", false: "proxy"}[qtype == "SRV"]
		seen := make(map[string]bool)
		for page, want := range []int{100, 100, 49} {
			name := front + ".all.example.net"
			if page > 0 {
				name = fmt.Sprintf("%s.%d.all.example.net", front, page+1)
			}
			a := ask(t, z, name, qtype)
			if len(a.Answer) != want || !a.Whole || !a.Authoritative {
				t.Fatalf("%s %s: %d records, whole: %v; want %d", name, qtype, len(a.Answer), a.Whole, want)
			}
			for _, rr := range a.Answer {
				if h := rr.Header(); h.Name != name+"." || h.Ttl != 10 || seen[rr.String()[len(h.String()):]] {
					t.Errorf("record %v", rr)
				}
				seen[rr.String()[len(rr.Header().String()):]] = true
			}
			if glue := len(a.Additional); (qtype == "SRV") != (glue == 2*want) {
				t.Errorf("%s: %d addresses beside the answer", name, glue)
			}
		}
		if len(seen) != 249 {
			t.Errorf("%s: %d members of 249", qtype, len(seen))
		}
	}
	if a := ask(t, z, "proxy.example.net", "A"); len(a.Answer) != 4 || a.Whole {
		t.Errorf("the name itself: %+v", a)
	}
	if slices.ContainsFunc(z.Names(), func(n string) bool { return n == "proxy.all.example.net." }) {
		t.Error("the name is written down")
	}
}

func TestNamesOfAllMembersThatExistAndThatDoNot(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Services = append(cfg.Services, zone.Service{Role: "test_two", Host: "2"})
	cfg.Static = []string{"www A 192.0.2.80", "_x._udp TXT x"}
	s := crowd(101)
	s.Put("own_role", member("o1", "198.51.100.1"))
	s.Put("test_two", member("o2", "198.51.100.2"))
	z := build(t, cfg, s)
	wantSet(t, "a role of one's own", ask(t, z, "own-role.all.example.net", "A").Answer, "198.51.100.1")
	wantSet(t, "a role whose name is a number", ask(t, z, "2.all.example.net", "A").Answer, "198.51.100.2")
	if n := len(ask(t, z, "proxy.2.all.example.net", "A").Answer); n != 1 {
		t.Errorf("page 2 has %d records", n)
	}
	for _, name := range []string{"all", "_udp.all", "_udp.2.all", "_sip._udp.all", "xcap.all", "proxy.all"} {
		wantNegative(t, ask(t, z, name+".example.net", "TXT"), dns.RcodeSuccess)
	}
	for _, name := range []string{
		"www.all", "p001.all", "1.all", "3.all", "02.all", "proxy.1.all", "proxy.3.all", "xcap.2.all", "_tcp.3.all", "v1.voicemail.all",
		"all.all", "a.proxy.all", "proxy.2.2.all", "_xcap._tcp.2.all", "_x._udp.all",
	} {
		wantNegative(t, ask(t, z, name+".example.net", "A"), dns.RcodeNameError)
	}
	z = build(t, zone.DefaultConfig("example.net"), status(1))
	wantNegative(t, ask(t, z, "proxy.all.example.net", "A"), dns.RcodeSuccess) // a role without members
	wantNegative(t, ask(t, z, "2.all.example.net", "A"), dns.RcodeNameError)
}

func TestNoOtherNamesAreBelowThoseOfAllMembers(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Services = append(cfg.Services, zone.Service{Role: "test_all", Host: "all"})
	cfg.Static = []string{"all A 192.0.2.1", "proxy.all A 192.0.2.1", "tall A 192.0.2.1"}
	var keys []string
	for _, p := range cfg.Validate() {
		keys = append(keys, p.Key)
	}
	slices.Sort(keys)
	if !slices.Equal(keys, []string{"service[7].host", "static[0]", "static[1]"}) {
		t.Errorf("problems with %v", keys)
	}
}
