package zone_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/overlay/lookup"
	"thor/subjects"
)

// hashed is a network with lookup tables of two roles.
func hashed() *subjects.Status {
	s := status(9)
	for i := range 5 {
		m := member(fmt.Sprintf("p%d", i), fmt.Sprintf("192.0.2.%d 2001:db8::%d", i+1, i+1))
		m.Weight = 100
		s.Put(subjects.SIPProxy, m)
		m = member(fmt.Sprintf("o%d", i), fmt.Sprintf("198.51.100.%d", i+1))
		m.Weight = 100
		s.Put("own_role", m)
	}
	s.Put(subjects.MediaRelay, member("r1", "203.0.113.1"))
	s.Lookup = map[subjects.Role]subjects.Lookup{
		subjects.SIPProxy: {Bits: 18, Digest: "0123456789abcdef"}, "own_role": {Bits: 10, Digest: "0123456789abcdef"},
	}
	return s
}

func TestSlotsAnswerWithOwnerThenHeir(t *testing.T) {
	s := hashed()
	z := build(t, zone.DefaultConfig("example.net"), s)
	table, err := lookup.New(18, lookup.Members(s.Roles[subjects.SIPProxy]))
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"alice@example.com", "bob@example.com", "carol@example.com"} {
		p, err := table.Find(key)
		if err != nil {
			t.Fatal(err)
		}
		owner, heir := s.Member(subjects.SIPProxy, p.Owner()), s.Member(subjects.SIPProxy, p.Heir())
		name := lookup.Label(18, p.Slot()) + ".sip-proxy.lookup.example.net"
		wantSet(t, "A", ask(t, z, name, "A").Answer, owner.Addresses[0].String())
		wantSet(t, "AAAA", ask(t, z, name, "AAAA").Answer, owner.Addresses[1].String())
		wantSet(t, "NAPTR", ask(t, z, name, "NAPTR").Answer,
			`10 100 "s" "SIPS+D2T" "" _sips._tcp.`+name+".", `20 100 "s" "SIP+D2T" "" _sip._tcp.`+name+".", `30 100 "s" "SIP+D2U" "" _sip._udp.`+name+".")
		for service, port := range map[string]int{"_sip._udp": 5060, "_sip._tcp": 5060, "_sips._tcp": 5061} {
			a := ask(t, z, service+"."+name, "SRV")
			wantSet(t, service, a.Answer, fmt.Sprintf("10 100 %d %s.example.net.", port, owner.Node), fmt.Sprintf("20 100 %d %s.example.net.", port, heir.Node))
			wantSet(t, "glue", a.Additional, owner.Addresses[0].String(), owner.Addresses[1].String(), heir.Addresses[0].String(), heir.Addresses[1].String())
			for _, rr := range a.Answer {
				if h := rr.Header(); h.Name != service+"."+name+"." || h.Ttl != 10 {
					t.Errorf("header %v", h)
				}
			}
		}
		if upper := ask(t, z, strings.ToUpper(name), "A"); len(upper.Answer) != 1 {
			t.Errorf("in upper case: %+v", upper)
		}
	}
	// A role of one's own has no services: addresses alone.
	own, err := lookup.New(10, lookup.Members(s.Roles["own_role"]))
	if err != nil {
		t.Fatal(err)
	}
	p, _ := own.At(1023)
	wantSet(t, "own role", ask(t, z, "vv.own-role.lookup.example.net", "A").Answer, s.Member("own_role", p.Owner()).Address().String())
	wantNegative(t, ask(t, z, "_sip._udp.vv.own-role.lookup.example.net", "SRV"), dns.RcodeNameError)
}

func TestSlotNamesThatExistAndThatDoNot(t *testing.T) {
	s := hashed()
	z := build(t, zone.DefaultConfig("example.net"), s)
	for _, name := range []string{
		"lookup", "sip-proxy.lookup", "own-role.lookup", "_udp.0000.sip-proxy.lookup", "voicemail-server.lookup",
		"0000.voicemail-server.lookup",
	} {
		wantNegative(t, ask(t, z, name+".example.net", "A"), dns.RcodeSuccess)
	}
	wantNegative(t, ask(t, z, "0000.sip-proxy.lookup.example.net", "MX"), dns.RcodeSuccess)
	for _, name := range []string{
		"8000.sip-proxy.lookup", "000.sip-proxy.lookup", "00000.sip-proxy.lookup", "000w.sip-proxy.lookup", "x.0000.sip-proxy.lookup",
		"_sip._sctp.0000.sip-proxy.lookup", "_sip.0000.sip-proxy.lookup", "a._sip._udp.0000.sip-proxy.lookup", "0000.none.lookup", "lookup.lookup", "0000.thor-manager.lookup",
		`00\.00.sip-proxy.lookup`, "_udp.00.own-role.lookup", // without services
	} {
		wantNegative(t, ask(t, z, name+".example.net", "A"), dns.RcodeNameError)
	}

	// All drain: the name is not denied, nobody is named.
	for i := range s.Roles[subjects.SIPProxy] {
		s.Roles[subjects.SIPProxy][i].State = subjects.Draining
	}
	z = build(t, zone.DefaultConfig("example.net"), s)
	wantNegative(t, ask(t, z, "0000.sip-proxy.lookup.example.net", "A"), dns.RcodeSuccess)
	wantNegative(t, ask(t, z, "_sip._udp.0000.sip-proxy.lookup.example.net", "SRV"), dns.RcodeSuccess)
	// Nobody is in the role: the same.
	delete(s.Roles, subjects.SIPProxy)
	delete(s.Lookup, subjects.SIPProxy)
	z = build(t, zone.DefaultConfig("example.net"), s)
	wantNegative(t, ask(t, z, "0000.sip-proxy.lookup.example.net", "A"), dns.RcodeSuccess)
	wantNegative(t, ask(t, z, "_sip._udp.0000.sip-proxy.lookup.example.net", "SRV"), dns.RcodeSuccess)
	wantNegative(t, ask(t, z, "www.sip-proxy.lookup.example.net", "A"), dns.RcodeNameError)
}

// A member that is the only one has no heir; one whose node is more than the
// role is found at a name of its own.
func TestSlotTargetsHaveTheAddressesOfTheRole(t *testing.T) {
	s := status(1)
	m := member("p0", "192.0.2.1")
	m.Weight = 100
	s.Put(subjects.SIPProxy, m)
	s.Put(subjects.MediaRelay, member("p0", "192.0.2.77"))
	s.Lookup = map[subjects.Role]subjects.Lookup{subjects.SIPProxy: {Bits: 18, Digest: "0123456789abcdef"}}
	z := build(t, zone.DefaultConfig("example.net"), s)
	a := ask(t, z, "_sip._udp.0000.sip-proxy.lookup.example.net", "SRV")
	wantSet(t, "SRV", a.Answer, "10 100 5060 p0.proxy.example.net.")
	wantSet(t, "glue", a.Additional, "192.0.2.1")
	wantSet(t, "A", ask(t, z, "0000.sip-proxy.lookup.example.net", "A").Answer, "192.0.2.1")
}

func BenchmarkSlot(b *testing.B) {
	s := hashed()
	for i := range 100 {
		m := member(fmt.Sprintf("x%d", i), fmt.Sprintf("192.0.2.%d", i+10))
		m.Weight = 100
		s.Put(subjects.SIPProxy, m)
	}
	z := build(b, zone.DefaultConfig("example.net"), s)
	r := rng()
	var a zone.Answer
	for b.Loop() {
		z.Lookup("_sip._udp.0123.sip-proxy.lookup.example.net.", dns.TypeSRV, r, &a)
	}
}

// Where members stand in several sites the remote comes after the heir, unless it is that.
func TestSlotsAnswerWithTheRemoteToo(t *testing.T) {
	s := hashed()
	for i := range s.Roles[subjects.SIPProxy] {
		s.Roles[subjects.SIPProxy][i].Site = []subjects.Site{"ams", "ams", "fra"}[i%3]
	}
	without := build(t, zone.DefaultConfig("example.net"), s)
	s.Lookup[subjects.SIPProxy] = subjects.Lookup{Bits: 18, Digest: "0123456789abcdef", RemoteDigest: "0123456789abcdef"}
	z := build(t, zone.DefaultConfig("example.net"), s)
	table, err := lookup.New(18, lookup.Members(s.Roles[subjects.SIPProxy]))
	if err != nil {
		t.Fatal(err)
	}
	three := 0
	for slot := range uint32(64) {
		p, err := table.At(slot)
		if err != nil {
			t.Fatal(err)
		}
		name := "_sip._udp." + lookup.Label(18, slot) + ".sip-proxy.lookup.example.net"
		want := []string{fmt.Sprintf("10 100 5060 %s.example.net.", p.Owner()), fmt.Sprintf("20 100 5060 %s.example.net.", p.Heir())}
		wantSet(t, "without remotes", ask(t, without, name, "SRV").Answer, want...)
		if p.Remote() != p.Heir() {
			want = append(want, fmt.Sprintf("30 100 5060 %s.example.net.", p.Remote()))
			three++
		}
		wantSet(t, name, ask(t, z, name, "SRV").Answer, want...)
	}
	if three == 0 || three == 64 {
		t.Errorf("%d of 64 slots have a remote that is not the heir: the test says little", three)
	}
}
