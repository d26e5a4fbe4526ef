package live

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count whether or not anything collects them.
type metrics struct {
	members  *prometheus.GaugeVec
	inStep   *prometheus.GaugeVec
	reloads  *prometheus.CounterVec
	states   *prometheus.CounterVec
	failures *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	labels := []string{"role", "table"}
	counter := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
	}
	m := &metrics{
		members:  gauge("thor_nodeagent_set_members", "Entries that the sets of a proxy's table should hold."),
		inStep:   gauge("thor_nodeagent_set_in_step", "1 while the proxy holds what its table should."),
		reloads:  counter("thor_nodeagent_set_reloads_total", "Reloads of a proxy's table."),
		states:   counter("thor_nodeagent_set_states_total", "States of single entries that a proxy was told."),
		failures: counter("thor_nodeagent_set_failures_total", "Attempts to change a proxy's table that failed."),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thor_nodeagent_set_change_seconds", Help: "Time from a status until the proxy holds what it says.",
			Buckets: []float64{0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20},
		}, labels),
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.members, m.inStep, m.reloads, m.states, m.failures, m.took} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// forget takes out what is told of a table that is not kept any more.
func (m *metrics) forget(labels ...string) {
	for _, v := range []interface{ DeleteLabelValues(...string) bool }{m.members, m.inStep, m.reloads, m.states, m.failures, m.took} {
		v.DeleteLabelValues(labels...)
	}
}
