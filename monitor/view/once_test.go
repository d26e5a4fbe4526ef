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
// version 10 of 20 September 2009).
//
// Of the description: the domain; 81.23.228.150 as media_relay, sip_proxy,
// thor_dnsmanager, thor_manager and the thor_monitor that is "myself"; three
// sip_proxy members; two thor_manager members, both at priority 50; three
// thor_database members, of which the first is 10.0.0.131, two are at priority 10
// and share a database name, and one is at 50; the shape of the screen.
//
// Reconstructed, since the literal screen was not at hand: the words of the
// title around domain, time and date, and its time; the other addresses (public
// ones of that platform, and neighbours of 10.0.0.131); the database's user,
// names and the hosts in the URIs. Node names were not on the screen.
func sipthor2009() network {
	n := newNetwork("sipthor.net")
	for _, r := range []subjects.Role{"media_relay", "sip_proxy", "thor_dnsmanager", "thor_manager", "thor_monitor"} {
		n.member(r, "node150", "81.23.228.150")
	}
	for _, r := range []subjects.Role{"media_relay", "sip_proxy"} {
		n.member(r, "node129", "81.23.228.129").member(r, "node7", "85.17.186.7")
	}
	n.member("thor_dnsmanager", "node7", "85.17.186.7")
	n.member("thor_manager", "node150", "81.23.228.150", priority(50)).member("thor_manager", "node7", "85.17.186.7", priority(50))
	n.member("thor_database", "zdb1", "10.0.0.131", priority(10), database("mysql://sipthor:s3cr3t@10.0.0.131/sipthor"))
	n.member("thor_database", "db2", "10.0.0.132", priority(10), database("mysql://sipthor:s3cr3t@10.0.0.132/sipthor"))
	n.member("thor_database", "db3", "10.0.0.133", priority(50), database("mysql://sipthor:s3cr3t@10.0.0.133/sipthor_standby"))
	return n
}

func TestOncePrintsTheScreenOf2009(t *testing.T) {
	got := view.Once(sipthor2009().Status, noon, view.OnceOptions{Node: "node150"})
	golden(t, "../testdata/sipthor-2009.golden", got)
	if got != trimLines(got) || !strings.HasSuffix(got, "\n") || strings.HasSuffix(got, "\n\n") {
		t.Error("lines end in blanks, or the screen not in one newline")
	}
}

func TestOnceShowsStatesOnlyWhereTheyAreNotUpAndWidensOnlyWhereNeeded(t *testing.T) {
	n := newNetwork("example.org")
	n.member("sip_proxy", "n1", "192.0.2.10")
	n.member("sip_proxy", "n2", "192.0.2.9", state(subjects.Suspect, "OPTIONS timed out", time.Minute))
	n.member("sip_proxy", "n3", "192.0.2.200", state(subjects.Draining, "operator", time.Minute), priority(5))
	n.member("media_relay", "n1", "2001:db8:1234:5678:9abc:def0:1234:5678", priority(10))
	n.member("media_relay", "n2", "192.0.2.10", priority(10))
	n.member("thor_database", "n4", "192.0.2.3", priority(10), database("mysql://thor:p@ss:w/rd@192.0.2.3/thor"), state(subjects.Suspect, "down", 0))
	n.member("thor_eventserver", "n5", "255.255.255.254")
	golden(t, "testdata/once-states.golden", view.Once(n.Status, noon, view.OnceOptions{Node: "n1"}))
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
		_, reasons := view.Health(s, false, true)
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
