package manager

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/manager/membership"
	"thor/subjects"
)

// Each active guard is a gauge with its name, once, and none when it ended.
func TestGuardsAreGauges(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	shown := func() (names []string) {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			for _, x := range f.GetMetric() {
				if f.GetName() == "thor_guard_active" && x.GetGauge().GetValue() == 1 {
					names = append(names, x.GetLabel()[0].GetValue())
				}
			}
		}
		return names
	}
	for _, name := range []string{
		membership.GuardLast, membership.GuardPanic, membership.GuardObserver, membership.GuardBroker, membership.GuardDamping,
		membership.GuardChecks, membership.GuardHold, membership.GuardSite,
	} {
		m.guards([]membership.Guard{{Name: name, Role: "sip_proxy"}, {Name: name, Role: "media_relay"}})
		if got := shown(); len(got) != 1 || got[0] != name {
			t.Errorf("%s: shown are %v", name, got)
		}
	}
	if m.guards(nil); len(shown()) != 0 {
		t.Errorf("at the end %v are shown", shown())
	}
}

// What only an active manager tells ends when it steps down: a reading that stays would
// be a second truth beside that of the next one.
func TestGaugesOfALeadershipEnd(t *testing.T) {
	reg := prometheus.NewRegistry()
	m := newMetrics(reg)
	names := func() map[string]int {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]int)
		for _, f := range all {
			out[f.GetName()] = len(f.GetMetric())
		}
		return out
	}
	now := time.Now()
	led := []string{"thor_status_epoch", "thor_status_generation", "thor_members", "thor_members_expected", "thor_guard_active"}
	for turn := range 2 {
		m.elected(now.Add(-2*time.Second), now)
		m.show(&subjects.Status{Epoch: 7, Generation: 9, Roles: map[subjects.Role][]subjects.Member{"sip_proxy": {{Node: "n1", State: subjects.Up}}}})
		m.guards([]membership.Guard{{Name: membership.GuardPanic}})
		got := names()
		for _, name := range led {
			if got[name] == 0 {
				t.Errorf("leadership %d: no %s", turn, name)
			}
		}
		m.standby()
		got = names()
		for _, name := range led {
			if got[name] != 0 {
				t.Errorf("after leadership %d: %s has %d values", turn, name, got[name])
			}
		}
		if got["thor_manager_active"] != 1 || got["thor_elections_total"] != 1 || got["thor_takeover_seconds"] != 1 {
			t.Errorf("%v", got)
		}
	}
	m.elected(time.Time{}, now)
	all, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range all {
		switch x := f.GetMetric()[0]; {
		case f.GetName() == "thor_takeover_seconds" && (x.GetHistogram().GetSampleCount() != 2 || x.GetHistogram().GetSampleSum() != 4):
			t.Errorf("%v", x) // the first manager of a network takes over from none
		case f.GetName() == "thor_elections_total" && x.GetCounter().GetValue() != 3:
			t.Errorf("%v", x)
		}
	}
}
