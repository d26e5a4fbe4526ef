package view_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"thor/monitor/view"
	"thor/subjects"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares got with a golden file, trailing blanks of lines aside.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(trimLines(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if trimLines(got) != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", filepath.Base(file), got, want)
	}
}

func trimLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

// network builds statuses for tests.
type network struct{ *subjects.Status }

func newNetwork(domain string) network {
	return network{&subjects.Status{
		V: subjects.Version, Domain: domain, Epoch: 3, Generation: 1287, Manager: "n1", Time: noon.Add(-125 * time.Second),
	}}
}

// noon is the moment of all tests.
var noon = time.Date(2009, time.September, 20, 12, 0, 0, 0, time.FixedZone("CEST", 2*3600))

func (n network) member(role subjects.Role, node subjects.NodeID, addr string, change ...func(*subjects.Member)) network {
	m := subjects.Member{
		Node: node, Addresses: []netip.Addr{netip.MustParseAddr(addr)}, State: subjects.Up,
		Weight: subjects.DefaultWeight, Since: noon.Add(-3 * time.Hour),
	}
	for _, f := range change {
		f(&m)
	}
	n.Put(role, m)
	return n
}

func priority(p int) func(*subjects.Member) { return func(m *subjects.Member) { m.Priority = p } }

func database(uri string) func(*subjects.Member) {
	return func(m *subjects.Member) { m.Attrs = subjects.Attrs{"dburi": uri} }
}

func state(s subjects.State, why string, since time.Duration) func(*subjects.Member) {
	return func(m *subjects.Member) { m.State, m.Reason, m.Since = s, why, noon.Add(-since) }
}

// sipthor2009 is the network of the screen in the SIP Thor description (wiki,
// version 10 of 20 September 2009). Node names were not on the screen.
func sipthor2009() network {
	n := newNetwork("sipthor.net")
	for role, addrs := range map[subjects.Role]string{
		"media_relay":         "85.17.186.7 81.23.228.150 85.17.186.6 81.23.228.129", // the screen orders them
		"provisioning_server": "81.23.228.164 81.23.228.144",
		"sip_proxy":           "81.23.228.129 81.23.228.150 85.17.186.7",
		"thor_dnsmanager":     "80.247.197.195 81.23.228.150 85.17.186.8",
		"thor_monitor":        "81.23.228.150",
		"voicemail_server":    "81.23.228.143",
		"xcap_server":         "81.23.228.144 81.23.228.164",
	} {
		for a := range strings.FieldsSeq(addrs) {
			n.member(role, nodeAt(a), a)
		}
	}
	for _, a := range []string{"81.23.228.150", "85.17.186.8"} {
		n.member("thor_manager", nodeAt(a), a, priority(50))
	}
	for _, d := range []struct {
		addr, host string
		priority   int
	}{{"10.0.0.131", "db-log.dns-hosting.info", 10}, {"10.0.0.132", "db-log.dns-hosting.info", 10}, {"85.17.186.8", "10.30.30.8", 50}} {
		n.member("thor_database", nodeAt(d.addr), d.addr, priority(d.priority), database("mysql://sipthor:s3cr3t@"+d.host+"/sipthor"))
	}
	return n
}

func nodeAt(addr string) subjects.NodeID {
	return subjects.NodeID("n" + strings.ReplaceAll(addr, ".", "-"))
}

// The golden file is the screen as it stands in the description, with the blanks
// at the ends of its lines.
func TestOncePrintsTheScreenOf2009ByteForByte(t *testing.T) {
	want, err := os.ReadFile("testdata/sipthor-2009.golden")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2009, time.September, 20, 1, 33, 54, 0, noon.Location())
	if got := view.Once(sipthor2009().Status, at, view.OnceOptions{Node: nodeAt("81.23.228.150")}); got != string(want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestOnceAddsToTheRightWhatTheScreenOf2009HasNot(t *testing.T) {
	also := func(addr string) func(*subjects.Member) {
		return func(m *subjects.Member) { m.Addresses = append(m.Addresses, netip.MustParseAddr(addr)) }
	}
	n := newNetwork("example.org")
	n.member("sip_proxy", "n1", "192.0.2.10")
	n.member("sip_proxy", "n2", "192.0.2.9", state(subjects.Suspect, "OPTIONS timed out", time.Minute))
	n.member("sip_proxy", "n3", "192.0.2.200", state(subjects.Draining, "operator", time.Minute), priority(5))
	n.member("sip_proxy", "n6", "192.0.2.11", also("192.0.2.12"))
	n.member("sip_proxy", "n7", "192.0.2.13", also("2001:db8::d"), state(subjects.Suspect, "", time.Minute))
	n.member("sip_proxy", "n8", "2001:db8::e", also("192.0.2.14"))
	n.member("media_relay", "n1", "2001:db8:1234:5678:9abc:def0:1234:5678", priority(10))
	n.member("media_relay", "n2", "192.0.2.10", priority(10))
	n.member("thor_database", "n4", "192.0.2.3", priority(10), database("mysql://thor:p@ss:w/rd@192.0.2.3/thor"), state(subjects.Suspect, "down", 0))
	n.member("thor_eventserver", "n5", "255.255.255.254")
	n.member("thor_eventserver", "n9", "2001:db8::9")
	n.member("thor_monitor", "n1", "192.0.2.10", also("2001:db8::1"), state(subjects.Draining, "operator", time.Minute))
	got := view.Once(n.Status, noon, view.OnceOptions{Node: "n1"})
	golden(t, "testdata/once-states.golden", got)
	for _, line := range []string{
		"    192.0.2.9       suspect\n", "    192.0.2.10     \n", "    192.0.2.11      192.0.2.12\n", "    192.0.2.13      2001:db8::d suspect\n",
		"    192.0.2.14      2001:db8::e\n", "    192.0.2.200     priority=5   draining\n",
		"    2001:db8:1234:5678:9abc:def0:1234:5678 priority=10 \n", "    192.0.2.10      priority=10 \n",
		"    192.0.2.3       priority=10  mysql://thor:xxxxxx@192.0.2.3/thor suspect\n", "    192.0.2.10      myself 2001:db8::1 draining\n",
	} {
		if !strings.Contains(got, "\n"+line) {
			t.Errorf("no line %q", line)
		}
	}
}

func TestOnceOfNothingSaysSo(t *testing.T) {
	for _, s := range []*subjects.Status{nil, {}, newNetwork("").Status} {
		got := view.Once(s, noon, view.OnceOptions{Domain: "example.org"})
		golden(t, "testdata/once-empty.golden", got)
	}
}

func TestOnceShowsTheLocalTimeOfNow(t *testing.T) {
	got := view.Once(nil, noon.In(time.UTC), view.OnceOptions{Domain: "example.org"})
	if !strings.Contains(got, "10:00:00") {
		t.Errorf("got %q", got)
	}
}

func FuzzOncePrintsNoControlCharactersAndNoPassword(f *testing.F) {
	f.Add("sip_proxy", "n1", "mysql://u:hunter2!@h/db", "up", "x.example")
	f.Add("a\x1b[2J", "n\n1", "\x1b]0;title\x07", "\x9b31m", "d\r\n")
	f.Add("r", "n", "\u202e\u2066x\u200b", "suspect", "\xff\xfe")
	f.Fuzz(func(t *testing.T, role, node, uri, st, domain string) {
		const password = "pwF00!"
		m := subjects.Member{
			Node: subjects.NodeID(node), State: subjects.State(st), Reason: uri, Priority: 10, Version: uri,
			Attrs:     subjects.Attrs{"dburi": uri, node: uri, "other": "x://" + "u:" + password + "@h/" + uri},
			Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1").WithZone("z" + node)},
		}
		s := &subjects.Status{Domain: domain, Manager: subjects.NodeID(node), Roles: map[subjects.Role][]subjects.Member{subjects.Role(role): {m}}}
		e := subjects.Event{Kind: subjects.EventKind(st), Role: subjects.Role(role), Node: subjects.NodeID(node), Detail: "x://u:" + password + "@h " + uri}
		live := view.NewModel(view.Options{}).Resize(200, 50).Show(view.Picture{Status: s, Connected: true}, noon)
		live = live.Happened([]subjects.Event{e}, noon).Paste(uri)
		checkSize(t, "members page", live.Render(), 200, 50)
		checkSize(t, "events page", live.Press("2").Resize(70, 20).Render(), 70, 20)
		_, reasons := view.Health(s, noon, false, true)
		for what, out := range map[string]string{
			"once": view.Once(s, noon, view.OnceOptions{}), "members": view.MembersTable(s, "", noon),
			"status": view.StatusTable(s, noon, false), "event": view.EventLine(&e),
			"live": stripOwn(live.Render()), "events": stripOwn(live.Press("2").Render()), "roles": stripOwn(live.Press("3").Render()),
			"health": strings.Join(reasons, "\n"),
		} {
			if i := strings.IndexFunc(out, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }); i >= 0 {
				t.Errorf("%s: %q at %d of %q", what, out[i:min(len(out), i+4)], i, out)
			}
			if !strings.Contains(uri, password) && strings.Contains(out, password) {
				t.Errorf("%s: the password is in %q", what, out)
			}
		}
	})
}
