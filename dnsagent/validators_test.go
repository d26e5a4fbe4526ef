package dnsagent

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/dnssec"
	"thor/overlay/lookup"
	"thor/subjects"
)

// need skips the test without a program, but in CI, where none may be missing.
func need(t testing.TB, program, pkg string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: Debian package %s", program, pkg)
	}
	t.Skipf("%s is missing: Debian package %s", program, pkg)
}

// daemon runs a server of another make until the test ends, and shows what it said if the
// test fails.
func daemon(t testing.TB, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	log := new(strings.Builder)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
}

// A validated question is one whose answer can be proved, or the proof that there is none.
type validated struct {
	name    string
	qtype   uint16
	answers int // records but for signatures; 0: proved to be none
}

var validatedQuestions = []validated{
	{"sipthor.net.", dns.TypeSOA, 1},
	{"sipthor.net.", dns.TypeDNSKEY, 2},
	{"sipthor.net.", dns.TypeNAPTR, 3},
	{"sipthor.net.", dns.TypeMX, 2},
	{"proxy.sipthor.net.", dns.TypeA, 4},
	{"_sip._udp.sipthor.net.", dns.TypeSRV, 4},
	{"xcap.sipthor.net.", dns.TypeA, 2},
	{"node01.sipthor.net.", dns.TypeA, 1},
	{"www.sipthor.net.", dns.TypeA, 5},
	{"alias1.sipthor.net.", dns.TypeA, 7}, // CNAMEs before the slice
	{"proxy.all.sipthor.net.", dns.TypeA, 53},
	{"_sip._udp.all.sipthor.net.", dns.TypeSRV, 53},
	{"0000.sip-proxy.lookup.sipthor.net.", dns.TypeNAPTR, 3},
	{"_sip._udp.0000.sip-proxy.lookup.sipthor.net.", dns.TypeSRV, 2},
	{"proxy.sipthor.net.", dns.TypeMX, 0},
	{"_udp.sipthor.net.", dns.TypeA, 0},
	{"sipthor.net.", dns.TypeTXT, 0},
	{"nobody.sipthor.net.", dns.TypeA, 0},
	{"a.b.c.nobody.sipthor.net.", dns.TypeAAAA, 0},
	{"*.sipthor.net.", dns.TypeA, 0},
	{"nowhere.sipthor.net.", dns.TypeA, 1},
	{"www.sipthor.net.", dns.TypeMX, 1}, // CNAMEs to what is not there
}

// signedNetwork runs a name server of a signed zone with all forms of answers.
func signedNetwork(t testing.TB, keys int) *server {
	st := manyProxies(t, 50)
	st.Lookup = map[subjects.Role]subjects.Lookup{subjects.SIPProxy: {Bits: lookup.DefaultBits}}
	return start(t, st, func(c *Config) {
		c.Zone.Static = []string{
			"www CNAME proxy", "alias1 CNAME alias2", "alias2 CNAME alias3", "alias3 CNAME proxy", "nowhere CNAME nobody",
			"@ MX 10 node01", "@ MX 20 mail.example.org.",
		}
		withKeys(t, keys)(c)
	})
}

// anchor is the DS record of a key.
func (s *server) anchor(i int) string { return s.files.Load().zoneKeys.DS("sipthor.net.")[i].String() }

// unbound validates what s says from a DS record on, and listens at the address.
func (s *server) unbound(t testing.TB, anchor string) string {
	t.Helper()
	return s.resolver(t, `module-config: "validator iterator"`, fmt.Sprintf("trust-anchor: %q", strings.Join(strings.Fields(anchor), " ")),
		"val-log-level: 2", "cache-max-ttl: 0", "cache-max-negative-ttl: 0")
}

// resolver is an unbound that asks s, with further lines of its section server; it listens at the address.
func (s *server) resolver(t testing.TB, lines ...string) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	host, ours, _ := net.SplitHostPort(s.addr)
	conf := put(t, filepath.Join(dir, "conf"), fmt.Sprintf(`server:
	interface: 127.0.0.1@%d
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	do-daemonize: no
	use-syslog: no
	logfile: ""
	do-not-query-localhost: no
	num-threads: 1
	%s
remote-control:
	control-enable: no
stub-zone:
	name: sipthor.net
	stub-addr: %s@%s
`, port, dir, strings.Join(lines, "\n\t"), host, ours))
	daemon(t, "unbound", "-d", "-c", conf)
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	eventually(t, "unbound answers", func() bool {
		_, err := dns.Exchange(new(dns.Msg).SetQuestion("sipthor.net.", dns.TypeSOA), addr)
		return err == nil
	})
	return addr
}

// An outside resolver proves every kind of answer and of denial from the DS record on.
func TestUnboundValidates(t *testing.T) {
	need(t, "unbound", "unbound")
	s := signedNetwork(t, 2)
	for i := range 2 { // a DS of any key is enough while one is replaced
		addr := s.unbound(t, s.anchor(i))
		for _, q := range validatedQuestions {
			if q.answers > 50 && q.qtype == dns.TypeSRV {
				continue // with addresses more than unbound takes in: by delv
			}
			m := new(dns.Msg).SetQuestion(q.name, q.qtype)
			m.AuthenticatedData = true
			r, _, err := (&dns.Client{Net: "tcp", Timeout: 20 * time.Second}).Exchange(m, addr)
			if err != nil || r.Rcode != dns.RcodeSuccess || !r.AuthenticatedData || len(r.Answer) != q.answers {
				t.Errorf("%s %s: %v, %v", q.name, dns.Type(q.qtype), r, err)
			}
		}
	}
	other := new(dnssec.Keys)
	if _, err := other.New(); err != nil {
		t.Fatal(err)
	}
	addr := s.unbound(t, other.DS("sipthor.net.")[0].String())
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 20 * time.Second}).Exchange(new(dns.Msg).SetQuestion("proxy.sipthor.net.", dns.TypeA), addr)
	if err != nil || r.Rcode != dns.RcodeServerFailure {
		t.Errorf("by another key's DS: %v, %v", r, err) // or the test above proves nothing
	}
}

func TestDelvValidates(t *testing.T) {
	need(t, "delv", "bind9-dnsutils")
	s := signedNetwork(t, 1)
	host, port, _ := net.SplitHostPort(s.addr)
	f := strings.Fields(s.anchor(0)) // owner TTL IN DS tag algorithm type digest
	file := put(t, filepath.Join(t.TempDir(), "anchors"), fmt.Sprintf("trust-anchors { %q static-ds %s %s %s %q; };\n", f[0], f[4], f[5], f[6], f[7]))
	for _, q := range validatedQuestions {
		if q.answers == 2 && q.qtype == dns.TypeDNSKEY {
			q.answers = 1 // key
		}
		out, err := exec.Command("delv", "@"+host, "-p", port, "-a", file, "+root=sipthor.net", "+multiline", q.name, dns.Type(q.qtype).String()).CombinedOutput()
		want := "; fully validated"
		if q.answers == 0 {
			want = "; negative response, fully validated"
		}
		if err != nil || !strings.Contains(string(out), want) || strings.Contains(string(out), "unsigned") {
			t.Errorf("%s %s: %v\n%s", q.name, dns.Type(q.qtype), err, out)
		}
	}
}

// What the tools of others read is what was sent.
func TestDigAndKdigShowSignatures(t *testing.T) {
	s := signedNetwork(t, 1)
	host, port, _ := net.SplitHostPort(s.addr)
	for program, pkg := range map[string]string{"dig": "bind9-dnsutils", "kdig": "knot-dnsutils"} {
		need(t, program, pkg)
		for _, dnssec := range []string{"+dnssec", "+nodnssec"} {
			out, err := exec.Command(program, "@"+host, "-p", port, dnssec, "_sip._udp.sipthor.net", "SRV").CombinedOutput()
			if err != nil || strings.Count(string(out), "SRV\t")+strings.Count(string(out), " SRV ") < 4 ||
				strings.Contains(string(out), "RRSIG") != (dnssec == "+dnssec") || strings.Contains(string(out), "WARNING") && !strings.Contains(string(out), "recursion") {
				t.Errorf("%s %s: %v\n%s", program, dnssec, err, out)
			}
		}
	}
}
