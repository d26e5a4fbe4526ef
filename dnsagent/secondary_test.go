package dnsagent

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/transfer"
	"thor/subjects"
)

const (
	keyText   = "key \"xfr.example\" {\n\talgorithm hmac-sha256;\n\tsecret \"c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMgb3Igc28=\";\n};\n"
	keySecret = "c2VjcmV0IG9mIHRoaXJ0eS10d28gYnl0ZXMgb3Igc28="
	keyName   = "xfr.example."
)

// manyProxies is the network of 2009 with n more proxies.
func manyProxies(t testing.TB, n int) *subjects.Status {
	t.Helper()
	st := network2009(t)
	for i := range n {
		m := subjects.Member{Node: subjects.NodeID(fmt.Sprintf("more%03d", i)), State: subjects.Up}
		m.Addresses = append(m.Addresses, addr4(10, 1, byte(i/250), byte(1+i%250)))
		st.Put(subjects.SIPProxy, m)
	}
	return st
}

// withSecondary has the host itself as secondary server, told at port.
func withSecondary(t testing.TB, port uint16, key string) func(*Config) {
	t.Helper()
	s := Secondary{Address: addr4(127, 0, 0, 1), Port: port}
	if key != "" {
		s.KeyFile = filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(s.KeyFile, []byte(key), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	return func(cfg *Config) { cfg.Secondaries = []Secondary{s} }
}

// freeUDP is a port at which no one is told anything.
func freeUDP(t testing.TB) uint16 {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() }) // it stays taken, and silent
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// fetch transfers the zone. serial asks for changes since then; 0: for all.
func (s *server) fetch(t testing.TB, serial uint32, key, secret string) ([]dns.RR, error) {
	t.Helper()
	m := new(dns.Msg).SetAxfr("sipthor.net.")
	if serial != 0 {
		m.SetIxfr("sipthor.net.", serial, "a.", "b.")
	}
	tr := new(dns.Transfer)
	if key != "" {
		m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Unix())
		tr.TsigSecret = map[string]string{key: secret}
	}
	in, err := tr.In(m, s.addr)
	if err != nil {
		return nil, err
	}
	var out []dns.RR
	for e := range in {
		if e.Error != nil {
			err = e.Error
		}
		out = append(out, e.RR...)
	}
	return out, err
}

func TestASecondaryServerGetsTheZoneWithSetsItCanTake(t *testing.T) {
	for _, key := range []string{"", keyText} {
		s := start(t, manyProxies(t, 300), withSecondary(t, freeUDP(t), key))
		name, secret := "", ""
		if key != "" {
			name, secret = keyName, keySecret
		}
		rrs, err := s.fetch(t, 0, name, secret)
		if err != nil {
			t.Fatal(err)
		}
		first, last := rrs[0], rrs[len(rrs)-1]
		if first.Header().Rrtype != dns.TypeSOA || first.String() != last.String() || first.(*dns.SOA).Serial != 20090920 {
			t.Errorf("from %v to %v", first, last)
		}
		sets := make(map[string]int)
		for _, rr := range rrs[:len(rrs)-1] {
			sets[rr.Header().Name+dns.Type(rr.Header().Rrtype).String()]++
		}
		want := 0
		for r := range s.Zone().RRsets() {
			want++
			if n := sets[r.Name+dns.Type(r.Type).String()]; n != min(len(r.Records), transfer.MaxSet) {
				t.Errorf("%s %s: %d records of %d", r.Name, dns.Type(r.Type), n, len(r.Records))
			}
		}
		if len(sets) != want || sets["proxy.sipthor.net.A"] != 100 {
			t.Errorf("%d sets, want %d; %d addresses of the proxies", len(sets), want, sets["proxy.sipthor.net.A"])
		}
		again, err := s.fetch(t, 0, name, secret)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(rrs) {
			t.Errorf("another transfer differs, %v", err)
		}
		for serial, n := range map[uint32]int{20090920: 1, 20090921: 1, 20090919: len(rrs)} {
			if got, err := s.fetch(t, serial, name, secret); err != nil || len(got) != n {
				t.Errorf("IXFR since %d: %d records, %v, want %d", serial, len(got), err, n)
			}
		}
	}
}

func TestAnotherSerialBringsOthersOfALargeSet(t *testing.T) {
	st := manyProxies(t, 300)
	s := start(t, st, withSecondary(t, freeUDP(t), ""))
	before, _ := s.fetch(t, 0, "", "")
	next := st.Clone()
	next.Generation++
	s.show(t, next, nil)
	after, err := s.fetch(t, 0, "", "")
	if err != nil || len(before) != len(after) {
		t.Fatal(len(before), len(after), err)
	}
	seen, both := addressesOf(before, "proxy.sipthor.net."), 0
	for a := range addressesOf(after, "proxy.sipthor.net.") {
		if seen[a] {
			both++
		}
	}
	if both > 70 { // 33 on average
		t.Errorf("%d of 100 addresses are in both", both)
	}
}

func addressesOf(rrs []dns.RR, name string) map[string]bool {
	var own []dns.RR
	for _, rr := range rrs {
		if rr.Header().Name == name {
			own = append(own, rr)
		}
	}
	return addresses(own)
}

func TestStrangersGetNoTransfer(t *testing.T) {
	s := start(t, network2009(t), withSecondary(t, freeUDP(t), keyText))
	for what, c := range map[string][2]string{
		"no signature":       {},
		"another's key":      {"other.example.", keySecret},
		"another secret":     {keyName, "YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw=="},
		"a wrong, old clock": {"clock", ""},
	} {
		if c[0] == "clock" {
			m := new(dns.Msg).SetAxfr("sipthor.net.")
			m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Add(-time.Hour).Unix())
			b, _, err := dns.TsigGenerate(m, keySecret, "", false)
			if err != nil {
				t.Fatal(err)
			}
			conn := s.dial(t, "tcp")
			r := new(dns.Msg)
			if err := r.Unpack(conn.roundTrip(t, b)); err != nil || r.Rcode != dns.RcodeNotAuth || len(r.Answer) != 0 {
				t.Errorf("%s: %v %v", what, r, err)
			}
			_ = conn.Close()
			continue
		}
		if rrs, err := s.fetch(t, 0, c[0], c[1]); err == nil || len(rrs) != 0 {
			t.Errorf("%s: %d records, %v", what, len(rrs), err)
		}
	}
	other := start(t, network2009(t), func(cfg *Config) { cfg.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 2), Port: freeUDP(t)}} })
	if rrs, err := other.fetch(t, 0, "", ""); err == nil {
		t.Errorf("another address: %d records", len(rrs))
	}
}

func TestSignedQuestionsGetSignedAnswers(t *testing.T) {
	s := start(t, network2009(t), withSecondary(t, freeUDP(t), keyText))
	for _, proto := range []string{"udp", "tcp"} {
		ask := func(secret string) (*dns.Msg, error) {
			m := new(dns.Msg).SetQuestion("sipthor.net.", dns.TypeSOA)
			m.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
			c := &dns.Client{Net: proto, Timeout: 10 * time.Second, TsigSecret: map[string]string{keyName: secret}}
			r, _, err := c.Exchange(m, s.addr)
			return r, err
		}
		if r, err := ask(keySecret); err != nil || len(r.Answer) != 1 || r.IsTsig() == nil {
			t.Errorf("%s: %v %v", proto, r, err)
		}
		if r, err := ask("YW5vdGhlciBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcw=="); r == nil || len(r.Answer) != 0 || r.Rcode != dns.RcodeNotAuth {
			t.Errorf("%s, another secret: %v %v", proto, r, err)
		}
	}
}

func TestKeysThatAreNone(t *testing.T) {
	for _, text := range []string{
		"", "key x { algorithm hmac-md5; secret \"" + keySecret + "\"; };", "key x { algorithm hmac-sha256; secret \"c2hvcnQ=\"; };",
		"key x { algorithm hmac-sha256; secret \"====\"; };", keyText + keyText, "key a..b { algorithm hmac-sha256; secret \"" + keySecret + "\"; };",
	} {
		if k, err := transfer.ParseKey(text); err == nil {
			t.Errorf("%q: %v", text, k.Name)
		} else if strings.Contains(err.Error(), keySecret[:8]) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
	cfg := config(nil, make(fakeSource))
	cfg.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 1), KeyFile: "/nonexistent"}}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Error(err)
	}
	cfg.Secondaries = []Secondary{{}}
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "secondary[0].address") {
		t.Error(err)
	}
}

// Two servers may share a key, each has a file of its own then; one name stands for
// one key, and one address for one server.
func TestKeysOfSeveralSecondaryServers(t *testing.T) {
	file := func(text string) string {
		path := filepath.Join(t.TempDir(), "key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	other := strings.Replace(keyText, keySecret, "b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcm90aGVyMTI=", 1)
	for name, c := range map[string]struct {
		first, second Secondary
		want          string
	}{
		"one key":         {Secondary{Address: addr4(127, 0, 0, 1), KeyFile: file(keyText)}, Secondary{Address: addr4(127, 0, 0, 2), KeyFile: file(keyText)}, ""},
		"one name":        {Secondary{Address: addr4(127, 0, 0, 1), KeyFile: file(keyText)}, Secondary{Address: addr4(127, 0, 0, 2), KeyFile: file(other)}, "another name"},
		"the same server": {Secondary{Address: addr4(127, 0, 0, 1)}, Secondary{Address: addr4(127, 0, 0, 1)}, "twice"},
	} {
		cfg := config(nil, make(fakeSource))
		cfg.Secondaries = []Secondary{c.first, c.second}
		_, err := New(cfg)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), keySecret[:8])) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := start(t, network2009(t), func(cfg *Config) {
		cfg.Secondaries = []Secondary{{Address: addr4(127, 0, 0, 1), KeyFile: file(keyText)}, {Address: addr4(127, 0, 0, 2), KeyFile: file(keyText)}}
	})
	if _, err := s.fetch(t, 0, keyName, keySecret); err != nil {
		t.Errorf("the first of two with one key: %v", err)
	}
}

func TestASecondaryServerIsToldOfEachZoneUntilItHears(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	st := network2009(t)
	s := start(t, st, withSecondary(t, netip.MustParseAddrPort(c.LocalAddr().String()).Port(), keyText))
	hear := func() (*dns.Msg, []byte, net.Addr) {
		t.Helper()
		b := make([]byte, 4096)
		n, from, err := c.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(b[:n]); err != nil {
			t.Fatal(err)
		}
		return m, b[:n], from
	}
	told := func() uint32 {
		t.Helper()
		m, raw, from := hear()
		if m.Opcode != dns.OpcodeNotify || m.Question[0].Qtype != dns.TypeSOA || m.Question[0].Name != "sipthor.net." || len(m.Answer) != 1 {
			t.Fatal(m)
		}
		if err := dns.TsigVerify(raw, keySecret, "", false); err != nil {
			t.Fatal(err)
		}
		mac := m.IsTsig().MAC
		r := new(dns.Msg).SetReply(m)
		r.SetTsig(keyName, dns.HmacSHA256, 300, time.Now().Unix())
		b, _, err := dns.TsigGenerate(r, keySecret, mac, false)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteTo(b, from); err != nil {
			t.Fatal(err)
		}
		return m.Answer[0].(*dns.SOA).Serial
	}
	hear() // lost
	if got := told(); got != 20090920 {
		t.Errorf("told of serial %d", got)
	}
	next := st.Clone()
	next.Generation++
	s.show(t, next, nil)
	if got := told(); got != 20090921 {
		t.Errorf("told of serial %d", got)
	}
}

func TestKnotKeepsACopy(t *testing.T) {
	need(t, "knotd", "knot")
	dir, port := t.TempDir(), freePort(t)
	st := manyProxies(t, 150)
	s := start(t, st, withSecondary(t, port, keyText))
	host, ours, _ := net.SplitHostPort(s.addr)
	conf := fmt.Sprintf(`server:
    listen: 127.0.0.1@%d
    rundir: %[2]s
database:
    storage: %[2]s
key:
  - id: %[3]s
    algorithm: hmac-sha256
    secret: %[4]s
remote:
  - id: thor
    address: %[5]s@%[6]s
    key: %[3]s
acl:
  - id: told
    address: 127.0.0.1
    key: %[3]s
    action: notify
zone:
  - domain: sipthor.net
    storage: %[2]s
    master: thor
    acl: told
`, port, dir, strings.TrimSuffix(keyName, "."), keySecret, host, ours)
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	daemon(t, "knotd", "-c", filepath.Join(dir, "conf"))
	serial := func() uint32 {
		m := new(dns.Msg).SetQuestion("sipthor.net.", dns.TypeSOA)
		r, _, err := (&dns.Client{Timeout: time.Second}).Exchange(m, fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil || len(r.Answer) != 1 {
			return 0
		}
		return r.Answer[0].(*dns.SOA).Serial
	}
	eventually(t, "Knot has the zone", func() bool { return serial() == 20090920 })
	m := new(dns.Msg).SetQuestion("proxy.sipthor.net.", dns.TypeA)
	r, _, err := (&dns.Client{Net: "tcp", Timeout: 10 * time.Second}).Exchange(m, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil || len(r.Answer) != 100 {
		t.Errorf("%v, %v", r, err)
	}
	next := st.Clone()
	next.Generation++
	s.show(t, next, nil)
	eventually(t, "Knot has the next zone", func() bool { return serial() == 20090921 })
}

// freePort is one that is free for UDP and TCP now.
func freePort(t testing.TB) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}
