package dnsagent

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/transfer"
)

const udpSize = 1232 // by default

const testID = 0x5117

// wire is a name as it travels.
func wire(name string) []byte {
	b := make([]byte, 256)
	n, err := dns.PackDomainName(dns.Fqdn(name), b, 0, nil, false)
	if err != nil {
		panic(err)
	}
	return b[:n]
}

// packet is a request with counts as given: what the library would not write.
func packet(bits uint16, counts [4]uint16, parts ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, testID)
	b = binary.BigEndian.AppendUint16(b, bits)
	for _, c := range counts {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return append(b, bytes.Join(parts, nil)...)
}

func question(name string, qtype, class uint16) []byte {
	b := wire(name)
	b = binary.BigEndian.AppendUint16(b, qtype)
	return binary.BigEndian.AppendUint16(b, class)
}

func record(owner string, rtype, class uint16, ttl uint32, data []byte) []byte {
	b := wire(owner)
	b = binary.BigEndian.AppendUint16(b, rtype)
	b = binary.BigEndian.AppendUint16(b, class)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func opt(size uint16, version uint8, flags uint16, options ...[]byte) []byte {
	return record(".", dns.TypeOPT, size, uint32(version)<<16|uint32(flags), bytes.Join(options, nil))
}

func option(code uint16, data string) []byte {
	b := binary.BigEndian.AppendUint16(nil, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

func soaQuestion() []byte { return question("sipthor.net", dns.TypeSOA, dns.ClassINET) }

// exchange sends raw bytes and returns the raw reply.
func (s *server) exchange(t testing.TB, proto string, request []byte) []byte {
	t.Helper()
	c := s.dial(t, proto)
	defer func() { _ = c.Close() }()
	return c.roundTrip(t, request)
}

type conn struct {
	net.Conn
	proto string
}

func (s *server) dial(t testing.TB, proto string) conn {
	t.Helper()
	c, err := net.Dial(proto, s.addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return conn{c, proto}
}

func (c conn) send(t testing.TB, request []byte) {
	t.Helper()
	if c.proto == "tcp" {
		request = append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	}
	if _, err := c.Write(request); err != nil {
		t.Fatal(err)
	}
}

func (c conn) receive(t testing.TB) []byte {
	t.Helper()
	b := make([]byte, 65536)
	if c.proto == "udp" {
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return b[:n]
	}
	if _, err := io.ReadFull(c, b[:2]); err != nil {
		t.Fatal(err)
	}
	n := binary.BigEndian.Uint16(b)
	if _, err := io.ReadFull(c, b[:n]); err != nil {
		t.Fatal(err)
	}
	return b[:n]
}

func (c conn) roundTrip(t testing.TB, request []byte) []byte {
	t.Helper()
	c.send(t, request)
	return c.receive(t)
}

func parsed(t testing.TB, b []byte) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	if err := m.Unpack(b); err != nil {
		t.Fatalf("reply %x: %v", b, err)
	}
	if m.Id != testID || !m.Response || m.RecursionAvailable || m.AuthenticatedData || m.CheckingDisabled || m.Zero {
		t.Fatalf("header of the reply: %+v", m.MsgHdr)
	}
	return m
}

// both runs f over UDP and TCP against the network of 2009.
func both(t *testing.T, f func(t *testing.T, ask func([]byte) *dns.Msg)) {
	s := start(t, network2009(t), nil)
	for _, proto := range []string{"udp", "tcp"} {
		t.Run(proto, func(t *testing.T) {
			f(t, func(b []byte) *dns.Msg { t.Helper(); return parsed(t, s.exchange(t, proto, b)) })
		})
	}
}

func TestApexAnswersWithAuthority(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		for qtype, n := range map[uint16]int{dns.TypeSOA: 1, dns.TypeNS: 3, dns.TypeNAPTR: 3} {
			m := ask(packet(0, [4]uint16{1}, question("sipthor.net", qtype, dns.ClassINET)))
			if m.Rcode != dns.RcodeSuccess || !m.Authoritative || len(m.Answer) != n || m.IsEdns0() != nil {
				t.Errorf("%s: %v", dns.Type(qtype), m)
			}
		}
	})
}

func TestHeaderBitsOfTheQueryNeverChangeTheAnswer(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		plain := ask(packet(0, [4]uint16{1}, soaQuestion()))
		for bits := range uint16(1 << 11) { // AA TC RD RA Z AD CD and the RCODE
			if bits&0x0f != 0 && bits&0x0f != 0x0f {
				continue // of the RCODEs, none and all
			}
			m := ask(packet(bits, [4]uint16{1}, soaQuestion()))
			if m.RecursionDesired != (bits&bitRD != 0) {
				t.Fatalf("bits %#x: RD %v", bits, m.RecursionDesired)
			}
			if m.RecursionDesired = false; m.String() != plain.String() {
				t.Fatalf("bits %#x: %v, without them: %v", bits, m, plain)
			}
		}
	})
}

func TestUnknownOpcodesAreNotImplementedWithoutFlags(t *testing.T) {
	s := start(t, network2009(t), nil)
	for _, proto := range []string{"udp", "tcp"} {
		for opcode := uint16(1); opcode < 16; opcode++ {
			for _, flags := range []uint16{0, 0x07ff} {
				for what, request := range map[string][]byte{
					"whole":  packet(opcode<<11|flags, [4]uint16{1}, soaQuestion()),
					"header": packet(opcode<<11|flags, [4]uint16{}),
					"junk":   packet(opcode<<11|flags, [4]uint16{1, 9, 9, 9}, soaQuestion(), []byte{0xff, 0xff}),
					"many":   packet(opcode<<11|flags, [4]uint16{2}, soaQuestion(), []byte{0xc0, 12, 0, 1, 0, 1}),
				} {
					got := s.exchange(t, proto, request)
					want := packet(bitQR|opcode<<11|uint16(dns.RcodeNotImplemented), [4]uint16{})
					if !bytes.Equal(got, want) {
						t.Fatalf("%s opcode %d flags %#x %s: %x, want %x", proto, opcode, flags, what, got, want)
					}
				}
			}
		}
	}
}

func TestEveryTypeIsAnsweredAtAnExistingName(t *testing.T) {
	s := start(t, network2009(t), nil)
	c := s.dial(t, "tcp")
	defer func() { _ = c.Close() }()
	types := []uint16{0, 666, 65280, 65535}
	for qtype := range dns.TypeToString {
		types = append(types, qtype)
	}
	for _, qtype := range types {
		m := parsed(t, c.roundTrip(t, packet(0, [4]uint16{1}, question("sipthor.net", qtype, dns.ClassINET))))
		switch qtype {
		case dns.TypeAXFR, dns.TypeIXFR:
			if m.Rcode != dns.RcodeRefused || len(m.Answer)+len(m.Ns) != 0 {
				t.Errorf("%s: %v", dns.Type(qtype), m)
			}
		case dns.TypeSOA, dns.TypeNS, dns.TypeNAPTR, dns.TypeANY:
			if m.Rcode != dns.RcodeSuccess || len(m.Answer) == 0 {
				t.Errorf("%s: %v", dns.Type(qtype), m)
			}
		default:
			if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 || len(m.Ns) != 1 || m.Ns[0].Header().Rrtype != dns.TypeSOA || !m.Authoritative {
				t.Errorf("%s: %v, want NODATA with the SOA", dns.Type(qtype), m)
			}
		}
	}
}

func TestTransfersAndNotificationsAreRefused(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		soa := record("sipthor.net", dns.TypeSOA, dns.ClassINET, 0, append(append(wire("a"), wire("b")...), make([]byte, 20)...))
		for what, request := range map[string][]byte{
			"AXFR":            packet(0, [4]uint16{1}, question("sipthor.net", dns.TypeAXFR, dns.ClassINET)),
			"AXFR of another": packet(0, [4]uint16{1}, question("example.org", dns.TypeAXFR, dns.ClassINET)),
			"IXFR":            packet(0, [4]uint16{1, 0, 1}, question("sipthor.net", dns.TypeIXFR, dns.ClassINET), soa),
		} {
			if m := ask(request); m.Rcode != dns.RcodeRefused || len(m.Answer)+len(m.Ns) != 0 {
				t.Errorf("%s: %v", what, m)
			}
		}
		if m := ask(packet(dns.OpcodeNotify<<11, [4]uint16{1, 1}, soaQuestion(), soa)); m.Rcode != dns.RcodeNotImplemented {
			t.Errorf("NOTIFY: %v", m)
		}
	})
}

func TestOtherClassesAreRefused(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		for _, class := range []uint16{0, dns.ClassCHAOS, dns.ClassHESIOD, dns.ClassNONE, dns.ClassANY, 666} {
			for _, name := range []string{"version.bind", "sipthor.net"} {
				if m := ask(packet(0, [4]uint16{1}, question(name, dns.TypeTXT, class))); m.Rcode != dns.RcodeRefused || m.Authoritative || len(m.Question) != 1 {
					t.Errorf("class %d: %v", class, m)
				}
			}
		}
	})
}

func TestMalformedMessagesGetFormatErrors(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		rr := record("sipthor.net", dns.TypeA, dns.ClassINET, 0, []byte{1, 2, 3, 4})
		many := make([][]byte, maxRecords+1)
		for i := range many {
			many[i] = rr
		}
		for what, request := range map[string][]byte{
			"no question":               packet(0, [4]uint16{}),
			"no question but an OPT":    packet(0, [4]uint16{0, 0, 0, 1}, opt(1232, 0, 0)),
			"two questions":             packet(0, [4]uint16{2}, soaQuestion(), soaQuestion()),
			"two OPTs":                  packet(0, [4]uint16{1, 0, 0, 2}, soaQuestion(), opt(1232, 0, 0), opt(1232, 0, 0)),
			"two OPTs, one version 1":   packet(0, [4]uint16{1, 0, 0, 2}, soaQuestion(), opt(1232, 1, 0), opt(1232, 0, 0)),
			"OPT in the answer":         packet(0, [4]uint16{1, 1}, soaQuestion(), opt(1232, 0, 0)),
			"OPT in the authority":      packet(0, [4]uint16{1, 0, 1}, soaQuestion(), opt(1232, 0, 0)),
			"OPT with an owner":         packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), record("a", dns.TypeOPT, 1232, 0, nil)),
			"OPT with a pointer":        packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), []byte{0xc0, 24}, opt(1232, 0, 0)[1:]),
			"option longer than OPT":    packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, []byte{0, 3, 0, 9, 1})),
			"option cut":                packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, []byte{0, 3, 0})),
			"record promised":           packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion()),
			"record cut":                packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), rr[:len(rr)-1]),
			"more records than we read": packet(0, [4]uint16{1, 0, 0, maxRecords + 1}, soaQuestion(), bytes.Join(many, nil)),
			"something behind":          packet(0, [4]uint16{1}, soaQuestion(), []byte{0}),
		} {
			for _, bits := range []uint16{0, 0x07f0} {
				binary.BigEndian.PutUint16(request[2:], bits)
				m := ask(request)
				if m.Rcode != dns.RcodeFormatError || m.Authoritative || m.Truncated || m.RecursionDesired != (bits != 0) ||
					len(m.Answer)+len(m.Ns) != 0 || (m.IsEdns0() != nil) != strings.HasPrefix(what, "option") {
					t.Errorf("%s: %v, want FORMERR and nothing else", what, m)
				}
			}
		}
	})
}

func TestWhatIsNoQueryIsDroppedAndCounted(t *testing.T) {
	s := start(t, network2009(t), nil)
	long := strings.Repeat(strings.Repeat("x", 63)+".", 3) + strings.Repeat("y", 61)
	junk := [][]byte{
		packet(0, [4]uint16{1}),
		packet(0, [4]uint16{1}, soaQuestion()[:5]),
		packet(0, [4]uint16{1}, soaQuestion()[:14]),
		packet(0, [4]uint16{2}, soaQuestion()),
		packet(0, [4]uint16{1}, []byte{0xc0, 12, 0, 1, 0, 1}),    // pointer to itself
		packet(0, [4]uint16{1}, []byte{0xc0, 18, 0, 1, 0, 1, 0}), // pointer ahead
		packet(0, [4]uint16{1}, []byte{1, 'a', 0xc0, 12, 0, 1, 0, 1}),
		packet(0, [4]uint16{1}, []byte{0x41, 1, 0, 0, 1, 0, 1}), // a label of a past type
		packet(0, [4]uint16{1}, append([]byte{1, 'z'}, question(long, 1, 1)...)),
		packet(9<<11, [4]uint16{9, 9, 9, 9}, []byte{0xff, 0xff}), // random bytes have some opcode
		packet(5<<11, [4]uint16{1}, soaQuestion()[:5]),
	}
	c := s.dial(t, "udp")
	defer func() { _ = c.Close() }()
	for _, b := range junk {
		c.send(t, b)
	}
	eventually(t, "all dropped", func() bool { return s.value(t, "thor_dns_dropped_total", "no_query") == float64(len(junk)) })
	after := packet(0, [4]uint16{1}, soaQuestion())
	after[0]++
	if b := c.roundTrip(t, after); b[0] != after[0] {
		t.Errorf("the first reply is %x", b)
	}
	for _, b := range junk { // by TCP the connection ends
		c := s.dial(t, "tcp")
		c.send(t, b)
		wantClosed(t, c)
		_ = c.Close()
	}
}

func TestHarmlessOdditiesAreAnswered(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		rr := record("sipthor.net", dns.TypeA, dns.ClassINET, 0, []byte{1, 2, 3, 4})
		tsig := record("key", dns.TypeTSIG, dns.ClassANY, 0, []byte{1, 2, 3})
		for what, request := range map[string][]byte{
			"a record in each section": packet(0, [4]uint16{1, 1, 1, 2}, soaQuestion(), rr, rr, rr, opt(1232, 0, 0)),
			"a signature":              packet(0, [4]uint16{1, 0, 0, 2}, soaQuestion(), opt(1232, 0, 0), tsig),
			"an owner by pointer":      packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), []byte{0xc0, 12}, rr[13:]),
		} {
			if m := ask(request); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 {
				t.Errorf("%s: %v", what, m)
			}
		}
	})
}

func TestEDNS(t *testing.T) {
	nsid := option(dns.EDNS0NSID, "")
	several := [][]byte{option(dns.EDNS0COOKIE, "12345678"), option(dns.EDNS0EXPIRE, ""), option(dns.EDNS0SUBNET, "\x00\x01\x18\x00\x0a\x00\x00"), option(65001, "anything")}
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		edns := func(o []byte) *dns.Msg { t.Helper(); return ask(packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), o)) }
		for _, c := range []struct {
			what    string
			opt     []byte
			rcode   int
			do      bool
			options int
		}{
			{"plain", opt(4096, 0, 0), dns.RcodeSuccess, false, 0},
			{"size 0", opt(0, 0, 0), dns.RcodeSuccess, false, 0},
			{"size 511", opt(511, 0, 0), dns.RcodeSuccess, false, 0},
			{"size 65535", opt(65535, 0, 0), dns.RcodeSuccess, false, 0},
			{"DO", opt(1232, 0, 0x8000), dns.RcodeSuccess, true, 0},
			{"unknown flags", opt(1232, 0, 0x7fff), dns.RcodeSuccess, false, 0},
			{"all flags", opt(1232, 0, 0xffff), dns.RcodeSuccess, true, 0},
			{"extended RCODE in the question", record(".", dns.TypeOPT, 1232, 0xff<<24, nil), dns.RcodeSuccess, false, 0},
			{"unknown option", opt(1232, 0, 0, option(100, ""), option(65001, "x")), dns.RcodeSuccess, false, 0},
			{"bad client subnet", opt(1232, 0, 0, option(dns.EDNS0SUBNET, "\xff")), dns.RcodeSuccess, false, 0},
			{"bad keepalive", opt(1232, 0, 0, option(dns.EDNS0TCPKEEPALIVE, "123")), dns.RcodeSuccess, false, 0},
			{"NSID", opt(1232, 0, 0, nsid), dns.RcodeSuccess, false, 1},
			{"several", opt(1232, 0, 0x8000, slices.Concat([][]byte{nsid}, several)...), dns.RcodeSuccess, true, 2},
			{"cookie of 8", opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678")), dns.RcodeSuccess, false, 1},
			{"cookie of 16", opt(1232, 0, 0, option(dns.EDNS0COOKIE, strings.Repeat("c", 16))), dns.RcodeSuccess, false, 1},
			{"cookie of 40", opt(1232, 0, 0, option(dns.EDNS0COOKIE, strings.Repeat("c", 40))), dns.RcodeSuccess, false, 1},
			{"cookie of 0", opt(1232, 0, 0, option(dns.EDNS0COOKIE, "")), dns.RcodeFormatError, false, 0},
			{"cookie of 7", opt(1232, 0, 0, option(dns.EDNS0COOKIE, "1234567")), dns.RcodeFormatError, false, 0},
			{"cookie of 9", opt(1232, 0, 0, option(dns.EDNS0COOKIE, "123456789")), dns.RcodeFormatError, false, 0},
			{"cookie of 41", opt(1232, 0, 0, option(dns.EDNS0COOKIE, strings.Repeat("c", 41))), dns.RcodeFormatError, false, 0},
			{"version 1", opt(4096, 1, 0), dns.RcodeBadVers, false, 0},
			{"version 255", opt(4096, 255, 0), dns.RcodeBadVers, false, 0},
			{"version 1 with DO", opt(4096, 1, 0x8000), dns.RcodeBadVers, true, 0},
			{"version 1 with unknown flags", opt(4096, 1, 0x7fff), dns.RcodeBadVers, false, 0},
			{"version 1 with options", opt(4096, 1, 0, slices.Concat([][]byte{nsid}, several)...), dns.RcodeBadVers, false, 0},
			{"version 1 with what no option is", opt(4096, 1, 0, []byte{1}), dns.RcodeBadVers, false, 0},
		} {
			m := edns(c.opt)
			o := m.IsEdns0()
			if m.Rcode != c.rcode || o == nil || o.Version() != 0 || o.UDPSize() != udpSize || o.Do() != c.do || o.Hdr.Ttl&0x7fff != 0 {
				t.Errorf("%s: %v", c.what, m)
				continue
			}
			if want := map[int]int{dns.RcodeSuccess: 1}[c.rcode]; len(m.Answer) != want || len(m.Question) != 1 {
				t.Errorf("%s: %v", c.what, m)
			}
			if len(o.Option) != c.options {
				t.Errorf("%s: options %v", c.what, o.Option)
			}
			for _, x := range o.Option {
				if n, ok := x.(*dns.EDNS0_NSID); ok && n.Nsid == hex.EncodeToString([]byte("node01")) {
					continue
				}
				if n, ok := x.(*dns.EDNS0_COOKIE); !ok || len(n.Cookie) != 2*cookie.Size {
					t.Errorf("%s: option %v", c.what, x)
				}
			}
		}
	})
}

func TestSpellingOfTheQuestionComesBack(t *testing.T) {
	s := start(t, network2009(t), nil)
	for _, proto := range []string{"udp", "tcp"} {
		q := question("pRoXy.SipThor.NeT", dns.TypeA, dns.ClassINET)
		b := s.exchange(t, proto, packet(0, [4]uint16{1}, q))
		if !bytes.HasPrefix(b[headerSize:], q) {
			t.Errorf("%s: question %x, want %x", proto, b[headerSize:], q)
		}
		m := parsed(t, b)
		if len(m.Answer) != 3 || len(b) != headerSize+len(q)+3*16 {
			t.Errorf("%s: %d bytes, want owners that point to the question: %v", proto, len(b), m)
		}
		odd := append([]byte{3, 0, '.', 0xff}, wire("sipthor.net")...)
		odd = append(odd, 0, 1, 0, 1)
		b = s.exchange(t, proto, packet(0, [4]uint16{1}, odd))
		if m := parsed(t, b); m.Rcode != dns.RcodeNameError || !bytes.HasPrefix(b[headerSize:], odd) {
			t.Errorf("%s: a label of any bytes: %x", proto, b)
		}
	}
}

func TestSRVTargetsAreNotCompressedAndOwnersAre(t *testing.T) {
	s := start(t, network2009(t), nil)
	b := s.exchange(t, "udp", packet(0, [4]uint16{1}, question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET)))
	for _, node := range []string{"node01", "node02", "node03"} {
		if !bytes.Contains(b, wire(node+".sipthor.net")) {
			t.Errorf("target %s is not whole in %x", node, b)
		}
	}
	// header, question, three SRV with whole targets, three A with pointers
	want := headerSize + 27 + 3*(2+10+6+20) + 3*(2+10+4)
	if len(b) != want {
		t.Errorf("%d bytes, want %d", len(b), want)
	}
}

func TestNegativeAnswersCarryTheSOAWithItsSmallTTL(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		for name, rcode := range map[string]int{
			"nobody.sipthor.net": dns.RcodeNameError, "_udp.sipthor.net": dns.RcodeSuccess, "eventserver.sipthor.net": dns.RcodeSuccess,
		} {
			m := ask(packet(0, [4]uint16{1}, question(name, dns.TypeA, dns.ClassINET)))
			if m.Rcode != rcode || !m.Authoritative || len(m.Ns) != 1 || m.Ns[0].Header().Ttl != 10 {
				t.Errorf("%s: %v", name, m)
			}
		}
		if m := ask(packet(0, [4]uint16{1}, question("www.example.org", dns.TypeA, dns.ClassINET))); m.Rcode != dns.RcodeRefused || m.Authoritative || len(m.Ns) != 0 {
			t.Errorf("outside: %v", m)
		}
	})
}

func TestResponsesAndStumpsAreNeverAnswered(t *testing.T) {
	s := start(t, network2009(t), nil)
	c := s.dial(t, "udp")
	defer func() { _ = c.Close() }()
	n := 0
	for size := range headerSize { // the empty datagram among them
		c.send(t, packet(0, [4]uint16{1})[:size])
		n++
	}
	for opcode := range uint16(16) {
		c.send(t, packet(bitQR|opcode<<11, [4]uint16{1}, soaQuestion()))
		c.send(t, packet(bitQR|opcode<<11, [4]uint16{}))
		n += 2
	}
	eventually(t, "all dropped", func() bool {
		return s.value(t, "thor_dns_dropped_total", "short") == headerSize && s.value(t, "thor_dns_dropped_total") == float64(n)
	})
	after := packet(0, [4]uint16{1}, soaQuestion())
	after[0]++
	if b := c.roundTrip(t, after); b[0] != after[0] {
		t.Errorf("the first reply is %x", b)
	}
}

func TestAnswerThatDoesNotFitIsLeftOutWholeAndComesByTCP(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) {
		for i := range 30 {
			cfg.Zone.Static = append(cfg.Zone.Static, fmt.Sprintf("big TXT \"%02d%s\"", i, strings.Repeat("x", 100)))
		}
		cfg.Zone.Static = append(cfg.Zone.Static, "mid TXT \""+strings.Repeat("x", 250)+"\" \""+strings.Repeat("y", 250)+"\"")
	})
	big, mid := question("big.sipthor.net", dns.TypeTXT, dns.ClassINET), question("mid.sipthor.net", dns.TypeTXT, dns.ClassINET)
	for what, request := range map[string][]byte{
		"no EDNS":         packet(bitRD, [4]uint16{1}, mid),
		"size below 512":  packet(bitRD, [4]uint16{1, 0, 0, 1}, mid, opt(100, 0, 0)),
		"more than 1232":  packet(bitRD, [4]uint16{1, 0, 0, 1}, big, opt(65535, 0, 0)),
		"NSID beside it":  packet(bitRD, [4]uint16{1, 0, 0, 1}, big, opt(4096, 0, 0, option(dns.EDNS0NSID, ""))),
		"TC in the query": packet(bitRD|1<<9, [4]uint16{1}, mid),
	} {
		b := s.exchange(t, "udp", request)
		if m := parsed(t, b); !m.Truncated || !m.Authoritative || m.Rcode != dns.RcodeSuccess || len(m.Answer)+len(m.Ns) != 0 || len(b) > 512 {
			t.Errorf("%s: %v, want TC and no answer", what, m)
		}
		if m := parsed(t, s.exchange(t, "tcp", request)); m.Truncated || len(m.Answer) == 0 {
			t.Errorf("%s by TCP: %v", what, m)
		}
	}
	if m := parsed(t, s.exchange(t, "udp", packet(0, [4]uint16{1, 0, 0, 1}, mid, opt(4096, 0, 0)))); m.Truncated || len(m.Answer) != 1 {
		t.Errorf("fits 1232: %v", m)
	}
	if got := s.value(t, "thor_dns_truncated_total"); got != 5 {
		t.Errorf("%v truncated replies counted, want 5", got)
	}
}

func TestGlueThatDoesNotFitIsLeftOutSilentlySetBySet(t *testing.T) {
	st := network2009(t)
	for i := range 20 {
		m := *st.Member("sip_proxy", "node01")
		m.Addresses = nil
		for j := range 2 {
			m.Addresses = append(m.Addresses, addr4(10, byte(i), byte(j), 1), addr6(byte(i), byte(j)))
		}
		m.Node = nodeID(i)
		st.Put("sip_proxy", m)
	}
	s := start(t, st, func(cfg *Config) { cfg.Zone.Slice = 8 })
	q := question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET)
	known := option(dns.EDNS0COOKIE, s.cookie(t, "12345678"))
	for range 50 {
		b := s.exchange(t, "udp", packet(0, [4]uint16{1, 0, 0, 1}, q, opt(512, 0, 0, known)))
		m := parsed(t, b)
		if m.Truncated || len(m.Answer) != 8 || len(b) > 512 {
			t.Fatalf("%d bytes: %v", len(b), m)
		}
		sets := make(map[string]int)
		for _, rr := range m.Extra {
			sets[rr.Header().Name+dns.Type(rr.Header().Rrtype).String()]++
		}
		for set, n := range sets {
			if strings.HasPrefix(set, "edge") && n != 2 {
				t.Fatalf("%s has %d of 2 addresses: a set is whole or absent", set, n)
			}
		}
		if len(m.Extra) < 2 {
			t.Fatalf("no glue at all in %d bytes", len(b))
		}
		if m := parsed(t, s.exchange(t, "tcp", packet(0, [4]uint16{1}, q))); len(m.Answer) != 8 || len(m.Extra) < 20 {
			t.Fatalf("by TCP: %v", m)
		}
	}
}

func FuzzRespond(f *testing.F) {
	a, err := New(config(nil, make(fakeSource)))
	if err != nil {
		f.Fatal(err)
	}
	z, err := a.builder.Build(network2009(f))
	if err != nil {
		f.Fatal(err)
	}
	a.served.Store(newServed(z, nil, nil, nil))
	key, err := transfer.ParseKey(keyText)
	if err != nil {
		f.Fatal(err)
	}
	a.files.Load().keys[key.Name] = key
	signed, err := (&signer{key: key}).sign(new(dns.Msg).SetQuestion("sipthor.net.", dns.TypeSOA), time.Now())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed)
	f.Add(packet(0, [4]uint16{1}, soaQuestion()))
	f.Add(packet(bitQR, [4]uint16{1}, soaQuestion()))
	f.Add(packet(0x07ff, [4]uint16{1, 0, 0, 1}, question("_sip._udp.sipthor.net", dns.TypeSRV, 1), opt(512, 0, 0xffff, option(3, ""), option(10, "12345678"))))
	f.Add(packet(5<<11, [4]uint16{9, 9, 9, 9}))
	f.Add([]byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, request []byte) {
		for _, proto := range []string{"udp", "tcp"} {
			r := a.newResponder(a.metrics.tally(proto))
			r.at(testTime)
			checkReply(t, proto, request, r.respond(request)) // not serve: a panic must show
		}
	})
}

// FuzzTransfer has a secondary server send whatever it likes by TCP.
func FuzzTransfer(f *testing.F) {
	cfg := config(nil, make(fakeSource))
	withSecondary(f, 53, "")(&cfg)
	a, err := New(cfg)
	if err != nil {
		f.Fatal(err)
	}
	z, err := a.builder.Build(network2009(f))
	if err != nil {
		f.Fatal(err)
	}
	a.served.Store(newServed(z, nil, nil, nil))
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetAxfr("sipthor.net."), new(dns.Msg).SetIxfr("sipthor.net.", 1, "a.", "b."), new(dns.Msg).SetIxfr("sipthor.net.", z.Serial(), "a.", "b."),
		new(dns.Msg).SetQuestion("sipthor.net.", dns.TypeSOA),
	} {
		b, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		r := a.newResponder(a.metrics.tcp)
		r.at(testTime)
		r.client = addr4(127, 0, 0, 1)
		before := a.metrics.tcp.dropped[panicked].Load()
		sent := 0
		mine, err := r.transfer(request, func(b []byte) error {
			sent++
			return new(dns.Msg).Unpack(b)
		})
		if err != nil || mine != (sent > 0) || a.metrics.tcp.dropped[panicked].Load() != before {
			t.Fatalf("%x: mine: %v, %d messages, %v", request, mine, sent, err)
		}
	})
}

func checkReply(t *testing.T, proto string, request, reply []byte) {
	if reply == nil {
		if len(request) >= headerSize && request[2]&0x80 == 0 && hasQuestions(request) {
			t.Fatalf("no reply to %x", request)
		}
		return
	}
	if len(request) >= headerSize && !hasQuestions(request) {
		t.Fatalf("%x has not the questions it promises, and was answered", request)
	}
	if len(request) < headerSize || request[2]&0x80 != 0 {
		t.Fatalf("%x was answered", request)
	}
	if reply[0] != request[0] || reply[1] != request[1] || reply[2]&0xf8 != 0x80|request[2]&0x78 || reply[3]&0xf0 != 0 {
		t.Fatalf("header %x to %x", reply[:4], request)
	}
	if proto == "udp" && len(reply) > udpSize {
		t.Fatalf("%d bytes to %x", len(reply), request)
	}
	if err := new(dns.Msg).Unpack(reply); err != nil {
		t.Fatalf("reply %x to %x: %v", reply, request, err)
	}
}

// hasQuestions reports whether the questions that a request promises are there, as
// far as the library can read them.
func hasQuestions(request []byte) bool {
	off := headerSize
	for i := range int(binary.BigEndian.Uint16(request[4:])) {
		end, ok := skipName(request, off, i > 0)
		if !ok || end+4 > len(request) {
			return false
		}
		off = end + 4
	}
	return true
}
