package subjects_test

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func TestNamesThatCouldRewriteTheTreeAreRefused(t *testing.T) {
	for _, s := range []string{
		"", "*", ">", "a.b", "a b", "A", "sip proxy", "$SYS", "_x", "9lives", "é", "a\x00b", strings.Repeat("a", 64),
		"thor_king", "thor_",
	} {
		if r, err := subjects.ParseRole(s); !errors.Is(err, subjects.ErrBadRole) {
			t.Errorf("ParseRole(%q) = %q, %v", s, r, err)
		}
	}
	for _, s := range []string{
		"", "*", ">", "a.b", "-a", "a-", "A", "a_b", "1.2.3.4", "é", "proxy", "lookup", "sip-proxy", strings.Repeat("a", 64),
	} {
		if n, err := subjects.ParseNodeID(s); !errors.Is(err, subjects.ErrBadNode) {
			t.Errorf("ParseNodeID(%q) = %q, %v", s, n, err)
		}
	}
	for _, s := range []string{"sip_proxy", "x", "a1", "thor_manager", "thor_operator", strings.Repeat("a", 63)} {
		if _, err := subjects.ParseRole(s); err != nil {
			t.Errorf("ParseRole(%q): %v", s, err)
		}
	}
	for _, s := range []string{"n1", "1", "host-7", strings.Repeat("a", 63)} {
		if _, err := subjects.ParseNodeID(s); err != nil {
			t.Errorf("ParseNodeID(%q): %v", s, err)
		}
	}
}

func TestPresenceSubjectRoundTrips(t *testing.T) {
	r, n, err := subjects.ParsePresence(subjects.Presence("sip_proxy", "n1"))
	if err != nil || r != "sip_proxy" || n != "n1" {
		t.Fatalf("got %q %q %v", r, n, err)
	}
	for _, s := range []string{"thor.role.sip_proxy", "thor.role.sip_proxy.n1.x", "thor.role..n1", "role.a.b", "thor.role.*.n1"} {
		if _, _, err := subjects.ParsePresence(s); err == nil {
			t.Errorf("ParsePresence(%q) accepted", s)
		}
	}
}

// Each class of reliability's "NATS message" row has its own code.
func TestBadAnnouncementsAreRefusedWithTheirCode(t *testing.T) {
	const subject = "thor.role.sip_proxy.n1"
	const ok = `{"v":1,"node":"n1","role":"sip_proxy","addresses":["10.0.0.1"]}`
	with := func(extra string) string { return strings.TrimSuffix(ok, "}") + "," + extra + "}" }
	for _, c := range []struct {
		name, payload string
		code          subjects.Code
	}{
		{"empty", "", subjects.CodeEmpty},
		{"not JSON", "hello", subjects.CodeJSON},
		{"array", "[]", subjects.CodeJSON},
		{"null", "null", subjects.CodeJSON},
		{"cut", ok[:len(ok)-2], subjects.CodeJSON},
		{"two documents", ok + ok, subjects.CodeJSON},
		{"duplicate key", with(`"node":"n2"`), subjects.CodeJSON},
		{"deep", with(`"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100)), subjects.CodeJSON},
		{"NaN", with(`"seq":NaN`), subjects.CodeJSON},
		{"64 KiB", with(`"x":"` + strings.Repeat("a", 64<<10) + `"`), subjects.CodeTooLarge},
		{"not UTF-8", with("\"reason\":\"\xff\xfe\""), subjects.CodeUTF8},
		{"seq a string", with(`"seq":"1"`), subjects.CodeType},
		{"seq negative", with(`"seq":-1`), subjects.CodeType},
		{"seq 1e400", with(`"seq":1e400`), subjects.CodeType},
		{"seq above 2^53", with(`"seq":9007199254740993`), subjects.CodeRange},
		{"seen one number", with(`"seen":[1]`), subjects.CodeType},
		{"seen absurd", with(`"seen":[18446744073709551615,1]`), subjects.CodeRange},
		{"version 2", strings.Replace(ok, `"v":1`, `"v":2`, 1), subjects.CodeVersion},
		{"no version", strings.Replace(ok, `"v":1,`, ``, 1), subjects.CodeVersion},
		{"foreign node", strings.Replace(ok, `"n1"`, `"n2"`, 1), subjects.CodeForeign},
		{"foreign role", strings.Replace(ok, `sip_proxy`, `media_relay`, 1), subjects.CodeForeign},
		{"wildcard node", strings.Replace(ok, `"n1"`, `"*"`, 1), subjects.CodeName},
		{"no addresses", strings.Replace(ok, `["10.0.0.1"]`, `[]`, 1), subjects.CodeAddress},
		{"0.0.0.0", strings.Replace(ok, `10.0.0.1`, `0.0.0.0`, 1), subjects.CodeAddress},
		{"multicast", strings.Replace(ok, `10.0.0.1`, `224.0.0.1`, 1), subjects.CodeAddress},
		{"v4 in v6", strings.Replace(ok, `10.0.0.1`, `::ffff:10.0.0.1`, 1), subjects.CodeAddress},
		{"zone", strings.Replace(ok, `10.0.0.1`, `fe80::1%eth0`, 1), subjects.CodeAddress},
		{"twice", strings.Replace(ok, `["10.0.0.1"]`, `["10.0.0.1","10.0.0.1"]`, 1), subjects.CodeAddress},
		{"not an address", strings.Replace(ok, `10.0.0.1`, `n1.example`, 1), subjects.CodeType},
		{"state suspect", with(`"state":"suspect"`), subjects.CodeState},
		{"priority -1", with(`"priority":-1`), subjects.CodeRange},
		{"weight 70000", with(`"weight":70000`), subjects.CodeRange},
		{"terminal escape", with(`"reason":"\u001b[2J"`), subjects.CodeText},
		{"long reason", with(`"reason":"` + strings.Repeat("a", 300) + `"`), subjects.CodeText},
		{"attribute name", with(`"attrs":{"A b":"x"}`), subjects.CodeText},
		{"attribute escape", with(`"attrs":{"a":"\u0007"}`), subjects.CodeText},
		{"attribute object", with(`"attrs":{"a":{"b":1}}`), subjects.CodeType},
		{"17 attributes", with(`"attrs":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}`), subjects.CodeRange},
		{"operator", `{"v":1,"node":"n1","role":"thor_operator","addresses":["10.0.0.1"]}`, subjects.CodeName},
	} {
		if _, err := subjects.ParseAnnouncement(subject, []byte(c.payload)); subjects.CodeOf(err) != c.code {
			t.Errorf("%s: got %v, want %s", c.name, err, c.code)
		}
	}
	a, err := subjects.ParseAnnouncement(subject, []byte(with(`"attrs":{"control_port":25061,"tls":true,"x":"y"},"new_field":[1,{"a":2}]`)))
	if err != nil {
		t.Fatal(err)
	}
	if want := (subjects.Attrs{"control_port": "25061", "tls": "true", "x": "y"}); !reflect.DeepEqual(a.Attrs, want) {
		t.Errorf("attrs %v", a.Attrs)
	}
}

var t0 = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)

func member(n string, s subjects.State) subjects.Member {
	return subjects.Member{
		Node: subjects.NodeID(n), Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		State: s, Weight: 100, Since: t0,
	}
}

func status(gen uint64, nodes ...string) *subjects.Status {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: gen, Manager: "m1", Time: t0, Roles: map[subjects.Role][]subjects.Member{}}
	for _, n := range nodes {
		s.Put("sip_proxy", member(n, subjects.Up))
	}
	return s
}

func TestDeltaLeadsFromOneStatusToTheNext(t *testing.T) {
	a := status(1, "n2", "n1", "n4")
	b := status(2, "n1", "n3", "n4")
	m := member("n4", subjects.Suspect)
	m.Reason = "silent"
	b.Put("sip_proxy", m)
	b.Put("media_relay", member("n9", subjects.Up))
	b.Departed = []subjects.Departed{{Node: "n2", Addresses: m.Addresses, Until: t0.Add(time.Hour)}}
	d, err := subjects.ParseDelta(subjects.Diff(a, b).Encode())
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Changes) != 4 {
		t.Errorf("changes: %+v", d.Changes)
	}
	got, enc, ok := a.Apply(d)
	if !ok || string(enc) != string(b.Encode()) || got.Mark() != b.Mark() {
		t.Fatalf("apply: %v\n%s\n%s", ok, enc, b.Encode())
	}
	if len(a.Roles["sip_proxy"]) != 3 || a.Member("sip_proxy", "n2") == nil {
		t.Error("apply wrote to the old status")
	}
	if _, _, ok := status(7, "n1").Apply(d); ok {
		t.Error("a delta applied to a status it does not start from")
	}
	back, _, ok := b.Apply(func() *subjects.Delta { c := status(3, "n1"); return subjects.Diff(b, c) }())
	if !ok || len(back.Departed) != 0 || len(back.Roles) != 1 {
		t.Errorf("forgetting: %v %+v", ok, back)
	}
	tampered := *d
	tampered.Changes = d.Changes[1:]
	if _, _, ok := a.Apply(&tampered); ok {
		t.Error("a delta that misses its digest was applied")
	}
}

func TestDeltaThatDoesNotFitAsksForReload(t *testing.T) {
	a, b := status(1), status(2)
	for i := range 200 {
		b.Put("sip_proxy", member("node-"+string(rune('a'+i%26))+strings.Repeat("x", 1+i/26), subjects.Up))
	}
	enc := subjects.Diff(a, b).Encode()
	d, err := subjects.ParseDelta(enc)
	if err != nil || !d.Reload || len(enc) > subjects.MaxDelta {
		t.Fatalf("%v, %d bytes, reload %v", err, len(enc), d != nil && d.Reload)
	}
	if _, _, ok := a.Apply(d); ok {
		t.Error("a reload was applied")
	}
}

func TestSnapshotTravelsInChunksOfAnyOrder(t *testing.T) {
	for _, n := range []int{1, 100, 5000} {
		s := status(9)
		for i := range n {
			m := member("n"+strings.Repeat("z", i%7)+string(rune('a'+i%26)), subjects.Up)
			m.Node = subjects.NodeID("node" + itoa(i))
			m.Reason = itoa(i * 7919)
			s.Put("sip_proxy", m)
		}
		enc := s.Encode()
		chunks := subjects.Chunks(enc)
		var as subjects.Assembly
		var plain []byte
		for i := len(chunks) - 1; i >= 0; i-- {
			c := chunks[i]
			p, done, err := as.Add(func(k string) string { return c.Header[k] }, c.Data)
			if err != nil {
				t.Fatal(err)
			}
			if done != (i == 0) {
				t.Fatalf("done after chunk %d of %d", i+1, len(chunks))
			}
			plain = p
		}
		if string(plain) != string(enc) {
			t.Errorf("%d members: assembly differs", n)
		}
		got, err := subjects.ParseStatus(plain)
		if err != nil || string(got.Encode()) != string(enc) {
			t.Errorf("%d members: canonical form is not stable: %v", n, err)
		}
	}
	var as subjects.Assembly
	c := subjects.Chunks(status(1, "n1").Encode())[0]
	if _, _, err := as.Add(func(k string) string { return c.Header[k] }, append([]byte(" "), c.Data...)); err == nil {
		t.Error("a snapshot with a wrong digest was accepted")
	}
}

func itoa(i int) string {
	var b []byte
	for b = append(b, byte('0'+i%10)); i >= 10; b = append(b, byte('0'+i%10)) {
		i /= 10
	}
	return string(b)
}

func TestMarksOrderByEpochThenGeneration(t *testing.T) {
	m := func(e, g uint64) subjects.Mark { return subjects.Mark{Epoch: e, Generation: g} }
	if !m(2, 1).After(m(1, 9)) || !m(1, 2).After(m(1, 1)) || m(1, 1).After(m(1, 1)) || m(1, 9).After(m(2, 1)) {
		t.Error("order")
	}
}

// The golden payloads are the protocol's promise: they change only with "v".
func TestGoldenPayloads(t *testing.T) {
	a := subjects.Announcement{
		V: 1, Node: "n1", Role: "sip_proxy", Boot: "b00t", Seq: 7, Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")},
		State: subjects.Up, Priority: 10, Weight: 100, Version: "1", Seen: &subjects.Mark{Epoch: 1, Generation: 2}, Via: "b1#9",
		Attrs: subjects.Attrs{"control_port": "25061"},
	}
	const wantA = `{"v":1,"node":"n1","role":"sip_proxy","boot":"b00t","seq":7,"addresses":["10.0.0.1"],"state":"up","priority":10,"weight":100,"version":"1","seen":[1,2],"via":"b1#9","attrs":{"control_port":"25061"}}`
	if got := string(a.Encode()); got != wantA {
		t.Errorf("announcement\n got %s\nwant %s", got, wantA)
	}
	const wantS = `{"v":1,"domain":"example.net","epoch":1,"generation":4,"manager":"m1","time":"2026-11-24T01:02:03Z","roles":{"sip_proxy":[{"node":"n1","addresses":["10.0.0.1"],"state":"up","reason":"","priority":0,"weight":100,"since":"2026-11-24T01:02:03Z","attrs":{}}]},"departed":[],"lookup":{"sip_proxy":{"bits":18,"digest":"00112233445566ff"}}}`
	st := status(4, "n1")
	st.Lookup = map[subjects.Role]subjects.Lookup{"sip_proxy": {Bits: 18, Digest: "00112233445566ff"}}
	if got := string(st.Encode()); got != wantS {
		t.Errorf("status\n got %s\nwant %s", got, wantS)
	}
	if got := string(status(4).Encode()); !strings.HasSuffix(got, `"departed":[],"lookup":{}}`) {
		t.Errorf("status without lookups: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"v":1,"node":"n1","role":"sip_proxy","addresses":["10.0.0.1"],"attrs":{"a":1}}`))
	f.Add(status(3, "n1", "n2").Encode())
	f.Add([]byte(`{"v":1,"broker":"b1","node":"n1","serial":"0a","not_after":"2026-12-24T01:02:03Z","roles":["sip_proxy"],"addresses":["10.0.0.1"],"bounds":{"sip_proxy":{"weight":200}}}`))
	f.Add(subjects.Diff(status(1, "n1"), status(2, "n2")).Encode())
	f.Add([]byte(`{"v":1,"nodes":9,"heard":6,"sites":{"ams":0,"fra":3,"lon":3}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := subjects.ParseAnnouncement("thor.role.sip_proxy.n1", b); err == nil {
			if again, err := subjects.ParseAnnouncement("thor.role.sip_proxy.n1", a.Encode()); err != nil || !reflect.DeepEqual(a.Addresses, again.Addresses) {
				t.Errorf("announcement does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
		if s, err := subjects.ParseStatus(b); err == nil {
			enc := s.Encode()
			if again, err := subjects.ParseStatus(enc); err != nil || string(again.Encode()) != string(enc) {
				t.Errorf("status does not survive a round trip: %v", err)
			}
			if n, _, ok := s.Apply(subjects.Diff(s, status(s.Generation+1, "n1"))); ok && n == nil {
				t.Error("apply gave nothing")
			}
		}
		if w, err := subjects.ParseIdentity("thor.sys.identity.b1", b); err == nil {
			if again, err := subjects.ParseIdentity("thor.sys.identity.b1", w.Encode()); err != nil || !reflect.DeepEqual(w, again) {
				t.Errorf("identity does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
		if h, err := subjects.ParseHearing(b); err == nil {
			if again, err := subjects.ParseHearing(h.Encode()); err != nil || !reflect.DeepEqual(h, again) {
				t.Errorf("hearing does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
		_, _ = subjects.ParseDelta(b)
		_, _ = subjects.ParseTick(b)
		_, _ = subjects.ParseLease(b)
		_, _ = subjects.ParseEvent(b)
		_, _ = subjects.ParseRevoked(b)
		_, _ = subjects.ParseReply(b)
		_, _ = subjects.ParseRoleView(b)
		_, _ = subjects.ParseSnapshotRequest(b)
		if r, err := subjects.ParseReport(b); err == nil {
			if again, err := subjects.ParseReport(r.Encode()); err != nil || !reflect.DeepEqual(r, again) {
				t.Errorf("report does not survive a round trip: %v", err)
			}
		} else if subjects.CodeOf(err) == "" {
			t.Errorf("error without code: %v", err)
		}
	})
}

func TestANilStatusHasNoMembers(t *testing.T) {
	var s *subjects.Status
	if s.Member("sip_proxy", "n1") != nil || len(s.RoleNames()) != 0 || len(s.Counts()) != 0 {
		t.Error("a nil status has members")
	}
}

// Deltas with many departed nodes: what came, what changed, and what went.
func TestDiffOfManyDepartedNodes(t *testing.T) {
	when := time.Date(2026, 11, 30, 1, 2, 3, 0, time.UTC)
	at := func(from, to int, until time.Time) (out []subjects.Departed) {
		for i := from; i < to; i++ {
			out = append(out, subjects.Departed{
				Node: subjects.NodeID(fmt.Sprintf("n%05d", i)), Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})}, Until: until,
			})
		}
		return out
	}
	a := &subjects.Status{V: 1, Epoch: 1, Generation: 1, Departed: at(0, 3000, when)}
	b := &subjects.Status{V: 1, Epoch: 1, Generation: 2, Departed: append(at(5, 3000, when), at(3000, 3003, when)...)}
	b.Departed[10].Until = when.Add(time.Second)
	d := subjects.Diff(a, b)
	if len(d.Gone) != 4 || d.Gone[0].Node != "n00015" || len(d.Forgotten) != 5 || d.Forgotten[0] != "n00000" {
		t.Fatalf("gone %v, forgotten %v", d.Gone, d.Forgotten)
	}
	if next, _, ok := a.Apply(d); !ok || len(next.Departed) != 2998 {
		t.Error("the delta does not lead there")
	}
}

// BenchmarkParseAnnouncement is what each beat costs each manager before its table.
func BenchmarkParseAnnouncement(b *testing.B) {
	a := &subjects.Announcement{
		V: 1, Node: "node00007", Role: "sip_proxy", Boot: "0123456789abcdef01234567", Seq: 1, Addresses: []netip.Addr{netip.MustParseAddr("10.1.0.7")},
		State: subjects.Up, Weight: 100, Version: "kamailio 5.8.4", Via: "b2#7", Seen: &subjects.Mark{Epoch: 3, Generation: 1000},
		Attrs: subjects.Attrs{"udp_port": "5060", "tcp_port": "5060", "tls_port": "5061"},
	}
	subject, data := subjects.Presence(a.Role, a.Node), a.Encode()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := subjects.ParseAnnouncement(subject, data); err != nil {
			b.Fatal(err)
		}
	}
}
