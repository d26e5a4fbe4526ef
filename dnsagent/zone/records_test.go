package zone_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"thor/dnsagent/zone"
	"thor/overlay/records"
	"thor/subjects"
)

// withRecords is a network of two proxies, a relay and a name server.
func withRecords(t testing.TB, records ...string) (zone.Config, *subjects.Status) {
	t.Helper()
	cfg := zone.DefaultConfig("example.net")
	cfg.Static = []string{"www A 192.0.2.80", "@ MX 10 mail", "old CNAME www"}
	cfg.Records = records
	s := status(7)
	s.Roles = map[subjects.Role][]subjects.Member{
		subjects.SIPProxy:   {member("node1", "192.0.2.1"), member("node2", "192.0.2.2")},
		subjects.MediaRelay: {member("node1", "192.0.2.1")},
		"chat_server":       {member("node3", "192.0.2.3")},
		subjects.DNSManager: {member("ns1", "192.0.2.53 192.0.2.54")},
	}
	return cfg, s
}

func TestProvisionedRecordsAreServed(t *testing.T) {
	cfg, s := withRecords(t, "blog A 192.0.2.90", "BLOG 60 A 192.0.2.91", "_stun._udp 60 SRV 0 10 3478 node1", "@ TXT \"x\"", "node1 TXT \"y\"", "proxy TXT \"z\"", "ftp CNAME blog", "blog 60 IN A 192.0.2.91")
	z := build(t, cfg, s)
	if u := z.Unserved(); len(u) > 0 {
		t.Errorf("left out: %v", u)
	}
	for _, c := range []struct{ name, qtype, want string }{
		{"blog.example.net", "A", "192.0.2.90 192.0.2.91"},
		{"_stun._udp.example.net", "SRV", "0 10 3478 node1.example.net."},
		{"example.net", "TXT", `"x"`},
		{"node1.example.net", "TXT", `"y"`},
		{"node1.example.net", "A", "192.0.2.1"},
		{"proxy.example.net", "TXT", `"z"`},
		{"ftp.example.net", "A", "192.0.2.90 192.0.2.91 blog.example.net."},
	} {
		if got := strings.Join(texts(ask(t, z, c.name, c.qtype).Answer), " "); got != c.want {
			t.Errorf("%s %s: %q, want %q", c.name, c.qtype, got, c.want)
		}
	}
	if a := ask(t, z, "_stun._udp.example.net", "SRV"); len(a.Additional) != 1 {
		t.Errorf("addresses of a provisioned SRV: %v", a.Additional)
	}
}

// Whatever is provisioned, each name of the network and of the configuration answers
// as without.
func TestProvisionedRecordsHideNothing(t *testing.T) {
	cfg, s := withRecords(t)
	before := build(t, cfg, s)
	var names []string
	for set := range before.RRsets() {
		if !slices.Contains(names, set.Name) {
			names = append(names, set.Name)
		}
	}
	if len(names) < 12 {
		t.Fatalf("names: %v", names)
	}
	for _, name := range append(names, "all.example.net.", "proxy.all.example.net.", "0000.sip-proxy.lookup.example.net.") {
		for _, r := range []string{"A 203.0.113.1", "AAAA 2001:db8::1", "CNAME elsewhere.example.org.", "SRV 0 0 1 elsewhere.example.org.", `NAPTR 1 1 "s" "SIP+D2U" "" elsewhere.example.org.`, "NS elsewhere.example.org.", "DNAME example.org.", "DS 1 13 2 00"} {
			if name == "example.net." && strings.HasPrefix(r, "A") { // the apex may have addresses, as static ones
				continue
			}
			cfg.Records = []string{name + " 60 " + r}
			z := build(t, cfg, s)
			if len(z.Unserved()) != 1 {
				t.Errorf("%s: served", cfg.Records)
			}
			_, got, _ := strings.Cut(z.Text(), "\n") // the first line has the digest of the configuration
			if _, want, _ := strings.Cut(before.Text(), "\n"); got != want {
				t.Errorf("%s changes the zone:\n%s", cfg.Records, got)
			}
		}
	}
}

// A name that becomes the network's own is the network's, and the record is back
// when it is no more.
func TestAProvisionedNameGivesWay(t *testing.T) {
	cfg, s := withRecords(t, "node9 A 203.0.113.9", "xcap-x A 203.0.113.8")
	b, err := zone.NewBuilder(cfg)
	if err != nil {
		t.Fatal(err)
	}
	z, err := b.Build(s)
	if err != nil || len(z.Unserved()) != 0 || strings.Join(texts(ask(t, z, "node9.example.net", "A").Answer), " ") != "203.0.113.9" {
		t.Fatalf("%v %v", err, z.Unserved())
	}
	later := *s
	later.Generation++
	later.Roles = map[subjects.Role][]subjects.Member{subjects.SIPProxy: {member("node9", "192.0.2.9")}, "xcap_x": {member("node8", "192.0.2.8")}}
	y, err := b.BuildAfter(z, &later)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"node9.example.net": "192.0.2.9", "xcap-x.example.net": "192.0.2.8"} {
		if got := strings.Join(texts(ask(t, y, name, "A").Answer), " "); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
	if u := y.Unserved(); len(u) != 2 || !strings.Contains(u[0].Reason, "name of a node") || !strings.Contains(u[1].Reason, "name of a role") {
		t.Errorf("left out: %v", u)
	}
	again := *s
	again.Generation += 2
	if x, err := b.BuildAfter(y, &again); err != nil || len(x.Unserved()) != 0 || strings.Join(texts(ask(t, x, "node9.example.net", "A").Answer), " ") != "203.0.113.9" {
		t.Errorf("%v, %v", err, x.Unserved())
	}
}

func TestBadProvisionedRecordsAreLeftOutAlone(t *testing.T) {
	cfg, s := withRecords(t, "good A 192.0.2.1", "rubbish", "$INCLUDE /etc/passwd", "x NS ns", "a CNAME b", "b CNAME c", "c CNAME a", "www AAAA ::1", "self CNAME self",
		"two CNAME a", "two A 192.0.2.1", "out.example.org. A 192.0.2.1", "*.wild A 192.0.2.1", "nl A 192.0.2.1\nevil A 192.0.2.2")
	z := build(t, cfg, s)
	var names []string
	for set := range z.RRsets() {
		names = append(names, set.Name)
	}
	for _, n := range []string{"good.example.net.", "a.example.net.", "b.example.net."} {
		if !slices.Contains(names, n) {
			t.Errorf("%s is not served", n)
		}
	}
	for _, n := range []string{"c", "self", "x", "wild", "evil", "nl"} {
		if slices.Contains(names, n+".example.net.") {
			t.Errorf("%s is served", n)
		}
	}
	if u := z.Unserved(); len(u) != 10 {
		t.Errorf("%d left out: %v", len(u), u)
	}
	long := make([]string, 0, 20)
	for i := range 20 {
		long = append(long, fmt.Sprintf("l%02d CNAME l%02d", i, i+1))
	}
	cfg.Records = long
	if u := build(t, cfg, s).Unserved(); len(u) != 1 {
		t.Errorf("of a chain of 20: %v", u)
	}
	cfg.Records = make([]string, records.Max+1)
	if _, err := zone.NewBuilder(cfg); err == nil {
		t.Error("any number of records")
	}
}

// The order and the spelling of records are no part of the zone, and without any the
// digest is that of earlier versions.
func TestDigestOfProvisionedRecords(t *testing.T) {
	with := func(records ...string) string {
		c := zone.DefaultConfig("example.net")
		c.Records = records
		return c.Digest()
	}
	if with("a A 192.0.2.1", "b TXT \"x\"") != with("B 300 TXT x", "a.example.net. 300 IN A 192.0.2.1", "a A 192.0.2.1") {
		t.Error("the same records, differently written, have two digests")
	}
	if with() != with([]string{}...) || with() == with("a A 192.0.2.1") || with("a A 192.0.2.1") == with("a 60 A 192.0.2.1") {
		t.Error("digests")
	}
}

func TestARecordIsRefusedBeforeItIsAdded(t *testing.T) {
	cfg, s := withRecords(t)
	have := []string{"blog A 192.0.2.90", "node2 A 192.0.2.1", "z CNAME y"} // the second is left out anyway
	for line, want := range map[string]string{
		"new A 192.0.2.1":         "",
		"node1 TXT x":             "",
		"node1 A 192.0.2.1":       "name of a node",
		"chat-server A ::1":       "is no record",
		"chat-server AAAA ::1":    "name of a role",
		"proxy CNAME x":           "is a service",
		"www TXT x":               "",
		"www AAAA ::1":            "configuration",
		"blog CNAME x":            "CNAME",
		"y CNAME z":               "lead back",
		"a CNAME z":               "",
		"x NS y":                  "cannot be static",
		"x TXT \"unfinished":      "is no record",
		"x.example.org. A ::1":    "is no record",
		"x.example.org. AAAA ::1": "is not in",
	} {
		if got := cfg.Refuses(have, line, s); want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	if got := cfg.Refuses(have, "node1 A 192.0.2.1", nil); got != "" {
		t.Errorf("without a status: %s", got)
	}
}
