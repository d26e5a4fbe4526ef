package main

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/monitor/view"
	"thor/subjects"
)

// What a name server finds wrong with PowerDNS degrades the network, and ends with the fault.
func TestFaultsOfPowerDNSAreInTheStatus(t *testing.T) {
	now := time.Date(2026, 11, 2, 3, 4, 5, 0, time.UTC)
	member := subjects.Member{Node: "ns1", State: subjects.Up, Attrs: subjects.Attrs{subjects.AttrZone: "d1"}}
	st := &subjects.Status{Roles: map[subjects.Role][]subjects.Member{
		subjects.DNSManager:  {member},
		subjects.Manager:     {{Node: "m1", State: subjects.Up}},
		subjects.EventServer: {{Node: "b1", State: subjects.Up}},
	}}
	reasons := func(standing string, faults ...string) string {
		putPowerDNS(st.Roles[subjects.DNSManager][0].Attrs, powerDNSAttrs(standing, faults))
		_, why := view.Health(st, now, false, true)
		return strings.Join(why, "; ")
	}
	if got := reasons("writing"); strings.Contains(got, "PowerDNS") {
		t.Errorf("without a fault: %s", got)
	}
	got := reasons("standby", "database at a:1: refused", strings.Repeat("x", 2*subjects.MaxAttrValue))
	if !strings.Contains(got, "ns1 has a fault with PowerDNS, database at a:1: refused; xx") {
		t.Errorf("with faults: %s", got)
	}
	if attrs := st.Roles[subjects.DNSManager][0].Attrs; len(attrs[subjects.AttrPowerDNSFault]) > subjects.MaxAttrValue {
		t.Errorf("a fault of %d bytes is announced", len(attrs[subjects.AttrPowerDNSFault]))
	}
	if got := reasons("writing"); strings.Contains(got, "PowerDNS") {
		t.Errorf("once it is mended: %s", got)
	}
	if got := slices.Sorted(maps.Keys(st.Roles[subjects.DNSManager][0].Attrs)); !slices.Equal(got, []string{subjects.AttrPowerDNS, subjects.AttrZone}) {
		t.Errorf("attributes then: %v", got)
	}
}
