package view_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// losing is a network with members that are lost and held, and too few of a role.
func losing() *subjects.Status {
	s := mixed().Status
	s.Losses = subjects.Losses{
		Lost: []subjects.Lost{
			{Node: "relay3", Role: "media_relay", Addresses: []netip.Addr{netip.MustParseAddr("85.17.186.8")}, Since: noon.Add(-26 * time.Hour), Reason: "certificate expired"},
			{Node: "proxy4", Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("85.17.186.9")}, Since: noon.Add(-5 * time.Minute), Reason: "connection lost"},
			{Node: "proxy5", Role: "sip_proxy", Addresses: []netip.Addr{netip.MustParseAddr("85.17.186.10")}, Since: noon.Add(-5 * time.Minute), Reason: "check failed: mysql://u:secret@h"},
			{Node: "x1", Role: "xcap_server", Addresses: []netip.Addr{netip.MustParseAddr("85.17.186.11")}, Since: noon.Add(-time.Second), Reason: "silent"},
		},
		Held: []subjects.Held{{Node: "proxy6", Role: "sip_proxy", Until: noon.Add(25 * time.Second), Reason: "left and came back too often"}},
	}
	for i := range s.Roles["thor_manager"] {
		s.Roles["thor_manager"][i].Attrs = subjects.Attrs{subjects.AttrExpect: "sip_proxy=4 voicemail_server=1"}
	}
	return s
}

func TestLostAndHeldMembersAreShown(t *testing.T) {
	s := losing()
	golden(t, "testdata/status-losses.golden", view.StatusTable(s, noon, false))
	golden(t, "testdata/members-losses.golden", view.MembersTable(s, "", noon))
	golden(t, "testdata/once-losses.golden", view.Once(s, noon, view.OnceOptions{}))
	m := view.NewModel(view.Options{}).Resize(110, 32).Show(view.Picture{Status: s, Connected: true}, noon)
	golden(t, "testdata/live-losses.golden", stripOwn(m.Render()))
	golden(t, "testdata/live-losses-filter.golden", stripOwn(press(m, append(letters("/lost sip"), "enter")...).Render()))
	golden(t, "testdata/live-losses-roles.golden", stripOwn(press(m, "3").Render()))
	if got := view.MembersTable(s, "xcap_server", noon); !strings.Contains(got, "x1") || strings.Contains(got, "proxy4") {
		t.Errorf("of a role that has only a lost member:\n%s", got)
	}
}

func TestHealthIsDegradedWhileMembersAreLostHeldOrTooFew(t *testing.T) {
	ok, reasons := view.Health(losing(), noon, false, true)
	want := []string{
		"sip_proxy: proxy2 is suspect, OPTIONS udp:81.23.228.150:5060 timed out 2 times",
		"media_relay 2 of 3, relay3 lost 1 d ago (certificate expired)",
		"sip_proxy 3 of 6, 2 lost: proxy4 proxy5, proxy6 held down for 25 s (left and came back too often), 4 expected",
		"xcap_server 0 of 1, x1 lost 1 s ago (silent)",
	}
	if ok || !slices.Equal(reasons, want) {
		t.Errorf("%v, %q", ok, reasons)
	}
}

// The line that an operator reads first, as the network loses a proxy and, in another
// role, has fewer than are expected without a loss.
func TestALossIsOneLineOfWhoSinceWhenAndWhy(t *testing.T) {
	s := newNetwork("example.org").member("sip_proxy", "node1", "192.0.2.1").member("sip_proxy", "node3", "192.0.2.3").
		member("thor_manager", "m1", "192.0.2.1", func(m *subjects.Member) { m.Attrs = subjects.Attrs{subjects.AttrExpect: "media_relay=2"} }).Status
	s.Manager = "m1"
	s.Lost = []subjects.Lost{{Node: "node2", Role: "sip_proxy", Since: noon.Add(-4*time.Minute - 30*time.Second), Reason: "connection closed"}}
	ok, reasons := view.Health(s, noon, false, true)
	if want := []string{"media_relay 0 of 2, 2 expected", "sip_proxy 2 of 3, node2 lost 4 min ago (connection closed)"}; ok || !slices.Equal(reasons, want) {
		t.Errorf("%v, %q", ok, reasons)
	}
	for _, c := range []struct {
		since time.Time
		want  string
	}{
		{noon.Add(-59 * time.Second), "node2 lost 59 s ago ("},
		{noon.Add(time.Hour), "node2 lost 0 s ago ("},
		{noon.Add(-90 * time.Minute), "node2 lost 1 h ago ("},
		{noon.Add(-50 * time.Hour), "node2 lost 2 d ago ("},
		{time.Time{}, "node2 lost ("},
	} {
		s.Lost[0].Since = c.since
		if _, reasons := view.Health(s, noon, false, true); !strings.Contains(reasons[1], c.want) {
			t.Errorf("%q, want %q", reasons[1], c.want)
		}
	}
}

// A status may name as many lost members as it wants: the table stays readable.
func TestStatusTableNamesTheFirstOfManyLosses(t *testing.T) {
	s := mixed().Status
	for n := range 1000 {
		s.Lost = append(s.Lost, subjects.Lost{Node: subjects.NodeID(fmt.Sprintf("p%04d", n)), Role: "sip_proxy", Reason: "silent", Since: noon})
	}
	got := view.StatusTable(s, noon, false)
	if n := strings.Count(got, "\nlost: p"); n != 20 || !strings.Contains(got, "lost: 980 more, see thor members\n") || !strings.Contains(got, "sip_proxy 3 of 1003, 1000 lost: p0000 p0001 p0002 and 997 more") {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if got := view.MembersTable(s, "sip_proxy", noon); strings.Count(got, " lost ") != 1000 {
		t.Errorf("thor members lists %d", strings.Count(got, " lost "))
	}
}
