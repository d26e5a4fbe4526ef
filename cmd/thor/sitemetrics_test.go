package main

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

func TestMembersAreCountedBySite(t *testing.T) {
	s, active := twoSites(), true
	reg := prometheus.NewRegistry()
	reg.MustRegister(siteMembers{status: func() *subjects.Status { return s }, active: func() bool { return active }})
	counted := func() map[string]float64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.Metric {
				key := f.GetName()
				for _, l := range m.Label { // sorted by name
					key += " " + l.GetValue()
				}
				out[key] = m.GetGauge().GetValue()
			}
		}
		return out
	}
	got := counted()
	for key, want := range map[string]float64{
		"sip_proxy ams up": 1, "sip_proxy ams suspect": 0, "sip_proxy ams draining": 1, "sip_proxy fra suspect": 1, "sip_proxy fra up": 0,
		"sip_proxy lon up": 1, "media_relay ams up": 1, "thor_eventserver par up": 1,
	} {
		if n, ok := got["thor_site_members "+key]; !ok || n != want {
			t.Errorf("%s: %v (%v), want %v", key, n, ok, want)
		}
	}
	const places = 9 // site and role; a member without a site has none
	if len(got) != 3*places {
		t.Errorf("%d values: %v", len(got), got)
	}
	if active = false; len(counted()) != 0 {
		t.Error("a standby counts")
	}
	active, s = true, nil
	if len(counted()) != 0 {
		t.Error("it counts without a status")
	}
	s = &subjects.Status{Roles: map[subjects.Role][]subjects.Member{"sip_proxy": {{Node: "n1", State: subjects.Up}}}}
	if len(counted()) != 0 {
		t.Error("it counts without sites")
	}
}
