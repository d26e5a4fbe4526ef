package dnsagent

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/packed"
	"thor/dnsagent/zone"
	"thor/overlay/lookup"
	"thor/subjects"
)

// paths answers requests by both paths.
type paths struct {
	quick, general *responder
	zone           *packed.Zone
	out            [maxQuery]byte
}

// bothPaths are those of a network with sets of every form: drawn by weight, evenly
// and whole, with addresses of both families and without, names that are made when
// they are asked for, and static records.
func bothPaths(t testing.TB, size int, change ...func(*Config)) *paths {
	t.Helper()
	st := network2009(t)
	for i := range 20 {
		m := *st.Member(subjects.SIPProxy, "node01")
		m.Node, m.Addresses = nodeID(i), nil
		for j := range i%3 + 1 {
			m.Addresses = append(m.Addresses, addr4(10, byte(i), byte(j), 1))
			if i%2 == 0 {
				m.Addresses = append(m.Addresses, addr6(byte(i), byte(j)))
			}
		}
		st.Put("chat_room", m)
		st.Put(subjects.XCAPServer, m)
		m.Weight = 1 + i*i
		m.Site = []subjects.Site{"ams", "fra", "", "par", "fra"}[i%5]
		if i%7 == 6 {
			m.Attrs = subjects.Attrs{subjects.AttrTier: subjects.SpareTier}
		}
		st.Put(subjects.SIPProxy, m)
	}
	if st.Lookup == nil {
		st.Lookup = make(map[subjects.Role]subjects.Lookup)
	}
	st.Lookup[subjects.SIPProxy] = subjects.Lookup{Bits: lookup.DefaultBits}
	cfg := config(nil, make(fakeSource))
	cfg.UDPSize = size
	cfg.RateExempt = []string{"::1/128", "192.0.2.0/24"}
	cfg.Zone.Slices = map[subjects.Role]int{subjects.XCAPServer: 8, "chat_room": 1}
	cfg.Zone.Static = []string{
		"www CNAME proxy", "@ A 192.0.2.1", "@ AAAA 2001:db8::1", "@ MX 10 node01", "@ MX 20 mail.example.org.", "@ MX 30 node02",
		`big TXT "` + strings.Repeat("x", 250) + `" "` + strings.Repeat("y", 250) + `"`, `deep.er.than TXT "all"`,
		"_x._tcp SRV 1 2 3 edgea", "_x._tcp SRV 1 2 4 edgea", "_x._tcp SRV 1 2 3 elsewhere.example.org.",
	}
	for _, f := range change {
		f(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	z, err := a.builder.Build(st)
	if err != nil {
		t.Fatal(err)
	}
	a.publish(z)
	return &paths{
		quick: a.newResponder(a.metrics.tally("udp")), general: a.newResponder(a.metrics.tally("udp")), zone: a.served.Load().packed,
	}
}

// compare reports whether the request was answered from packed answers. What they
// say is what the general path says with the same draw.
func (p *paths) compare(t testing.TB, request []byte, seed uint64) bool {
	t.Helper()
	client := netip.AddrFrom4([4]byte{192, 0, 2, byte(seed)})
	for _, r := range []*responder{p.quick, p.general} {
		r.at(testTime)
		r.client, r.quick.Client = client, client
	}
	ask := func() int {
		p.quick.quick.Rand, p.quick.quick.Askers = rand.New(rand.NewPCG(seed, 1)), p.quick.agent.served.Load().askers
		return p.quick.quick.Reply(p.zone, request, p.out[:p.quick.agent.cfg.UDPSize])
	}
	n := ask()
	if n == 0 && p.quick.agent.files.Load().zoneKeys == nil {
		return false
	}
	p.general.rng = rand.New(rand.NewPCG(seed, 1))
	p.general.signs.count = 0 // one answer is always affordable
	want := p.general.respond(request)
	if n == 0 {
		n = ask() // now there are signatures
	}
	if n == 0 {
		return false
	}
	got := p.out[:n]
	if p.quick.quick.Proved != p.general.proved {
		t.Fatalf("request %x: the client has proved itself: %v, want %v", request, p.quick.quick.Proved, p.general.proved)
	}
	q := &p.general.query
	if !q.asked || q.qtype != p.quick.quick.Type || !bytes.Equal(got[headerSize:][:len(q.question)], q.question) {
		t.Fatalf("request %x: the question %x came back as %x", request, q.question, got)
	}
	if !bytes.Equal(got[:headerSize], want[:headerSize]) {
		t.Fatalf("request %x: header %x, want %x", request, got[:headerSize], want[:headerSize])
	}
	if len(got) > len(want) && p.quick.quick.Rcode == dns.RcodeSuccess && binary.BigEndian.Uint16(got[6:]) > 0 {
		t.Fatalf("request %x: %d bytes, want %d", request, len(got), len(want))
	}
	if a, b := spelled(t, got), spelled(t, want); a != b {
		t.Fatalf("request %x:\n%s\nwant\n%s", request, a, b)
	}
	return true
}

var testTime = time.Unix(1796000000, 0)

// cookieOf is a cookie that client number seed got before.
func (p *paths) cookieOf(seed uint64) string {
	var out [cookie.Size]byte
	p.quick.agent.files.Load().secrets.Answer(out[:], []byte("12345678"), netip.AddrFrom4([4]byte{192, 0, 2, byte(seed)}), uint32(testTime.Unix())-9)
	return string(out[:])
}

// spelled is a message as text, without regard to case.
func spelled(t testing.TB, b []byte) string {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("reply %x: %v", b, err)
	}
	return strings.ToLower(m.String())
}

// shout changes the case of every third letter of a question.
func shout(question []byte) []byte {
	b := bytes.Clone(question)
	for i := range b[:len(b)-4] {
		if i%3 == 1 && b[i] >= 'a' && b[i] <= 'z' {
			b[i] -= 'a' - 'A'
		}
	}
	return b
}

var differentNames = []string{
	"sipthor.net", "proxy.sipthor.net", "xcap.sipthor.net", "chat-room.sipthor.net", "relay.sipthor.net", "_sip._udp.sipthor.net",
	"_sips._tcp.sipthor.net", "_xcap._tcp.sipthor.net", "_udp.sipthor.net", "node01.sipthor.net", "edgeb.sipthor.net", "node00.sipthor.net",
	"www.sipthor.net", "big.sipthor.net", "er.than.sipthor.net", "_x._tcp.sipthor.net", "nobody.sipthor.net", "a.b.c.nobody.sipthor.net",
	"below.node01.sipthor.net", "hostmaster.sipthor.net", "lookup.sipthor.net", "sip-proxy.lookup.sipthor.net", "0000.sip-proxy.lookup.sipthor.net",
	"_sip._udp.0000.sip-proxy.lookup.sipthor.net", "zzzz.sip-proxy.lookup.sipthor.net", "example.org", "net", ".", "xsipthor.net",
	`x\.sipthor.net`, `\007sipthor.net`, `a\000b.sipthor.net`, strings.Repeat("long.", 45) + "sipthor.net",
}

func TestPackedAnswersAreThoseOfTheGeneralPath(t *testing.T) {
	for _, size := range []int{512, 1232, 4096} {
		p := bothPaths(t, size)
		seed, packedOnes := uint64(0), make(map[string]int)
		for _, name := range differentNames {
			for qtype := range uint16(264) {
				for _, class := range []uint16{dns.ClassINET, dns.ClassCHAOS} {
					q := question(name, qtype, class)
					for _, request := range [][]byte{
						packet(0, [4]uint16{1}, q),
						packet(0x07bf, [4]uint16{1}, shout(q)),
						packet(bitRD, [4]uint16{1, 0, 0, 1}, shout(q), opt(1232, 0, 0x8000)),
						packet(bitRD, [4]uint16{1, 0, 0, 1}, q, opt(100, 0, 0x7fff)),
						packet(bitRD, [4]uint16{1, 0, 0, 1}, q, opt(65535, 0, 0)),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678"))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0x8000, option(dns.EDNS0COOKIE, "12345678and more"))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, p.cookieOf(seed+8)))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(512, 0, 0, option(dns.EDNS0COOKIE, p.cookieOf(seed+9)))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 1, 0)),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, "1234567"))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678"), option(dns.EDNS0NSID, ""))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0NSID, ""))),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(65001, "x"))),
						packet(0, [4]uint16{1, 0, 0, 2}, q, opt(1232, 0, 0), opt(1232, 0, 0)),
						packet(0, [4]uint16{1, 1}, q, record("sipthor.net", 1, 1, 0, []byte{1, 2, 3, 4})),
						packet(0, [4]uint16{1}, q, []byte{0}),
						packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0), []byte{0}),
						packet(0, [4]uint16{1, 0, 0, 1}, q),
						packet(0x2800, [4]uint16{1}, q),
						packet(0x8000, [4]uint16{1}, q),
					} {
						seed++
						if p.compare(t, request, seed) {
							packedOnes[name]++
						}
					}
				}
			}
		}
		for _, name := range differentNames {
			// Of class IN the first nine forms; not ANY and transfers.
			want := (264 - 4) * 9
			switch name {
			case "www.sipthor.net", "0000.sip-proxy.lookup.sipthor.net", "_sip._udp.0000.sip-proxy.lookup.sipthor.net", "zzzz.sip-proxy.lookup.sipthor.net":
				want = 0
			case "big.sipthor.net":
				want -= map[int]int{512: 9, 1232: 4, 4096: 4}[size]
			}
			if packedOnes[name] != want {
				t.Errorf("size %d: %d requests for %s were answered from packed answers, want %d", size, packedOnes[name], name, want)
			}
		}
	}
}

func TestPackedAnswersAllocateNothing(t *testing.T) {
	p := bothPaths(t, 1232)
	for _, name := range []string{"proxy.sipthor.net", "chat-room.sipthor.net", "nobody.sipthor.net", "example.org"} {
		request := packet(bitRD, [4]uint16{1, 0, 0, 1}, question(name, dns.TypeA, dns.ClassINET), opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678")))
		if n := testing.AllocsPerRun(100, func() {
			if p.quick.serveUDP(request, p.out[:1232], netip.IPv6Loopback()) == 0 {
				t.Fatal("no reply")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// FuzzPaths compares the paths, FuzzSignedPaths those of a signed zone.
func FuzzPaths(f *testing.F) { fuzzPaths(f) }

func FuzzSignedPaths(f *testing.F) { fuzzPaths(f, withKeys(f, 1)) }

// FuzzPreferringPaths and FuzzSignedPreferringPaths are those of a zone with preferences, for
// clients of several sites.
func FuzzPreferringPaths(f *testing.F) { fuzzPaths(f, preferring("priority")) }

func FuzzSignedPreferringPaths(f *testing.F) {
	fuzzPaths(f, withKeys(f, 1), preferring("priority"))
}

// preferring has SIP proxies preferred by site. The clients of these tests are in 192.0.2.0/24.
func preferring(by string) func(*Config) {
	return func(cfg *Config) {
		cfg.Site, cfg.ClientSubnet = "par", true
		cfg.Zone.Preferences = []zone.Preference{{Role: subjects.SIPProxy, Prefer: zone.PreferSite, By: by, Min: 3}}
		cfg.Zone.Sites = map[string]subjects.Site{"192.0.2.0/26": "ams", "192.0.2.64/26": "fra", "192.0.2.128/26": "lhr", "2001:db8::/32": "fra"}
	}
}

func TestPackedAnswersArePreferredLikeThoseOfTheGeneralPath(t *testing.T) {
	for what, change := range map[string][]func(*Config){
		"by site": {preferring("")}, "by priority": {preferring("priority")}, "signed": {preferring(""), withKeys(t, 1)},
		"signed by priority": {preferring("priority"), withKeys(t, 1)},
	} {
		p := bothPaths(t, 4096, change...)
		packed := 0
		for _, name := range []string{"proxy.sipthor.net", "_sip._udp.sipthor.net"} {
			for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV} {
				for seed := range uint64(300) {
					q := question(name, qtype, dns.ClassINET)
					for _, request := range [][]byte{packet(0, [4]uint16{1}, q), packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0x8000))} {
						if p.compare(t, request, seed) {
							packed++
						}
					}
				}
			}
		}
		if packed != 2*3*300*2 {
			t.Errorf("%s: %d answers were packed", what, packed)
		}
	}
}

func TestPreferringAnswersAllocateNothing(t *testing.T) {
	p := bothPaths(t, 1232, preferring("priority"))
	for _, q := range [][]byte{question("proxy.sipthor.net", dns.TypeA, dns.ClassINET), question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET)} {
		request := packet(bitRD, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0))
		for _, from := range []string{"192.0.2.9", "192.0.2.99", "192.0.2.222", "::1"} {
			client := netip.MustParseAddr(from)
			if n := testing.AllocsPerRun(100, func() {
				if p.quick.serveUDP(request, p.out[:1232], client) == 0 {
					t.Fatal("no reply")
				}
			}); n != 0 {
				t.Errorf("%s: %v allocations", from, n)
			}
		}
	}
}

// The option of the reply is that of the request, with the bits for which the answer is good.
func TestClientSubnet(t *testing.T) {
	ask := func(p *paths, name string, subnet string) *dns.Msg {
		p.general.at(testTime)
		p.general.client = netip.MustParseAddr("192.0.2.1")
		q := question(name, dns.TypeA, dns.ClassINET)
		return parsed(t, p.general.respond(packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0SUBNET, subnet)))))
	}
	told := func(m *dns.Msg) string {
		for _, o := range m.IsEdns0().Option {
			if s, ok := o.(*dns.EDNS0_SUBNET); ok {
				return s.String()
			}
		}
		return ""
	}
	p := bothPaths(t, 1232, preferring(""))
	for _, c := range []struct{ what, name, subnet, want string }{
		{"within a prefix", "proxy", "\x00\x01\x20\x00\xc0\x00\x02\x42", "192.0.2.66/32/26"},
		{"more than a prefix", "proxy", "\x00\x01\x18\x00\xc0\x00\x02", "192.0.2.0/24/26"},
		{"of no prefix", "proxy", "\x00\x01\x18\x00\xc0\x00\x03", "192.0.3.0/24/24"},
		{"IPv6", "proxy", "\x00\x02\x30\x00\x20\x01\x0d\xb8\x00\x07", "[2001:db8:7::]/48/32"},
		{"hidden", "proxy", "\x00\x01\x00\x00", "0.0.0.0/0/0"},
		{"not preferred", "node01", "\x00\x01\x18\x00\xc0\x00\x02", "192.0.2.0/24/0"},
		{"no such name", "nobody", "\x00\x01\x18\x00\xc0\x00\x02", "192.0.2.0/24/0"},
	} {
		m := ask(p, c.name+".sipthor.net", c.subnet)
		if got := told(m); got != c.want || m.Rcode == dns.RcodeFormatError {
			t.Errorf("%s: %s, %s, want %s", c.what, dns.RcodeToString[m.Rcode], got, c.want)
		}
	}
	for what, bad := range map[string]string{
		"empty": "", "short": "\x00\x01\x18\x00\xc0\x00", "long": "\x00\x01\x18\x00\xc0\x00\x02\x01", "bits behind": "\x00\x01\x17\x00\xc0\x00\x03",
		"a scope": "\x00\x01\x18\x18\xc0\x00\x02", "too many bits": "\x00\x01\x21\x00\xc0\x00\x02\x01\x00", "a family": "\x00\x03\x08\x00\xc0", "bits of family 0": "\x00\x00\x08\x00\xc0",
	} {
		if m := ask(p, "proxy.sipthor.net", bad); m.Rcode != dns.RcodeFormatError || told(m) != "" || len(m.Answer) > 0 {
			t.Errorf("%s: %s", what, m)
		}
	}
	off := bothPaths(t, 1232, preferring(""), func(c *Config) { c.ClientSubnet = false })
	for _, subnet := range []string{"\x00\x01\x18\x00\xc0\x00\x02", "\x00\x03\x08\x00\xc0"} {
		if m := ask(off, "proxy.sipthor.net", subnet); m.Rcode != dns.RcodeSuccess || told(m) != "" || len(m.Answer) == 0 {
			t.Errorf("off: %s", m)
		}
	}
}

func fuzzPaths(f *testing.F, change ...func(*Config)) {
	f.Helper()
	for _, name := range differentNames {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeSOA, dns.TypeNS, dns.TypeMX, dns.TypeANY} {
			q := question(name, qtype, dns.ClassINET)
			f.Add(packet(bitRD, [4]uint16{1}, shout(q)), uint64(qtype))
			f.Add(packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0x8000)), uint64(qtype))
		}
	}
	f.Add(packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678"))), uint64(1))
	p := bothPaths(f, 1232, change...)
	f.Fuzz(func(t *testing.T, request []byte, seed uint64) {
		p.compare(t, request, seed)
		var out [1232]byte
		n := p.quick.reply(request, out[:])
		if n == 0 {
			return
		}
		was := bytes.Clone(out[:n])
		cut := packed.Truncate(out[:n])
		m := new(dns.Msg)
		if err := m.Unpack(out[:cut]); err != nil || !m.Truncated || len(m.Answer)+len(m.Ns) > 0 {
			t.Fatalf("%x truncated is %x: %v", was, out[:cut], err)
		}
	})
}

func BenchmarkReply(b *testing.B) {
	p := bothPaths(b, 1232)
	for what, q := range map[string][]byte{
		"A":        question("xcap.sipthor.net", dns.TypeA, dns.ClassINET),
		"SRV":      question("_xcap._tcp.sipthor.net", dns.TypeSRV, dns.ClassINET),
		"weighted": question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET),
		"NXDOMAIN": question("nobody.sipthor.net", dns.TypeA, dns.ClassINET),
	} {
		request := packet(bitRD, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0))
		b.Run(what, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				p.quick.serveUDP(request, p.out[:1232], netip.IPv6Loopback())
			}
		})
	}
}
