package dnsagent

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/dnssec"
)

// withKeys has the zone signed by n new keys.
func withKeys(t testing.TB, n int) func(*Config) {
	t.Helper()
	k := new(dnssec.Keys)
	for range n {
		if _, err := k.New(); err != nil {
			t.Fatal(err)
		}
	}
	text, err := k.Text()
	if err != nil {
		t.Fatal(err)
	}
	path := put(t, filepath.Join(t.TempDir(), "keys"), text)
	return func(c *Config) { c.KeyFile = path }
}

// verify checks all signatures of a message at a time: each set has one, by a key of
// the zone. It returns how many there are.
func verify(t testing.TB, keys []dns.RR, m *dns.Msg, now time.Time) int {
	t.Helper()
	type id struct {
		name  string
		rtype uint16
	}
	count := 0
	for _, section := range [][]dns.RR{m.Answer, m.Ns, m.Extra} {
		sets, sigs := make(map[id][]dns.RR), make(map[id][]*dns.RRSIG)
		for _, rr := range section {
			h := rr.Header()
			switch rr := rr.(type) {
			case *dns.OPT:
			case *dns.RRSIG:
				k := id{h.Name, rr.TypeCovered}
				sigs[k] = append(sigs[k], rr)
			default:
				sets[id{h.Name, h.Rrtype}] = append(sets[id{h.Name, h.Rrtype}], rr)
			}
		}
		for k, rrs := range sets {
			if len(sigs[k]) == 0 {
				t.Fatalf("%v has no signature in\n%v", k, m)
			}
			for _, sig := range sigs[k] {
				count++
				key := slices.IndexFunc(keys, func(rr dns.RR) bool { return rr.(*dns.DNSKEY).KeyTag() == sig.KeyTag })
				if key < 0 || sig.Verify(keys[key].(*dns.DNSKEY), rrs) != nil || !sig.ValidityPeriod(now) || sig.Hdr.Ttl != rrs[0].Header().Ttl || sig.Hdr.Ttl > sig.OrigTtl {
					t.Fatalf("a bad signature of %v in\n%v", k, m)
				}
			}
		}
	}
	return count
}

// proves checks that a negative answer has a record that says so of name and type.
func proves(t testing.TB, m *dns.Msg, name string, qtype uint16, exists bool) {
	t.Helper()
	for _, rr := range m.Ns {
		if n, ok := rr.(*dns.NSEC); ok && strings.EqualFold(n.Hdr.Name, name) {
			if slices.Contains(n.TypeBitMap, qtype) || slices.Contains(n.TypeBitMap, dns.TypeNXNAME) == exists || n.NextDomain == n.Hdr.Name {
				t.Fatalf("%s %s: no proof: %v", name, dns.Type(qtype), n)
			}
			return
		}
	}
	t.Fatalf("%s %s: no NSEC of that name in\n%v", name, dns.Type(qtype), m)
}

func TestSignedAnswersOfBothPathsAreTheSameAndGood(t *testing.T) {
	for _, size := range []int{512, 1232, 4096} {
		p := bothPaths(t, size, withKeys(t, 2))
		keys := p.quick.agent.files.Load().zoneKeys.DNSKEY("sipthor.net.")
		seed, packedOnes, checked := uint64(0), make(map[string]int), 0
		for _, name := range differentNames {
			for qtype := range uint16(264) {
				q := question(name, qtype, dns.ClassINET)
				for _, request := range [][]byte{
					packet(bitRD, [4]uint16{1, 0, 0, 1}, shout(q), opt(1232, 0, 0x8000)),
					packet(bitRD, [4]uint16{1, 0, 0, 1}, q, opt(512, 0, 0x8000)),
					packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0xffff)),
					packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0x8000, option(dns.EDNS0COOKIE, p.cookieOf(seed+4)))),
					packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0)),
					packet(0, [4]uint16{1}, q),
				} {
					seed++
					if p.compare(t, request, seed) {
						packedOnes[name]++
					}
					p.general.signs.count = 0
					p.general.client = netip.AddrFrom4([4]byte{192, 0, 2, byte(seed)})
					m := parsed(t, p.general.respond(request))
					if o := m.IsEdns0(); o == nil || !o.Do() || m.Rcode != dns.RcodeSuccess || m.Truncated {
						for _, rr := range append(append(m.Answer, m.Ns...), m.Extra...) {
							if rtype := rr.Header().Rrtype; rtype == dns.TypeRRSIG || rtype == dns.TypeNSEC {
								t.Fatalf("who wants no signatures got one:\n%v", m)
							}
						}
						continue
					}
					if seed%5 == 0 {
						checked += verify(t, keys, m, testTime)
					}
				}
			}
		}
		t.Logf("size %d: %d signatures, %v", size, checked, packedOnes)
		for _, name := range differentNames {
			n := packedOnes[name]
			switch name {
			case "proxy.sipthor.net", "xcap.sipthor.net", "_sip._udp.sipthor.net", "node01.sipthor.net", "_udp.sipthor.net", "lookup.sipthor.net":
				if want := (264-4)*6 - 2*4; n != want { // not NSEC and RRSIG for those that want signatures
					t.Errorf("size %d: %d requests for %s were answered from packed answers, want %d", size, n, name, want)
				}
			case "www.sipthor.net":
				if n > 0 {
					t.Errorf("an alias was answered from packed answers")
				}
			}
		}
	}
}

func TestPackedSignedAnswersAllocateNothing(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	for i, c := range []struct {
		name  string
		qtype uint16
	}{
		{"proxy.sipthor.net", dns.TypeA},
		{"_sip._udp.sipthor.net", dns.TypeSRV},
		{"xcap.sipthor.net", dns.TypeA},
		{"sipthor.net", dns.TypeDNSKEY},
		{"node01.sipthor.net", dns.TypeTXT},
		{"_udp.sipthor.net", dns.TypeA},
	} {
		request := packet(bitRD, [4]uint16{1, 0, 0, 1}, question(c.name, c.qtype, dns.ClassINET), opt(1232, 0, 0x8000))
		p.quick.at(testTime.Add(time.Duration(i) * time.Second)) // what was signed in one second is limited
		for range 100 * dnssec.Pool {                            // until all slices are signed
			p.quick.serveUDP(request, p.out[:1232], netip.IPv6Loopback())
		}
		if n := testing.AllocsPerRun(1000, func() {
			if p.quick.serveUDP(request, p.out[:1232], netip.IPv6Loopback()) == 0 {
				t.Fatal("no reply")
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func TestANameThatIsNotThereIsDeniedWithProof(t *testing.T) {
	s := start(t, manyProxies(t, 50), withKeys(t, 1))
	keys := s.files.Load().zoneKeys.DNSKEY("sipthor.net.")
	long := strings.Repeat(strings.Repeat("x", 49)+".", 4) + strings.Repeat("y", 40) + ".sipthor.net." // of 254 bytes
	longer := strings.Repeat(strings.Repeat("x", 49)+".", 4) + strings.Repeat("y", 41) + ".sipthor.net."
	for _, proto := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name   string
			qtype  uint16
			exists bool
		}{
			{"nobody.sipthor.net.", dns.TypeA, false},
			{"a.b.nobody.sipthor.net.", dns.TypeMX, false},
			{`\000\255.sipthor.net.`, dns.TypeA, false},
			{`a\.b.sipthor.net.`, dns.TypeA, false},
			{`*.sipthor.net.`, dns.TypeA, false},
			{long, dns.TypeA, false},
			{longer, dns.TypeA, false},
			{"proxy.sipthor.net.", dns.TypeMX, true},
			{"_udp.sipthor.net.", dns.TypeA, true},
			{"sipthor.net.", dns.TypeDS, true},
			{"all.sipthor.net.", dns.TypeA, true},
			{"proxy.2.all.sipthor.net.", dns.TypeA, false},
			{"proxy.all.sipthor.net.", dns.TypeTXT, true},
			{"zzzz.sip-proxy.lookup.sipthor.net.", dns.TypeA, false},
		} {
			m := new(dns.Msg).SetQuestion(c.name, c.qtype)
			m.SetEdns0(1232, true)
			r, _, err := (&dns.Client{Net: proto, Timeout: 10 * time.Second}).Exchange(m, s.addr)
			if err != nil || r.Rcode != dns.RcodeSuccess || !r.Authoritative || len(r.Answer) != 0 || len(r.Ns) != 4 {
				t.Fatalf("%s: %v, %v", c.name, r, err)
			}
			if n := verify(t, keys, r, time.Now()); n != 2 {
				t.Errorf("%s: %d signatures", c.name, n)
			}
			proves(t, r, c.name, c.qtype, c.exists)
			for _, rr := range r.Ns {
				if rr.Header().Ttl != 10 {
					t.Errorf("%v is kept longer than the denial", rr)
				}
			}
			m.Extra = nil
			want := map[bool]int{true: dns.RcodeSuccess, false: dns.RcodeNameError}[c.exists]
			if r, _, err = (&dns.Client{Net: proto, Timeout: 10 * time.Second}).Exchange(m, s.addr); err != nil || r.Rcode != want || len(r.Ns) != 1 {
				t.Errorf("without DO, %s: %v, %v", c.name, r, err)
			}
		}
	}
}

func TestTheProofItselfCanBeAskedFor(t *testing.T) {
	s := start(t, network2009(t), withKeys(t, 1))
	keys := s.files.Load().zoneKeys.DNSKEY("sipthor.net.")
	ask := func(name string, qtype uint16) *dns.Msg {
		m := new(dns.Msg).SetQuestion(name, qtype)
		m.SetEdns0(1232, true)
		r, _, err := (&dns.Client{Timeout: 10 * time.Second}).Exchange(m, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := ask("sipthor.net.", dns.TypeNSEC); len(r.Answer) != 2 || len(r.Ns) != 0 || verify(t, keys, r, time.Now()) != 1 {
		t.Errorf("NSEC: %v", r)
	} else if got := r.Answer[0].(*dns.NSEC).TypeBitMap; fmt.Sprint(got) != fmt.Sprint([]uint16{dns.TypeNS, dns.TypeSOA, dns.TypeNAPTR, dns.TypeRRSIG, dns.TypeNSEC, dns.TypeDNSKEY}) {
		t.Errorf("types at the apex: %v", got)
	}
	if r := ask("sipthor.net.", dns.TypeRRSIG); len(r.Answer) != 1 || r.Answer[0].Header().Rrtype != dns.TypeRRSIG {
		t.Errorf("RRSIG: %v", r)
	}
	if r := ask("sipthor.net.", dns.TypeNXNAME); r.Rcode != dns.RcodeFormatError {
		t.Errorf("NXNAME: %v", r)
	}
	if r := ask("sipthor.net.", dns.TypeANY); verify(t, keys, r, time.Now()) != 1 || len(r.Answer) != 2 {
		t.Errorf("ANY: %v", r)
	}
}

// Signatures are made anew long before they end, and slices are drawn anew when their
// TTL has passed.
func TestSignaturesAreRenewedLongBeforeTheirEnd(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	r := p.general
	for _, name := range []string{"node01.sipthor.net", "proxy.sipthor.net", "nobody.sipthor.net"} {
		request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, dns.TypeA, dns.ClassINET), opt(1232, 0, 0x8000))
		for hour := range 24 * 9 {
			now := testTime.Add(time.Duration(hour) * time.Hour)
			r.at(now)
			var out [1232]byte
			n := r.serveUDP(request, out[:], netip.IPv6Loopback())
			for _, rr := range append(parsed(t, out[:n]).Answer, parsed(t, out[:n]).Ns...) {
				sig, ok := rr.(*dns.RRSIG)
				if !ok {
					continue
				}
				if !sig.ValidityPeriod(now.Add(2*24*time.Hour-time.Second)) || !sig.ValidityPeriod(now.Add(-3*time.Hour)) {
					t.Fatalf("hour %d: %v", hour, sig)
				}
			}
		}
	}
}

func TestAClockSetBackSignsAnew(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	r := p.general
	for _, name := range []string{"node01.sipthor.net", "proxy.sipthor.net"} {
		request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, dns.TypeA, dns.ClassINET), opt(1232, 0, 0x8000))
		ask := func(now time.Time) *dns.Msg {
			r.at(now)
			var out [1232]byte
			return parsed(t, out[:r.serveUDP(request, out[:], netip.IPv6Loopback())])
		}
		for range 10 * dnssec.Pool {
			ask(testTime.Add(48 * time.Hour))
		}
		for range 20 {
			if n := verify(t, r.agent.files.Load().zoneKeys.DNSKEY("sipthor.net."), ask(testTime), testTime); n == 0 {
				t.Fatal("no signature")
			}
		}
	}
}

func TestSignedSlicesAreFair(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	st := manyProxies(t, 200)
	z, err := p.general.agent.builder.Build(st)
	if err != nil {
		t.Fatal(err)
	}
	signed := dnssec.New(z, p.general.agent.files.Load().zoneKeys, nil)
	rng := rand.New(rand.NewPCG(1, 2))
	seen, answers := make(map[string]int), 0
	for now := uint32(1_000_000); now < 1_000_000+40*10; now += 10 {
		for range 200 {
			one, err := signed.Set("proxy.sipthor.net.", dns.TypeA).Sign(rng, "", now, nil)
			if err != nil {
				t.Fatal(err)
			}
			answers++
			for _, i := range one.Slice.Records[:one.Slice.N] {
				seen[fmt.Sprint(i)]++
			}
		}
	}
	if len(seen) != 203 {
		t.Errorf("%d members of 203 were in an answer", len(seen))
	}
	for i, n := range seen { // 158 each; 200 answers of a pool of 256 repeat some slices
		if n < 80 || n > 240 {
			t.Errorf("member %s was in %d of %d answers", i, n, answers)
		}
	}
}

// Forged questions cannot have a name server do nothing but sign.
func TestSigningForClientsThatHaveProvedNothingIsLimited(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1))
	r := p.general
	ask := func(i int, more ...[]byte) *dns.Msg {
		q := question(fmt.Sprintf("x%d.sipthor.net", i), dns.TypeA, dns.ClassINET)
		r.client = netip.AddrFrom4([4]byte{192, 0, 2, 1})
		return parsed(t, r.respond(packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0x8000, more...))))
	}
	r.at(testTime.Add(-time.Second))
	ask(0) // the SOA is signed once
	r.at(testTime)
	for i := range maxSigned + 100 {
		if m := ask(i); m.Truncated != (i >= maxSigned) || m.Rcode != dns.RcodeSuccess || m.Truncated == (len(m.Ns) > 0) {
			t.Fatalf("question %d: %v", i, m)
		}
	}
	known := packet(0, [4]uint16{1, 0, 0, 1}, question("node01.sipthor.net", dns.TypeA, dns.ClassINET), opt(1232, 0, 0x8000))
	r.at(testTime.Add(time.Minute))
	for i := range maxSigned + 100 {
		if m := parsed(t, r.respond(known)); m.Truncated || len(m.Answer) != 2 {
			t.Fatalf("question %d, signed before: %v", i, m)
		}
	}
	for i := range maxSigned - 1 {
		if m := ask(i); m.Truncated {
			t.Fatalf("question %d behind those that were signed before: %v", i, m)
		}
	}
	if m := ask(0); !m.Truncated {
		t.Errorf("above the limit: %v", m)
	}
	if m := ask(1, option(dns.EDNS0COOKIE, p.cookieOf(1))); m.Truncated || len(m.Ns) != 4 {
		t.Errorf("with a cookie: %v", m)
	}
	r.at(testTime.Add(time.Minute + time.Second))
	if m := ask(1); m.Truncated {
		t.Errorf("a second later: %v", m)
	}
}

// A network above its rate has nothing signed: what there is for others stays.
func TestANetworkAboveItsRateUsesUpNoSignatures(t *testing.T) {
	p := bothPaths(t, 1232, withKeys(t, 1), func(c *Config) { c.RateLimit = 10 })
	r := p.general
	r.at(time.Now()) // not before the limiter's time
	ask := func(i int, client netip.Addr) (out []byte) {
		q := question(fmt.Sprintf("x%d.sipthor.net", i), dns.TypeA, dns.ClassINET)
		out = make([]byte, 1232)
		return out[:r.serveUDP(packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0x8000)), out, client)]
	}
	whole, truncated := 0, 0
	const n = 2 * maxSigned
	for i := range n {
		switch b := ask(i, addr4(198, 51, 100, 1)); {
		case len(b) == 0:
		case parsed(t, b).Truncated:
			truncated++
		default:
			whole++
		}
	}
	if whole < 10 || whole > 11 || truncated < n/3 || truncated > 2*n/3 || r.signs.count > 12 {
		t.Errorf("%d whole, %d truncated answers, %d signatures", whole, truncated, r.signs.count)
	}
	if m := parsed(t, ask(n, addr4(203, 0, 113, 1))); m.Truncated || len(m.Ns) != 4 {
		t.Errorf("another network: %v", m)
	}
}

// Who comes by TCP or with a cookie cannot have a core do nothing but sign either, and gets what is signed already.
func TestSignaturesForOneNetworkAreLimited(t *testing.T) {
	client := addr4(198, 51, 100, 1)
	for what, udp := range map[string]bool{"with a cookie": true, "by TCP": false} {
		t.Run(what, func(t *testing.T) {
			p := bothPaths(t, 1232, withKeys(t, 1))
			r := p.general
			r.udp = udp
			now := time.Now() // not before the limiter's time
			r.at(now)
			var known [cookie.Size]byte
			ask := func(name string, from netip.Addr) *dns.Msg {
				r.client = from
				r.files.secrets.Answer(known[:], []byte("12345678"), from, uint32(now.Unix()))
				request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, dns.TypeA, dns.ClassINET),
					opt(1232, 0, 0x8000, option(dns.EDNS0COOKIE, string(known[:]))))
				return parsed(t, r.respond(request))
			}
			signed := 0
			for i := range 2 * maxSignedEach {
				switch m := ask(fmt.Sprintf("x%d.sipthor.net", i), client); {
				case m.Rcode == dns.RcodeSuccess && len(m.Ns) == 4 && i == signed:
					signed++
				case m.Rcode != dns.RcodeServerFailure || m.Truncated || len(m.Ns) > 0:
					t.Fatalf("question %d: %v", i, m)
				}
			}
			if signed < maxSignedEach-2 || signed > maxSignedEach { // and the SOA; the limiter rounds
				t.Errorf("%d denials were signed, want %d", signed, maxSignedEach-1)
			}
			other := addr4(203, 0, 113, 1)
			if m := ask("proxy.sipthor.net", client); m.Rcode != dns.RcodeServerFailure {
				t.Errorf("a set of which nothing is signed: %v", m)
			}
			if m := ask("proxy.sipthor.net", other); len(m.Answer) != 5 {
				t.Errorf("another network: %v", m)
			}
			for range 20 {
				if m := ask("proxy.sipthor.net", client); len(m.Answer) != 5 || m.Rcode != dns.RcodeSuccess {
					t.Fatalf("a set of which a slice is signed: %v", m)
				}
			}
			if r.at(now.Add(time.Second)); ask("x.sipthor.net", client).Rcode != dns.RcodeSuccess {
				t.Error("a second later nothing is signed")
			}
		})
	}
}

func TestASignedZoneIsNotTransferred(t *testing.T) {
	cfg := config(nil, make(fakeSource))
	withKeys(t, 1)(&cfg)
	withSecondary(t, 53, "")(&cfg)
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "dnssec_key_file") {
		t.Errorf("secondary servers of a signed zone: %v", err)
	}
	s := start(t, network2009(t), withKeys(t, 1))
	if rrs, err := s.fetch(t, 0, "", ""); err == nil {
		t.Errorf("%d records were transferred", len(rrs))
	}
}

func TestKeysAreReadAgain(t *testing.T) {
	s := start(t, network2009(t), nil)
	unsigned := s.ZoneDigest()
	keyTags := func() (tags []uint16) {
		for _, rr := range s.ask(t, "udp", "sipthor.net", "DNSKEY").Answer {
			tags = append(tags, rr.(*dns.DNSKEY).KeyTag())
		}
		return tags
	}
	cfg := s.cfg
	var digests []string
	for n := 1; n <= 2; n++ {
		withKeys(t, n)(&cfg)
		if err := s.Reload(cfg); err != nil {
			t.Fatal(err)
		}
		if tags := keyTags(); len(tags) != n || !slices.Equal(tags, s.files.Load().zoneKeys.Tags()) {
			t.Errorf("keys %v", tags)
		}
		digests = append(digests, s.ZoneDigest())
	}
	if digests[0] == unsigned || digests[1] == digests[0] {
		t.Errorf("digests %v, unsigned %s", digests, unsigned)
	}
	put(t, cfg.KeyFile, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	if err := s.Reload(cfg); err == nil || len(keyTags()) != 2 {
		t.Errorf("a bad key was taken, %v", err)
	}
	cfg.KeyFile = ""
	if err := s.Reload(cfg); err != nil || len(keyTags()) != 0 || s.ZoneDigest() != unsigned {
		t.Errorf("the zone is signed still, %v", err)
	}
}

// What was packed and signed before the keys were changed is signed by the new ones, also
// where the zone itself is as it was.
func TestPackedAnswersAreSignedByTheNewKeys(t *testing.T) {
	s := start(t, network2009(t), withKeys(t, 1))
	tags := func(name string, q uint16) (tags []uint16) {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(name, q)
		m.SetEdns0(1232, true)
		r, _, err := (&dns.Client{Net: "udp", Timeout: 5 * time.Second}).Exchange(m, s.addr)
		if err != nil {
			t.Fatal(err)
		}
		for _, rr := range r.Answer {
			if sig, ok := rr.(*dns.RRSIG); ok {
				tags = append(tags, sig.KeyTag)
			}
		}
		if len(tags) == 0 {
			t.Fatalf("%s %s is not signed", name, dns.Type(q))
		}
		return tags
	}
	questions := []struct {
		name string
		q    uint16
	}{{"node01.sipthor.net.", dns.TypeA}, {"proxy.sipthor.net.", dns.TypeA}, {"_sip._udp.sipthor.net.", dns.TypeSRV}, {"sipthor.net.", dns.TypeNAPTR}}
	for range 3 { // the first answers are those of the general path
		for _, x := range questions {
			tags(x.name, x.q)
		}
	}
	cfg := s.cfg
	withKeys(t, 1)(&cfg)
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	want := tags("sipthor.net.", dns.TypeDNSKEY)[0]
	for range 3 {
		for _, x := range questions {
			for _, tag := range tags(x.name, x.q) {
				if tag != want {
					t.Errorf("%s %s is signed by %d, the key is %d", x.name, dns.Type(x.q), tag, want)
				}
			}
		}
	}
}
