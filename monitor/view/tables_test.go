package view_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

func TestHealthNamesEveryReasonToWorry(t *testing.T) {
	well := func() network {
		return newNetwork("example.org").member("sip_proxy", "n1", "192.0.2.1").member("sip_proxy", "n2", "192.0.2.2")
	}
	suspect := state(subjects.Suspect, "OPTIONS timed out", time.Minute)
	draining := state(subjects.Draining, "operator", time.Minute)
	for _, c := range []struct {
		name             string
		s                *subjects.Status
		stale, connected bool
		want             []string
	}{
		{"well", well().Status, false, true, nil},
		{"draining beside one that serves", well().member("sip_proxy", "n2", "192.0.2.2", draining).Status, false, true, nil},
		{"nothing known", nil, false, true, []string{"nothing is known of the network yet"}},
		{"no link and nothing known", nil, true, false, []string{"no connection to a broker", "nothing is known of the network yet"}},
		{"stale", well().Status, true, true, []string{"no active manager confirms the status"}},
		{"no link", well().Status, false, false, []string{"no connection to a broker"}},
		{"one suspect", well().member("sip_proxy", "n2", "192.0.2.2", suspect).Status, false, true, []string{
			"sip_proxy: n2 is suspect, OPTIONS timed out",
		}},
		{"many suspects", well().member("sip_proxy", "n1", "192.0.2.2", suspect).member("sip_proxy", "n2", "192.0.2.2", suspect).
			member("sip_proxy", "n3", "192.0.2.2", suspect).member("sip_proxy", "n4", "192.0.2.2", suspect).Status, false, true, []string{
			"sip_proxy: 4 of 4 are suspect, n1 n2 n3 and 1 more",
		}},
		{"all draining", well().member("xcap_server", "n1", "192.0.2.1", draining).Status, false, true, []string{
			"xcap_server: no member serves, 1 draining",
		}},
	} {
		ok, reasons := view.Health(c.s, noon, c.stale, c.connected)
		if ok != (len(c.want) == 0) || !slices.Equal(reasons, c.want) {
			t.Errorf("%s: %v, %q", c.name, ok, reasons)
		}
	}
	s := well().Status
	s.Manager = ""
	if ok, reasons := view.Health(s, noon, false, true); ok || len(reasons) != 1 {
		t.Errorf("without a manager: %v, %q", ok, reasons)
	}
}

func TestStatusAndMembersTablesAlignAtDisplayWidth(t *testing.T) {
	s := mixed().Status
	s.Departed = []subjects.Departed{{Node: "gone1", Until: noon.Add(5 * time.Minute)}}
	golden(t, "testdata/status.golden", view.StatusTable(s, noon, false))
	golden(t, "testdata/members.golden", view.MembersTable(s, "", noon))
	golden(t, "testdata/members-role.golden", view.MembersTable(s, "thor_manager", noon))
	if got := view.MembersTable(s, "no_such_role", noon); strings.Count(got, "\n") != 1 {
		t.Errorf("an unknown role gives %q", got)
	}
	if got := view.StatusTable(nil, noon, true); got != "degraded: nothing is known of the network yet\n" {
		t.Errorf("no status gives %q", got)
	}
	if got := view.StatusTable(s, noon, true); !strings.Contains(got, ", stale\n") {
		t.Errorf("a stale status gives %q", got)
	}
}

func TestEventLineTellsTimeKindRoleNodeAndCause(t *testing.T) {
	e := &subjects.Event{Time: noon, Kind: subjects.EventLeave, Role: "sip_proxy", Node: "n1", Detail: "its connection ended"}
	want := noon.Local().Format("2006-01-02 15:04:05") + "  leave      sip_proxy             n1                its connection ended"
	if got := view.EventLine(e); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	e = &subjects.Event{Time: noon, Kind: subjects.EventGuard, Detail: "G3\x1b[2J mysql://u:secret@h"}
	if got := view.EventLine(e); !strings.HasSuffix(got, "guard      -                     -                 G3\uFFFD[2J mysql://u:xxxxxx@h") {
		t.Errorf("got %q", got)
	}
}
