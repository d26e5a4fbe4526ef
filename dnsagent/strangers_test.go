package dnsagent

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
)

// cookie is what a client at 127.0.0.1 gets for its own cookie of 8 bytes.
func (s *server) cookie(t testing.TB, client string) string {
	t.Helper()
	var out [cookie.Size]byte
	s.files.Load().secrets.Answer(out[:], []byte(client), addr4(127, 0, 0, 1), uint32(time.Now().Unix()))
	return string(out[:])
}

func cookieOf(m *dns.Msg) string {
	if o := m.IsEdns0(); o != nil {
		for _, x := range o.Option {
			if c, ok := x.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie
			}
		}
	}
	return ""
}

func TestACookieComesBackAndIsKeptByTheClient(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		// The second question has another option beside it: the general path.
		for _, more := range [][]byte{nil, option(65001, "x")} {
			with := func(c string) *dns.Msg {
				return ask(packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0COOKIE, c), more)))
			}
			first := cookieOf(with("12345678"))
			if len(first) != 2*cookie.Size || !strings.HasPrefix(first, fmt.Sprintf("%x", "12345678")) {
				t.Fatalf("cookie %q", first)
			}
			var b []byte
			_, _ = fmt.Sscanf(first, "%x", &b)
			if again := cookieOf(with(string(b))); again != first {
				t.Errorf("cookie %q comes back as %q", first, again)
			}
			b[20] ^= 1
			if m := with(string(b)); len(m.Answer) != 1 || len(cookieOf(m)) != 2*cookie.Size || cookieOf(m) == fmt.Sprintf("%x", b) {
				t.Errorf("a forged cookie: %v", m)
			}
		}
	})
}

func TestACookieIsGivenWithoutAQuestion(t *testing.T) {
	both(t, func(t *testing.T, ask func([]byte) *dns.Msg) {
		m := ask(packet(bitRD, [4]uint16{0, 0, 0, 1}, opt(1232, 0, 0, option(dns.EDNS0COOKIE, "12345678"))))
		if m.Rcode != dns.RcodeSuccess || len(m.Question)+len(m.Answer)+len(m.Ns) != 0 || len(cookieOf(m)) != 2*cookie.Size {
			t.Error(m)
		}
		m = ask(packet(0, [4]uint16{0, 0, 0, 1}, opt(1232, 0, 0, option(dns.EDNS0COOKIE, "1234567"))))
		if m.Rcode != dns.RcodeFormatError {
			t.Error(m)
		}
	})
}

func TestAReplyIsAtMostSixTimesItsQueryUntilACookieProvesTheClient(t *testing.T) {
	st := network2009(t)
	for i := range 20 {
		m := *st.Member("sip_proxy", "node01")
		m.Node = nodeID(i)
		m.Addresses = nil
		m.Addresses = append(m.Addresses, addr4(10, byte(i), 0, 1), addr6(byte(i), 0))
		st.Put("sip_proxy", m)
	}
	s := start(t, st, nil)
	for _, name := range []string{"sipthor.net", "proxy.sipthor.net", "_sip._udp.sipthor.net", "_sips._tcp.sipthor.net", "edgeb.sipthor.net", "nobody.sipthor.net"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeNS, dns.TypeSOA, dns.TypeANY} {
			q := question(name, qtype, dns.ClassINET)
			for _, request := range [][]byte{
				packet(0, [4]uint16{1}, q),
				packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0)),
				packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0, option(65001, ""))),
				packet(0, [4]uint16{1, 0, 0, 1}, q, opt(4096, 0, 0, option(dns.EDNS0COOKIE, "12345678"))),
			} {
				for range 5 {
					// The three NAPTR records of a short domain are a little more, and all that the client needs.
					if b := s.exchange(t, "udp", request); len(b) > 6*len(request) && (qtype != dns.TypeNAPTR || len(b) > 7*len(request)) {
						t.Errorf("%s %s: %d bytes for %d", name, dns.Type(qtype), len(b), len(request))
					}
				}
			}
		}
	}
	q := question("_sip._udp.sipthor.net", dns.TypeSRV, dns.ClassINET)
	known := packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, s.cookie(t, "12345678"))))
	m := parsed(t, s.exchange(t, "udp", known))
	want := 1 // the OPT, and two addresses of each host but those of 2009
	for _, rr := range m.Answer {
		if want++; strings.HasPrefix(rr.(*dns.SRV).Target, "edge") {
			want++
		}
	}
	if len(m.Answer) != 4 || len(m.Extra) != want {
		t.Errorf("with a cookie: %v", m)
	}
}

// A signed answer is sent whole though it is more than six times its query: a client that validates needs all of it.
// What the answer brings beside itself stays within the six times, and nothing is above eleven, which is the
// set of keys while one is replaced.
func TestSignedRepliesAreBoundedToo(t *testing.T) {
	const most = 11
	s := start(t, network2009(t), withKeys(t, 2))
	largest := 0.0
	for _, name := range []string{"sipthor.net", "proxy.sipthor.net", "_sip._udp.sipthor.net", "_sips._tcp.sipthor.net", "edgeb.sipthor.net", "nobody.sipthor.net"} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypeNAPTR, dns.TypeNS, dns.TypeSOA, dns.TypeTXT, dns.TypeANY, dns.TypeDNSKEY} {
			request := packet(0, [4]uint16{1, 0, 0, 1}, question(name, qtype, dns.ClassINET), opt(4096, 0, 0x8000))
			for range 5 {
				b := s.exchange(t, "udp", request)
				m := parsed(t, b)
				times := float64(len(b)) / float64(len(request))
				largest = max(largest, times)
				if times > most || times > 6 && len(m.Extra) > 1 {
					t.Errorf("%s %s: %d bytes for %d, %d records beside the answer", name, dns.Type(qtype), len(b), len(request), len(m.Extra)-1)
				}
			}
		}
	}
	if largest < 6 {
		t.Errorf("at most %.1f times: nothing was signed", largest)
	}
}

// flood sends n questions and returns how many whole and how many truncated answers
// came.
func (s *server) flood(t *testing.T, request []byte, n int) (whole, truncated int) {
	t.Helper()
	c := s.dial(t, "udp")
	defer func() { _ = c.Close() }()
	for range n {
		c.send(t, request)
	}
	// The last question is one whose answer is not counted: what came before it is decided.
	last := packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0COOKIE, s.cookie(t, "12345678"))))
	last[0]++
	c.send(t, last)
	for {
		b := c.receive(t)
		if b[0] == last[0] {
			return whole, truncated
		}
		m := parsed(t, b)
		switch {
		case m.Truncated && len(m.Answer)+len(m.Ns) == 0 && len(m.Question) == 1 && (m.IsEdns0() != nil) == (request[11] == 1):
			truncated++
		case len(m.Answer) > 0:
			whole++
		default:
			t.Fatal(m)
		}
	}
}

func TestAFloodIsAnsweredAtTheLimitAndByTCP(t *testing.T) {
	for what, request := range map[string][]byte{
		"packed":      packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0)),
		"without OPT": packet(0, [4]uint16{1}, soaQuestion()),
		"general":     packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0NSID, ""))),
	} {
		t.Run(what, func(t *testing.T) {
			s := start(t, network2009(t), func(cfg *Config) { cfg.RateLimit, cfg.RateExempt = 1, []string{"192.0.2.0/24"} })
			const n = 400
			whole, truncated := s.flood(t, request, n)
			if whole < 1 || whole > 30 { // 1 at once, and 1 a second while the test runs
				t.Errorf("%d whole answers", whole)
			}
			if rest := n - whole; truncated < rest/3 || truncated > 2*rest/3 {
				t.Errorf("%d of %d are told to come by TCP, want half", truncated, rest)
			}
			if got := s.value(t, "thor_dns_dropped_total", "rate"); int(got) != n-whole-truncated {
				t.Errorf("%v dropped answers counted, want %d", got, n-whole-truncated)
			}
			if r := s.ask(t, "tcp", "sipthor.net", "SOA"); len(r.Answer) != 1 {
				t.Error(r)
			}
			known := packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0COOKIE, s.cookie(t, "abcdefgh"))))
			if whole, _ := s.flood(t, known, 20); whole != 20 {
				t.Errorf("%d of 20 answers to a client with a cookie", whole)
			}
		})
	}
}

func TestTheHostItselfIsNotLimited(t *testing.T) {
	s := start(t, network2009(t), func(cfg *Config) { cfg.RateLimit = 1 })
	if whole, _ := s.flood(t, packet(0, [4]uint16{1}, soaQuestion()), 100); whole != 100 {
		t.Errorf("%d of 100 answers", whole)
	}
}

func TestSecretsForCookiesAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	write := func(text string, mode os.FileMode) {
		t.Helper()
		_ = os.Remove(file)
		if err := os.WriteFile(file, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	const one, two = "e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962"
	cfg := config(nil, make(fakeSource))
	cfg.CookieFile = file
	for what, f := range map[string]func(){
		"missing":           func() {},
		"readable by all":   func() { write(one, 0o644) },
		"empty":             func() { write("", 0o600) },
		"too long":          func() { write(one+"\n"+strings.Repeat("#", 5000), 0o600) },
		"one digit less":    func() { write(one[1:], 0o600) },
		"a directory of it": func() { _ = os.Remove(file); _ = os.Mkdir(file, 0o700) },
	} {
		f()
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), one[2:]) {
			t.Errorf("%s: %v", what, err)
		}
	}
	write(one, 0o640)
	s := start(t, network2009(t), func(c *Config) { c.CookieFile = file })
	old := s.cookie(t, "12345678")
	kept := func() bool {
		m := parsed(t, s.exchange(t, "udp", packet(0, [4]uint16{1, 0, 0, 1}, soaQuestion(), opt(1232, 0, 0, option(dns.EDNS0COOKIE, old)))))
		return cookieOf(m) == fmt.Sprintf("%x", old)
	}
	if !kept() {
		t.Error("the cookie of the file's secret is not believed")
	}
	write("nothing", 0o640)
	if err := s.Reload(cfg); err == nil || !kept() {
		t.Errorf("a bad file: %v", err)
	}
	write(two, 0o640)
	if err := s.Reload(cfg); err != nil || kept() {
		t.Errorf("another secret makes the same cookie, or %v", err)
	}
}
