package manager

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"thor/manager/membership"
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
		membership.GuardChecks, membership.GuardHold,
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
