package view_test

import (
	"strings"
	"testing"

	"thor/monitor/view"
	"thor/subjects"
)

func TestFaultsOfTheLookupAreReasons(t *testing.T) {
	s := &subjects.Status{V: 1, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{}}
	s.Put(subjects.SIPProxy, subjects.Member{Node: "n1", State: subjects.Up, Attrs: subjects.Attrs{subjects.LookupDiffers: "sip_proxy: computed 1, told 2"}})
	s.Put(subjects.Manager, subjects.Member{Node: "m2", State: subjects.Up, Attrs: subjects.Attrs{"state": "standby", subjects.HeldBack: "lookup of sip_proxy: \x1b[2J2^20"}})
	ok, reasons := view.Health(s, noon, false, true)
	text := strings.Join(reasons, "\n")
	if ok || len(reasons) != 2 || !strings.Contains(text, "n1 computes another lookup table, sip_proxy: computed 1, told 2") ||
		!strings.Contains(text, "m2 will not lead, lookup of sip_proxy") || strings.Contains(text, "\x1b") {
		t.Errorf("%v %q", ok, reasons)
	}
	s.Roles = map[subjects.Role][]subjects.Member{subjects.SIPProxy: {{Node: "n1", State: subjects.Up}}}
	if ok, reasons := view.Health(s, noon, false, true); !ok {
		t.Errorf("without faults: %q", reasons)
	}
}

func TestADuplicateIsAReason(t *testing.T) {
	s := &subjects.Status{V: 1, Manager: "m1", Roles: map[subjects.Role][]subjects.Member{}}
	s.Put(subjects.SIPProxy, subjects.Member{Node: "n1", State: subjects.Up, Reason: "duplicate: another process"})
	if ok, reasons := view.Health(s, noon, false, true); ok || len(reasons) != 1 || reasons[0] != "sip_proxy: n1 is up, duplicate: another process" {
		t.Errorf("%v %q", ok, reasons)
	}
}
