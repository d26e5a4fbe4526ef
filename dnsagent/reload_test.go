package dnsagent

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
	"thor/subjects"
)

// put writes a file that only its owner may read.
func put(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReloadServesThePresentStatusAnew(t *testing.T) {
	s := start(t, network2009(t), nil)
	before := s.ZoneDigest()
	cfg := s.cfg
	cfg.Zone = zone.DefaultConfig("sipthor.net")
	cfg.Zone.Slice, cfg.Zone.Static = 1, []string{"www A 192.0.2.80"}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	digest := cfg.Zone.Digest()
	if s.ZoneDigest() == before || s.ZoneDigest() != s.Zone().Digest() || s.ZoneDigest() != digest {
		t.Errorf("digest %s, was %s, zone's %s", s.ZoneDigest(), before, s.Zone().Digest())
	}
	if r := s.ask(t, "udp", "proxy.sipthor.net", "A"); len(r.Answer) != 1 {
		t.Errorf("%v", r)
	}
	if r := s.ask(t, "udp", "www.sipthor.net", "A"); len(r.Answer) != 1 {
		t.Errorf("%v", r)
	}
	for what, change := range map[string]func(*Config){
		"another domain":   func(c *Config) { c.Zone = zone.DefaultConfig("example.net") },
		"invalid":          func(c *Config) { c.Zone.Slice = 99 },
		"no cookie secret": func(c *Config) { c.CookieFile = "/nonexistent/secret" },
		"no key of a server": func(c *Config) {
			c.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 1), KeyFile: "/nonexistent/key"}}
		},
	} {
		bad := cfg
		bad.Zone.Static = nil
		change(&bad)
		if err := s.Reload(bad); err == nil {
			t.Errorf("%s was taken", what)
		}
	}
	if s.ZoneDigest() != digest || len(s.ask(t, "udp", "www.sipthor.net", "A").Answer) != 1 || len(s.files.Load().secondaries) != 0 {
		t.Error("a refused configuration is in use")
	}
}

// The keys of secondary servers, and these themselves, are others after a reload; new
// ones are told of the zone at once.
func TestReloadTakesOverSecondaryServers(t *testing.T) {
	heard, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heard.Close() }()
	file := put(t, filepath.Join(t.TempDir(), "key"), keyText)
	s := start(t, network2009(t), nil)
	if rrs, err := s.fetch(t, 0, "", ""); err == nil {
		t.Fatalf("a stranger got %d records", len(rrs))
	}
	cfg := s.cfg
	cfg.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 1), Port: netip.MustParseAddrPort(heard.LocalAddr().String()).Port(), KeyFile: file}}
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if err := heard.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, _, err := heard.ReadFrom(make([]byte, 512)); err != nil || n == 0 {
		t.Fatalf("not told: %v", err)
	}
	if _, err := s.fetch(t, 0, keyName, keySecret); err != nil {
		t.Error(err)
	}
	kept := s.files.Load().secondaries[0]
	if err := s.Reload(cfg); err != nil || s.files.Load().secondaries[0] != kept {
		t.Errorf("a server that did not change was replaced, %v", err)
	}
	const other = "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI="
	put(t, file, strings.Replace(keyText, keySecret, other, 1))
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fetch(t, 0, keyName, keySecret); err == nil {
		t.Error("the old key is still good")
	}
	if _, err := s.fetch(t, 0, keyName, other); err != nil {
		t.Error(err)
	}
	cfg.Secondaries = nil
	if err := s.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := s.fetch(t, 0, keyName, other); err == nil {
		t.Error("a secondary server that is none any more gets the zone")
	}
}

// While everything that can be reloaded changes all the time, every question gets an
// answer, and it is of the old or the new configuration.
func TestNoQuestionIsLostWhileAllIsReloaded(t *testing.T) {
	dir := t.TempDir()
	secrets := [2]string{"e5e973e5a6b2a43f48e7dc849e37bfcf", "445536bcd2513298075a5d379663c962"}
	s := start(t, manyProxies(t, 50), func(c *Config) {
		c.CookieFile = put(t, filepath.Join(dir, "cookies"), secrets[0])
		c.Zone.Static = []string{"www A 192.0.2.1"}
	})
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var asking sync.WaitGroup
	for _, proto := range []string{"udp", "udp", "tcp"} {
		asking.Go(func() { s.keepAsking(ctx, t, proto, &asked) })
	}
	cfg := s.cfg
	for i := 0; i < 200 || asked.Load() < 2000; i++ {
		if t.Failed() {
			break
		}
		put(t, cfg.CookieFile, secrets[i%2]+"\n"+secrets[(i+1)%2])
		cfg.Zone.Static = []string{fmt.Sprintf("www A 192.0.2.%d", 1+i%2)}
		cfg.Secondaries = nil
		if i%3 > 0 {
			key := strings.Replace(keyText, keySecret[:8], [3]string{"", "c2VjcmV0", "c2VjcmV1"}[i%3], 1)
			cfg.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 9), KeyFile: put(t, filepath.Join(dir, "key"), key)}}
		}
		if err := s.Reload(cfg); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	asking.Wait()
	t.Logf("%d questions", asked.Load())
}

// keepAsking asks for a static record and for a slice in turn until ctx ends.
func (s *server) keepAsking(ctx context.Context, t *testing.T, proto string, asked *atomic.Int64) {
	conn, err := dns.DialTimeout(proto, s.addr, 10*time.Second)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	c := &dns.Client{Net: proto, Timeout: 10 * time.Second}
	for i := 0; ctx.Err() == nil; i++ {
		name, want := "www.sipthor.net.", 1
		if i%2 > 0 {
			name, want = "proxy.sipthor.net.", 4
		}
		m := new(dns.Msg).SetQuestion(name, dns.TypeA)
		m.SetEdns0(1232, false)
		m.Extra[0].(*dns.OPT).Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0123456789abcdef"}}
		r, _, err := c.ExchangeWithConn(m, conn)
		n := asked.Add(1)
		if err != nil || r.Rcode != dns.RcodeSuccess || len(r.Answer) != want {
			t.Errorf("question %d over %s: %v, %v", n, proto, err, r)
			return
		}
	}
}

// All members are told by TCP or with a cookie: a forged question gets no large answer.
func TestAllMembersAreForClientsThatProveThemselves(t *testing.T) {
	st := manyProxies(t, 250)
	s := start(t, st, nil)
	members := 0
	for i := range st.Roles[subjects.SIPProxy] {
		if st.Roles[subjects.SIPProxy][i].Serves() {
			members++
		}
	}
	seen := make(map[string]bool)
	for _, page := range []string{"", "2.", "3."} {
		for a := range addresses(s.ask(t, "tcp", "proxy."+page+"all.sipthor.net", "A").Answer) {
			seen[a] = true
		}
	}
	if len(seen) != members {
		t.Errorf("%d members of %d by TCP", len(seen), members)
	}
	if r := s.ask(t, "udp", "proxy.all.sipthor.net", "A"); !r.Truncated || len(r.Answer) != 0 {
		t.Errorf("by UDP: %v", r)
	}
	q := question("xcap.all.sipthor.net", dns.TypeA, dns.ClassINET)
	if r := parsed(t, s.exchange(t, "udp", packet(0, [4]uint16{1}, q))); r.Truncated || len(r.Answer) != 2 {
		t.Errorf("a small role by UDP: %v", r)
	}
	st = network2009(t)
	for i := range 60 {
		m := *st.Member(subjects.SIPProxy, "node01")
		m.Node, m.Addresses = nodeID(i), []netip.Addr{addr4(10, 1, 1, byte(1+i))}
		st.Put(subjects.XCAPServer, m)
	}
	st.Generation++
	s.show(t, st, nil)
	q = question("xcap.all.sipthor.net", dns.TypeA, dns.ClassINET)
	for what, o := range map[string]string{"no": "12345678", "a": s.cookie(t, "12345678")} {
		r := parsed(t, s.exchange(t, "udp", packet(0, [4]uint16{1, 0, 0, 1}, q, opt(1232, 0, 0, option(dns.EDNS0COOKIE, o)))))
		if r.Truncated != (what == "no") || len(r.Answer) != map[string]int{"no": 0, "a": 62}[what] {
			t.Errorf("with %s cookie: %d records, truncated: %v", what, len(r.Answer), r.Truncated)
		}
	}
}
