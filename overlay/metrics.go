package overlay

import (
	"errors"
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

// metrics count whether or not they are registered.
type metrics struct {
	connected     prometheus.Gauge
	beats         prometheus.Counter
	repairs       prometheus.Counter
	epoch         prometheus.Gauge
	generation    prometheus.Gauge
	dropped       *prometheus.CounterVec
	lookupDiffers *prometheus.GaugeVec
	lookupBuild   prometheus.Histogram
	confirmed     atomic.Pointer[confirmation]
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "thor_overlay_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "thor_overlay_" + name, Help: help})
	}
	m := &metrics{
		connected:  gauge("connected", "1 while there is a connection to a broker."),
		beats:      counter("beats_total", "Announcements sent."),
		repairs:    counter("repairs_total", "Snapshots asked for because a change was missed or nothing was known."),
		epoch:      gauge("status_epoch", "Epoch of the status held."),
		generation: gauge("status_generation", "Generation of the status held."),
		dropped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_overlay_dropped_total", Help: "Messages refused, by reason.",
		}, []string{"code"}),
		lookupDiffers: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "thor_overlay_lookup_differs", Help: "1 while the lookup table computed here is not the one that the status names.",
		}, []string{"role"}),
		lookupBuild: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "thor_overlay_lookup_build_seconds", Help: "Time to make the lookup table of a role anew after a change of its members.",
			Buckets: []float64{0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1},
		}),
	}
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thor_overlay_status_age_seconds",
		Help: "Time since the status held was last confirmed as the current one; NaN if never.",
	}, m.age)
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.connected, m.beats, m.repairs, m.epoch, m.generation, m.dropped, m.lookupDiffers, m.lookupBuild, age} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// A confirmation says that the status of this mark was the current one at a time.
type confirmation struct {
	mark  subjects.Mark
	at    time.Time
	newer bool // another status was announced since
}

// confirmedAt is when the status held was last confirmed, zero if never.
func (m *metrics) confirmedAt() confirmation {
	if c := m.confirmed.Load(); c != nil {
		return *c
	}
	return confirmation{}
}

func (m *metrics) age() float64 {
	c := m.confirmedAt()
	if c.at.IsZero() {
		return math.NaN()
	}
	return time.Since(c.at).Seconds()
}

func (m *metrics) drop(code subjects.Code) { m.dropped.WithLabelValues(string(code)).Inc() }
