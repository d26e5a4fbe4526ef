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
	ok, reasons := view.Health(losing(), false, true)
	want := []string{
		"sip_proxy: proxy2 is suspect, OPTIONS udp:81.23.228.150:5060 timed out 2 times",
		"media_relay: relay3 is lost, certificate expired",
		"sip_proxy: 2 are lost, proxy4 proxy5",
		"sip_proxy: proxy6 is held down, left and came back too often",
		"sip_proxy: 3 of 4 expected members",
		"xcap_server: x1 is lost, silent",
	}
	if ok || !slices.Equal(reasons, want) {
		t.Errorf("%v, %q", ok, reasons)
	}
}

// A status may name as many lost members as it wants: the table stays readable.
func TestStatusTableNamesTheFirstOfManyLosses(t *testing.T) {
	s := mixed().Status
	for n := range 1000 {
		s.Lost = append(s.Lost, subjects.Lost{Node: subjects.NodeID(fmt.Sprintf("p%04d", n)), Role: "sip_proxy", Reason: "silent", Since: noon})
	}
	got := view.StatusTable(s, noon, false)
	if n := strings.Count(got, "lost: p"); n != 20 || !strings.Contains(got, "lost: 980 more, see thor members\n") || !strings.Contains(got, "1000 are lost, p0000 p0001 p0002 and 997 more") {
		t.Errorf("%d lines:\n%s", n, got)
	}
	if got := view.MembersTable(s, "sip_proxy", noon); strings.Count(got, " lost ") != 1000 {
		t.Errorf("thor members lists %d", strings.Count(got, " lost "))
	}
}
