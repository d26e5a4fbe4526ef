package powerdns

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count whether or not anybody collects them.
type metrics struct {
	rows          *prometheus.CounterVec
	failures      prometheus.Counter
	purgeFailures prometheus.Counter
	took          prometheus.Histogram
	visible       prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer, w *Writer) (*metrics, error) {
	m := &metrics{
		rows: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_dns_powerdns_rows_total", Help: "Rows of records written to the database of PowerDNS.",
		}, []string{"change"}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "thor_dns_powerdns_failures_total", Help: "Sessions with the database of PowerDNS that failed.",
		}),
		purgeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "thor_dns_powerdns_purge_failures_total", Help: "Times that PowerDNS could not be told to purge its caches.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "thor_dns_powerdns_write_seconds", Help: "Time of a transaction that changed rows.",
			Buckets: []float64{0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5},
		}),
		visible: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "thor_dns_powerdns_visible_seconds", Help: "Time from a new zone until PowerDNS answers with it.",
			Buckets: []float64{0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 20},
		}),
	}
	for _, c := range []string{"insert", "update", "delete"} {
		m.rows.WithLabelValues(c)
	}
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range append(w.gauges(), m.rows, m.failures, m.purgeFailures, m.took, m.visible) {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// gauges read the state of w.
func (w *Writer) gauges() (out []prometheus.Collector) {
	gauge := func(name, help string, labels prometheus.Labels, f func(s *state) float64) {
		out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
			w.mu.Lock()
			defer w.mu.Unlock()
			return f(&w.state)
		}))
	}
	for _, r := range standings {
		gauge("thor_dns_powerdns_state", "1 for what this name server does for the database of PowerDNS.", prometheus.Labels{"state": string(r)},
			func(s *state) float64 { return is(s.standing == r) })
	}
	gauge("thor_dns_powerdns_serial", "Serial of the zone in the database of PowerDNS; 0 before it is known.", nil,
		func(s *state) float64 { return float64(s.serial) })
	gauge("thor_dns_powerdns_foreign_rows", "Rows of others that are in sets of the network.", nil,
		func(s *state) float64 { return float64(s.foreign) })
	gauge("thor_dns_powerdns_left_out_records", "Records that the database of PowerDNS cannot hold, or that rows of others exclude.", nil,
		func(s *state) float64 { return float64(s.leftOut + len(s.conflicts)) })
	out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thor_dns_powerdns_lag_seconds", Help: "0 while the database of PowerDNS has the newest zone, else the time since it lacks one.",
	}, func() float64 { return w.Lag().Seconds() }))
	return out
}

func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// wrote counts what a pass changed.
func (m *metrics) wrote(r *result, took time.Duration) {
	m.rows.WithLabelValues("insert").Add(float64(r.inserted))
	m.rows.WithLabelValues("update").Add(float64(r.updated))
	m.rows.WithLabelValues("delete").Add(float64(r.erased))
	if r.changed {
		m.took.Observe(took.Seconds())
	}
}
