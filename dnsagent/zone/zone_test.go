package zone_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write the golden files")

// network2009 is a network in the likeness of the screen of the SIP Thor
// description: five roles on 81.23.228.150, three proxies, three databases.
func network2009(t testing.TB) *subjects.Status {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "sipthor-2009.json"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := subjects.ParseStatus(b)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func build(t testing.TB, cfg zone.Config, s *subjects.Status) *zone.Zone {
	t.Helper()
	z, err := zone.Build(cfg, s)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func status(generation uint64) *subjects.Status {
	return &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: generation}
}

func member(node, addr string) subjects.Member {
	m := subjects.Member{Node: subjects.NodeID(node), State: subjects.Up}
	for a := range strings.FieldsSeq(addr) {
		m.Addresses = append(m.Addresses, netip.MustParseAddr(a))
	}
	return m
}

func rng() *rand.Rand { return rand.New(rand.NewPCG(2009, 920)) }

func ask(t testing.TB, z *zone.Zone, name, qtype string) *zone.Answer {
	t.Helper()
	var a zone.Answer
	z.Lookup(dns.Fqdn(name), dns.StringToType[qtype], rng(), &a)
	return &a
}

// texts is the rdata of rrs, sorted.
func texts(rrs []dns.RR) []string {
	var out []string
	for _, rr := range rrs {
		out = append(out, strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out
}

func wantSet(t testing.TB, what string, rrs []dns.RR, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := texts(rrs); !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func wantNegative(t testing.TB, a *zone.Answer, rcode int) {
	t.Helper()
	if a.Rcode != rcode || !a.Authoritative || len(a.Answer) != 0 || len(a.Authority) != 1 {
		t.Fatalf("got %+v, want %s without records and with the SOA", a, dns.RcodeToString[rcode])
	}
	if soa, ok := a.Authority[0].(*dns.SOA); !ok || soa.Hdr.Ttl != min(3600, soa.Minttl) {
		t.Errorf("authority %v: want the SOA with the smaller of its TTL and MINIMUM", a.Authority)
	}
}

func TestZoneOfTheNetworkOf2009IsTheGoldenText(t *testing.T) {
	got := build(t, zone.DefaultConfig("sipthor.net"), network2009(t)).Text()
	golden := filepath.Join("testdata", "sipthor-2009.zone")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("zone differs from %s; got\n%s", golden, got)
	}
}

func TestThreeProxiesComeOutOfANameNeverAFourth(t *testing.T) {
	z := build(t, zone.DefaultConfig("sipthor.net"), network2009(t))
	r := rng()
	var a zone.Answer
	for range 200 {
		z.Lookup("proxy.sipthor.net.", dns.TypeA, r, &a)
		wantSet(t, "A", a.Answer, "81.23.228.129", "81.23.228.150", "85.17.186.6")
		z.Lookup("_sip._udp.sipthor.net.", dns.TypeSRV, r, &a)
		wantSet(t, "SRV", a.Answer, "10 100 5060 node01.sipthor.net.", "10 100 5060 node02.sipthor.net.", "10 100 5060 node03.sipthor.net.")
		wantSet(t, "glue", a.Additional, "81.23.228.129", "81.23.228.150", "85.17.186.6")
	}
}

func TestSameStatusAndConfigurationGiveTheSameBytes(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Static = []string{"www A 192.0.2.80", "@ TXT \"v=spf1 -all\"", "@ MX 10 mail.example.org.", "www AAAA 2001:db8::80"}
	other := cfg
	other.Services = slices.Clone(cfg.Services)
	slices.Reverse(other.Services)
	other.Static = slices.Clone(cfg.Static)
	slices.Reverse(other.Static)
	s := status(7)
	for i := range 300 {
		role := subjects.Role([]string{"sip_proxy", "media_relay", "chat_room", "thor_manager", "thor_dnsmanager"}[i%5])
		m := member(fmt.Sprintf("n%03d", i/2), fmt.Sprintf("10.0.%d.%d 2001:db8::%x", i/200, 1+i%200, i))
		m.Weight = i
		s.Put(role, m)
	}
	first := build(t, cfg, s).Text()
	for range 20 {
		if got := build(t, cfg, s.Clone()).Text(); got != first {
			t.Fatalf("two builds differ:\n%s\n%s", first, got)
		}
	}
	if got := build(t, other, s).Text(); got != first {
		t.Error("the order of lists in the configuration changes the zone")
	}
}

func TestSerialIsTheGeneration(t *testing.T) {
	for g, want := range map[uint64]string{1: "1", 1<<32 - 1: "4294967295", 1<<32 + 5: "5"} {
		a := ask(t, build(t, zone.DefaultConfig("example.net"), status(g)), "example.net", "SOA")
		wantSet(t, "SOA", a.Answer, "example.net. hostmaster.example.net. "+want+" 14400 3600 604800 10")
	}
}

func TestNameServersAreTheLiveOnesUnlessConfigured(t *testing.T) {
	s := status(1)
	up, suspect, draining := member("b", "192.0.2.2"), member("a", "192.0.2.1"), member("c", "192.0.2.3")
	suspect.State, draining.State = subjects.Suspect, subjects.Draining
	s.Put(subjects.DNSManager, draining)
	cfg := zone.DefaultConfig("example.net")
	a := ask(t, build(t, cfg, s), "example.net", "NS")
	wantSet(t, "NS while all of them drain", a.Answer, "c.example.net.")
	s.Put(subjects.DNSManager, up)
	s.Put(subjects.DNSManager, suspect)
	z := build(t, cfg, s)
	a = ask(t, z, "example.net", "NS")
	wantSet(t, "NS", a.Answer, "a.example.net.", "b.example.net.")
	wantSet(t, "glue", a.Additional, "192.0.2.1", "192.0.2.2")
	for i := range 20 {
		s.Put(subjects.DNSManager, member(fmt.Sprintf("x%02d", i), fmt.Sprintf("192.0.2.%d", 10+i)))
	}
	if a = ask(t, build(t, cfg, s), "example.net", "NS"); len(a.Answer) != zone.MaxNS {
		t.Errorf("%d name servers, want %d", len(a.Answer), zone.MaxNS)
	}
	cfg.NameServers = []string{"ns2.example.net", "NS1.example.org."}
	cfg.Static = []string{"ns2 A 192.0.2.53"}
	z = build(t, cfg, s)
	a = ask(t, z, "example.net", "NS")
	wantSet(t, "configured NS", a.Answer, "ns1.example.org.", "ns2.example.net.")
	wantSet(t, "glue of the one in the zone", a.Additional, "192.0.2.53")
	wantSet(t, "primary", ask(t, z, "example.net", "SOA").Answer, "ns1.example.org. hostmaster.example.net. 1 14400 3600 604800 10")
}

func TestNAPTRPrefersTLSThenTCPThenUDP(t *testing.T) {
	a := ask(t, build(t, zone.DefaultConfig("example.net"), status(1)), "example.net", "NAPTR")
	wantSet(t, "NAPTR", a.Answer, `10 100 "s" "SIPS+D2T" "" _sips._tcp.example.net.`,
		`20 100 "s" "SIP+D2T" "" _sip._tcp.example.net.`, `30 100 "s" "SIP+D2U" "" _sip._udp.example.net.`)
	if len(a.Additional) != 0 {
		t.Errorf("additional %v, want addresses only and there are none", a.Additional)
	}
}

func TestStatesDecideWhoIsServed(t *testing.T) {
	s := status(1)
	up, suspect, draining := member("up1", "192.0.2.1"), member("sus1", "192.0.2.2"), member("dra1", "192.0.2.3")
	suspect.State, draining.State = subjects.Suspect, subjects.Draining
	for _, m := range []subjects.Member{up, suspect, draining} {
		s.Put(subjects.SIPProxy, m)
	}
	s.Departed = []subjects.Departed{{Node: "gone1", Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.4")}}}
	z := build(t, zone.DefaultConfig("example.net"), s)
	wantSet(t, "proxy", ask(t, z, "proxy.example.net", "A").Answer, "192.0.2.1", "192.0.2.2")
	wantSet(t, "_sips._tcp", ask(t, z, "_sips._tcp.example.net", "SRV").Answer, "10 100 5061 sus1.example.net.", "10 100 5061 up1.example.net.")
	for node, addr := range map[string]string{"up1": "192.0.2.1", "sus1": "192.0.2.2", "dra1": "192.0.2.3", "gone1": "192.0.2.4"} {
		wantSet(t, node, ask(t, z, node+".example.net", "A").Answer, addr)
	}
}

func TestNamesThatExistWithoutRecordsAreNotDenied(t *testing.T) {
	s := status(1)
	only := member("n1", "192.0.2.1")
	only.State = subjects.Draining
	s.Put("chat_room", only)
	z := build(t, zone.DefaultConfig("example.net"), s)
	for _, q := range []struct{ name, qtype, why string }{
		{"proxy.example.net", "A", "service without members"},
		{"proxy.example.net", "AAAA", "service without members"},
		{"_sip._udp.example.net", "SRV", "service without members"},
		{"_voicemail._tcp.example.net", "SRV", "service without members"},
		{"relay.example.net", "ANY", "service without members"},
		{"eventserver.example.net", "A", "event servers are in DNS by default"},
		{"chat-room.example.net", "A", "role whose members all drain"},
		{"_udp.example.net", "A", "empty non-terminal"},
		{"_tcp.example.net", "ANY", "empty non-terminal"},
		{"n1.example.net", "AAAA", "no address of that family"},
		{"example.net", "TXT", "apex"},
		{"example.net", "DS", "apex, a question for the parent"},
		{"example.net", "RRSIG", "apex"},
	} {
		t.Run(q.name+" "+q.qtype, func(t *testing.T) {
			t.Log(q.why)
			wantNegative(t, ask(t, z, q.name, q.qtype), dns.RcodeSuccess)
		})
	}
}

func TestNamesThatDoNotExistAreDenied(t *testing.T) {
	s := status(1)
	s.Put(subjects.Manager, member("n1", "192.0.2.1"))
	z := build(t, zone.DefaultConfig("example.net"), s)
	for _, name := range []string{
		"www.example.net", "thor-manager.example.net", "thor-database.example.net", "sip-proxy.example.net",
		"x.proxy.example.net", "_udp._udp.example.net", "n1.n1.example.net", "chat-room.example.net", `a\.b.example.net`,
	} {
		wantNegative(t, ask(t, z, name, "A"), dns.RcodeNameError)
	}
}

func TestNamesOutsideAreRefused(t *testing.T) {
	z := build(t, zone.DefaultConfig("example.net"), status(1))
	for _, name := range []string{".", "net", "example.org", "xexample.net", "example.net.org", `x\.example.net`, `a\\\.example.net`} {
		if a := ask(t, z, name, "SOA"); a.Rcode != dns.RcodeRefused || a.Authoritative || len(a.Answer)+len(a.Authority) > 0 {
			t.Errorf("%s: %+v, want REFUSED and nothing else", name, a)
		}
	}
	if a := ask(t, z, `a\\.example.net`, "A"); a.Rcode != dns.RcodeNameError {
		t.Errorf("a label ending in a backslash is in the zone, got %+v", a)
	}
}

func TestNamesAreComparedWithoutCase(t *testing.T) {
	z := build(t, zone.DefaultConfig("SipThor.NET"), network2009(t))
	wantSet(t, "A", ask(t, z, "NoDe01.sIPthor.nEt", "A").Answer, "81.23.228.129")
}

func TestTheNetworksOwnRolesHaveTheNamesTheyAreGiven(t *testing.T) {
	s := status(1)
	s.Put(subjects.DNSManager, member("n1", "192.0.2.1"))
	s.Put(subjects.Database, member("n2", "192.0.2.2"))
	cfg := zone.DefaultConfig("example.net")
	cfg.Services = append(cfg.Services, zone.Service{Role: subjects.DNSManager, Host: "nameserver"})
	z := build(t, cfg, s)
	wantSet(t, "A", ask(t, z, "nameserver.example.net", "A").Answer, "192.0.2.1")
	wantNegative(t, ask(t, z, "thor-dnsmanager.example.net", "A"), dns.RcodeNameError)
	wantNegative(t, ask(t, z, "thor-database.example.net", "A"), dns.RcodeNameError)
}

func TestEveryOtherRoleAnswersAtItsOwnName(t *testing.T) {
	s := status(1)
	s.Put("chat_room", member("n1", "192.0.2.1 2001:db8::1"))
	s.Put("relay", member("n2", "192.0.2.2"))       // the name is media_relay's
	s.Put("thor_future", member("n3", "192.0.2.3")) // infrastructure of a later version
	s.Put("Not.A.Role", member("n4", "192.0.2.4"))  // no host label
	s.Put(subjects.MediaRelay, member("n5", "192.0.2.5"))
	z := build(t, zone.DefaultConfig("example.net"), s)
	wantSet(t, "A", ask(t, z, "chat-room.example.net", "A").Answer, "192.0.2.1")
	wantSet(t, "AAAA", ask(t, z, "chat-room.example.net", "AAAA").Answer, "2001:db8::1")
	wantSet(t, "relay", ask(t, z, "relay.example.net", "A").Answer, "192.0.2.5")
	wantNegative(t, ask(t, z, "thor-future.example.net", "A"), dns.RcodeNameError)
	for i := range 5 {
		if a := ask(t, z, fmt.Sprintf("n%d.example.net", i+1), "A"); len(a.Answer) != 1 {
			t.Errorf("n%d has no host name", i+1)
		}
	}
}

func TestEventServersAreFoundBySRV(t *testing.T) {
	s := status(1)
	s.Put(subjects.EventServer, member("e1", "192.0.2.1"))
	s.Put(subjects.EventServer, member("e2", "192.0.2.2"))
	a := ask(t, build(t, zone.DefaultConfig("example.net"), s), "_eventserver._tcp.example.net", "SRV")
	wantSet(t, "SRV", a.Answer, "10 100 8000 e1.example.net.", "10 100 8000 e2.example.net.")
	wantSet(t, "glue", a.Additional, "192.0.2.1", "192.0.2.2")
}

// An event server says at which port it listens; a proxy has several, which are
// configured.
func TestEventServersAreAtThePortTheyAnnounce(t *testing.T) {
	s := status(1)
	for i, p := range []string{"4222", "14222", "", "0", "65536", "x"} {
		m := member(fmt.Sprintf("e%d", i), fmt.Sprintf("192.0.2.%d", i+1))
		m.Attrs = subjects.Attrs{subjects.AttrPort: p}
		s.Put(subjects.EventServer, m)
		s.Put(subjects.SIPProxy, m)
	}
	cfg := zone.DefaultConfig("example.net")
	cfg.Slice = 8
	z := build(t, cfg, s)
	wantSet(t, "event servers", ask(t, z, "_eventserver._tcp.example.net", "SRV").Answer,
		"10 100 4222 e0.example.net.", "10 100 14222 e1.example.net.", "10 100 8000 e2.example.net.",
		"10 100 8000 e3.example.net.", "10 100 8000 e4.example.net.", "10 100 8000 e5.example.net.")
	for _, rr := range ask(t, z, "_sip._udp.example.net", "SRV").Answer {
		if p := rr.(*dns.SRV).Port; p != 5060 {
			t.Errorf("a proxy at port %d", p)
		}
	}
}

func TestSRVTargetHasExactlyTheAddressesOfTheMember(t *testing.T) {
	s := status(1)
	s.Put(subjects.SIPProxy, member("n1", "192.0.2.1"))
	s.Put(subjects.Manager, member("n1", "10.0.0.1"))
	s.Put(subjects.EventServer, member("n1", "10.0.0.1"))
	s.Put(subjects.SIPProxy, member("n2", "192.0.2.2"))
	s.Put(subjects.MediaRelay, member("n2", "192.0.2.3"))
	z := build(t, zone.DefaultConfig("example.net"), s)
	wantSet(t, "host", ask(t, z, "n1.example.net", "A").Answer, "192.0.2.1")
	wantSet(t, "host of two services", ask(t, z, "n2.example.net", "A").Answer, "192.0.2.2", "192.0.2.3")
	a := ask(t, z, "_sip._udp.example.net", "SRV")
	wantSet(t, "SRV", a.Answer, "10 100 5060 n1.example.net.", "10 100 5060 n2.proxy.example.net.")
	wantSet(t, "glue", a.Additional, "192.0.2.1", "192.0.2.2")
	wantSet(t, "own name", ask(t, z, "n2.proxy.example.net", "A").Answer, "192.0.2.2")
	a = ask(t, z, "_eventserver._tcp.example.net", "SRV")
	wantSet(t, "event server", a.Answer, "10 100 8000 n1.eventserver.example.net.")
	wantSet(t, "its glue", a.Additional, "10.0.0.1")
}

// A dialog outlives the service: the name does not move to another address of
// the machine within the grace.
func TestTheHostOfADepartedServiceKeepsItsAddress(t *testing.T) {
	s := status(1)
	s.Put(subjects.EventServer, member("n1", "10.0.0.1"))
	s.Departed = []subjects.Departed{{Node: "n1", Addresses: member("n1", "192.0.2.1").Addresses, Until: time.Now()}}
	z := build(t, zone.DefaultConfig("example.net"), s)
	wantSet(t, "host", ask(t, z, "n1.example.net", "A").Answer, "192.0.2.1")
	a := ask(t, z, "_eventserver._tcp.example.net", "SRV")
	wantSet(t, "event server", a.Answer, "10 100 8000 n1.eventserver.example.net.")
	wantSet(t, "its glue", a.Additional, "10.0.0.1")
}

func TestStaticRecordsAreServedBesideTheStatus(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Static = []string{
		"@ MX 10 mail", "mail 60 IN A 192.0.2.25", "mail 30 IN A 192.0.2.26", "@ TXT \"v=spf1 mx -all\"",
		"sip CNAME proxy", "away CNAME www.example.org.", "lost CNAME nowhere",
		"n1 TXT \"rack 4\"", "n2 A 203.0.113.9", "_stun._udp SRV 10 0 3478 relay", "a.b.c AAAA 2001:db8::c",
	}
	s := status(1)
	s.Put(subjects.SIPProxy, member("n1", "192.0.2.1"))
	s.Put(subjects.SIPProxy, member("n2", "192.0.2.2"))
	s.Put(subjects.MediaRelay, member("n3", "192.0.2.3"))
	z := build(t, cfg, s)
	a := ask(t, z, "example.net", "MX")
	wantSet(t, "MX", a.Answer, "10 mail.example.net.")
	wantSet(t, "MX glue", a.Additional, "192.0.2.25", "192.0.2.26")
	for _, rr := range a.Additional {
		if rr.Header().Ttl != 30 {
			t.Errorf("TTL %d in %v: a set has one TTL, the smallest", rr.Header().Ttl, rr)
		}
	}
	wantSet(t, "CNAME into a role", ask(t, z, "sip.example.net", "A").Answer, "192.0.2.1", "192.0.2.2", "proxy.example.net.")
	wantSet(t, "CNAME itself", ask(t, z, "sip.example.net", "CNAME").Answer, "proxy.example.net.")
	wantSet(t, "CNAME out of the zone", ask(t, z, "away.example.net", "A").Answer, "www.example.org.")
	if a := ask(t, z, "lost.example.net", "A"); a.Rcode != dns.RcodeNameError || len(a.Answer) != 1 || len(a.Authority) != 1 {
		t.Errorf("CNAME to nowhere: %+v, want it with NXDOMAIN (RFC 6604)", a)
	}
	wantSet(t, "text at a node", ask(t, z, "n1.example.net", "TXT").Answer, `"rack 4"`)
	wantSet(t, "its address", ask(t, z, "n1.example.net", "A").Answer, "192.0.2.1")
	wantSet(t, "configuration wins a name", ask(t, z, "n2.example.net", "A").Answer, "203.0.113.9")
	wantSet(t, "the member is still found", ask(t, z, "_sip._udp.example.net", "SRV").Answer,
		"10 100 5060 n1.example.net.", "10 100 5060 n2.proxy.example.net.")
	if a := ask(t, z, "_stun._udp.example.net", "SRV"); len(a.Additional) != 0 {
		t.Errorf("a role's name in a static record has glue %v; its slice is drawn when asked", a.Additional)
	}
	wantNegative(t, ask(t, z, "b.c.example.net", "A"), dns.RcodeSuccess)
}

func TestANYIsAnsweredByOneSmallRecord(t *testing.T) {
	z := build(t, zone.DefaultConfig("sipthor.net"), network2009(t))
	a := ask(t, z, "sipthor.net", "ANY")
	if len(a.Answer) != 1 || a.Answer[0].String() != "sipthor.net.\t3600\tIN\tHINFO\t\"RFC8482\" \"\"" {
		t.Errorf("ANY: %v", a.Answer)
	}
}

func TestANYAtAnAliasIsAnsweredByTheAlias(t *testing.T) {
	cfg := zone.DefaultConfig("example.net")
	cfg.Static = []string{"a CNAME b", "b CNAME proxy"}
	z := build(t, cfg, status(1))
	wantSet(t, "ANY", ask(t, z, "a.example.net", "ANY").Answer, "b.example.net.") // RFC 8482 4.2: the alias counts
}

func TestAChainOfAliasesIsAnsweredWhole(t *testing.T) {
	for last, rcode := range map[string]int{"proxy": dns.RcodeSuccess, "relay": dns.RcodeSuccess, "nowhere": dns.RcodeNameError} {
		cfg := zone.DefaultConfig("example.net")
		for i := range 15 {
			cfg.Static = append(cfg.Static, fmt.Sprintf("a%d CNAME a%d", i, i+1))
		}
		cfg.Static = append(cfg.Static, "a15 CNAME "+last)
		s := status(1)
		s.Put(subjects.SIPProxy, member("n1", "192.0.2.1"))
		a := ask(t, build(t, cfg, s), "a0.example.net", "A")
		want := 16
		if last == "proxy" {
			want++
		}
		if a.Rcode != rcode || len(a.Answer) != want || len(a.Authority) != 17-want {
			t.Errorf("to %s: RCODE %d, %d records, %d SOA", last, a.Rcode, len(a.Answer), len(a.Authority))
		}
	}
}

func TestStatusOfAnotherNetworkIsRefused(t *testing.T) {
	if _, err := zone.Build(zone.DefaultConfig("example.org"), status(1)); err == nil {
		t.Error("a status of example.net made a zone of example.org")
	}
	if _, err := zone.Build(zone.DefaultConfig("example.org"), nil); err == nil {
		t.Error("no status made a zone")
	}
}

func TestDrawnRecordsAreWithinThePublishedSet(t *testing.T) {
	// Random statuses one after the other: as long as a member serves, no answer
	// is empty, none holds more than the slice, and none names a stranger.
	r := rng()
	b, err := zone.NewBuilder(zone.DefaultConfig("example.net"))
	if err != nil {
		t.Fatal(err)
	}
	s := status(0)
	var a zone.Answer
	states := []subjects.State{subjects.Up, subjects.Up, subjects.Suspect, subjects.Draining}
	for range 3000 {
		s.Generation++
		node := fmt.Sprintf("n%02d", r.IntN(30))
		if r.IntN(3) == 0 {
			s.Remove(subjects.SIPProxy, subjects.NodeID(node))
		} else {
			m := member(node, fmt.Sprintf("192.0.2.%d", 1+r.IntN(200)))
			m.State, m.Weight = states[r.IntN(4)], r.IntN(65536)
			s.Put(subjects.SIPProxy, m)
		}
		z, err := b.Build(s)
		if err != nil {
			t.Fatal(err)
		}
		want := make(map[string]bool)
		for _, m := range s.Roles[subjects.SIPProxy] {
			if m.Serves() {
				want[m.Address().String()] = true
			}
		}
		z.Lookup("proxy.example.net.", dns.TypeA, r, &a)
		if len(a.Answer) != min(len(want), zone.DefaultConfig("x").Slice) {
			t.Fatalf("generation %d: %d records of %d serving members", s.Generation, len(a.Answer), len(want))
		}
		got := texts(a.Answer)
		for _, addr := range got {
			if !want[addr] {
				t.Fatalf("generation %d: %s is no serving member", s.Generation, addr)
			}
		}
		if len(slices.Compact(got)) != len(a.Answer) {
			t.Fatalf("generation %d: one record twice in %q", s.Generation, got)
		}
	}
}

func TestLookupAllocatesNothing(t *testing.T) {
	z := build(t, zone.DefaultConfig("sipthor.net"), network2009(t))
	var a zone.Answer
	r := rng()
	for name, qtype := range map[string]uint16{
		"proxy.sipthor.net.": dns.TypeA, "_sip._udp.sipthor.net.": dns.TypeSRV, "sipthor.net.": dns.TypeNAPTR,
		"nobody.sipthor.net.": dns.TypeA, "example.org.": dns.TypeA,
	} {
		z.Lookup(name, qtype, r, &a)
		if n := testing.AllocsPerRun(100, func() { z.Lookup(name, qtype, r, &a) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func FuzzLookup(f *testing.F) {
	st := network2009(f)
	st.Lookup = map[subjects.Role]subjects.Lookup{subjects.SIPProxy: {Bits: 18, Digest: "0123456789abcdef"}}
	z := build(f, zone.DefaultConfig("sipthor.net"), st)
	for _, s := range []string{"proxy.sipthor.net.", "_sip._udp.0123.sip-proxy.lookup.sipthor.net.", `x\.sipthor.net.`, ".", "", "..", `\`, "_udp.sipthor.net.", "proxy.all.sipthor.net.", "_sip._udp.2.all.sipthor.net.", "proxy.99999999999999999999.all.sipthor.net.", ".all.sipthor.net."} {
		f.Add(s, dns.TypeA)
	}
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		var a zone.Answer
		z.Lookup(name, qtype, rng(), &a)
		if a.Rcode == dns.RcodeSuccess && len(a.Answer) == 0 && len(a.Authority) != 1 {
			t.Errorf("%q %d: empty and without SOA: %+v", name, qtype, a)
		}
		if (a.Denied != "") != (len(a.Authority) > 0) || a.Exists && a.Rcode == dns.RcodeNameError || len(a.Answer) > zone.MaxSet+16 {
			t.Errorf("%q %d: %+v", name, qtype, a)
		}
	})
}

// Who only watches or operates the network has no name; beside another role it changes nothing.
func TestMonitorsAndOperatorsHaveNoName(t *testing.T) {
	st := status(1)
	st.Roles = map[subjects.Role][]subjects.Member{
		subjects.Monitor:  {member("desk", "192.0.2.1"), member("m1", "192.0.2.2")},
		subjects.Operator: {member("desk", "192.0.2.1")},
		subjects.Manager:  {member("m1", "192.0.2.2")},
		subjects.SIPProxy: {member("p1", "192.0.2.3")},
	}
	z := build(t, zone.DefaultConfig("example.net"), st)
	for name, want := range map[string]bool{"desk.example.net.": false, "m1.example.net.": true, "p1.example.net.": true} {
		if have := slices.Contains(z.Names(), name); have != want {
			t.Errorf("%s is in the zone: %v", name, have)
		}
	}
}
