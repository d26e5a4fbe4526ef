package dnsagent

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Times are counted by transport, those of all goroutines together, each in the bucket
// of the first bound that it is within.
func TestTimesToAnAnswerAreCounted(t *testing.T) {
	var all tallies
	one, other, tcp := all.tally("udp"), all.tally("udp"), all.tally("tcp")
	one.took(10*time.Microsecond, 3)
	one.took(11*time.Microsecond, 0)
	other.took(11*time.Microsecond, 1)
	other.took(2*time.Second, 1)
	tcp.took(time.Millisecond, 1)
	reg := prometheus.NewRegistry()
	reg.MustRegister(&all)
	got, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		count uint64
		sum   float64
		at    map[float64]uint64
	}{
		"udp": {5, 2.000041, map[float64]uint64{10e-6: 3, 25e-6: 4, 1: 4}},
		"tcp": {1, 0.001, map[float64]uint64{500e-6: 0, 0.001: 1}},
	}
	for _, f := range got {
		if f.GetName() != "thor_dns_answer_seconds" {
			continue
		}
		for _, m := range f.GetMetric() {
			h, w := m.GetHistogram(), want[m.GetLabel()[0].GetValue()]
			delete(want, m.GetLabel()[0].GetValue())
			if h.GetSampleCount() != w.count || h.GetSampleSum() != w.sum {
				t.Errorf("%v", m)
			}
			for _, b := range h.GetBucket() {
				if n, ok := w.at[b.GetUpperBound()]; ok && n != b.GetCumulativeCount() {
					t.Errorf("within %g s: %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
				}
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not counted: %v", want)
	}
	if n := testing.AllocsPerRun(100, func() { one.took(time.Millisecond, 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
