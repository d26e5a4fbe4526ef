package dnsagent

import (
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/overlay"
)

// metrics count whether or not anybody collects them.
type metrics struct {
	tcp    *tally // of all connections
	serial prometheus.Gauge
	built  atomic.Int64 // when the zone that is served was made, Unix nanoseconds; 0: there is none
	// unserved is the number of provisioned records that are not in the zone.
	unserved prometheus.Gauge
	tallies

	mu    sync.Mutex
	known bool      // there is a status
	fresh bool      // and it is confirmed as the current one
	last  time.Time // when it last was, as far as this agent saw
}

func newMetrics(reg prometheus.Registerer, p *peers) (*metrics, error) {
	m := &metrics{
		serial: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "thor_dns_zone_serial", Help: "Serial of the zone that is served; 0 before the first.",
		}),
		unserved: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "thor_dns_records_unserved", Help: "Provisioned records that are not in the zone: the log says why.",
		}),
	}
	m.tcp = m.tally("tcp")
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thor_dns_status_age_seconds",
		Help: "0 while a manager confirms the status that is served, else the time since one did; NaN without a status.",
	}, func() float64 { return m.age(time.Now()) })
	zoneAge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thor_dns_zone_age_seconds", Help: "Time since the zone that is served was made; NaN before the first.",
	}, func() float64 {
		if at := m.built.Load(); at != 0 {
			return time.Since(time.Unix(0, at)).Seconds()
		}
		return math.NaN()
	})
	if reg == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{&m.tallies, m.serial, m.unserved, age, zoneAge, p} {
		errs = append(errs, reg.Register(c))
	}
	return m, errors.Join(errs...)
}

// freshness takes note of v. It reports whether the view went stale or recovered.
func (m *metrics) freshness(v *overlay.View, now time.Time) (turned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Status == nil {
		return false
	}
	fresh := !v.Stale && !v.FromDisk
	switch {
	case fresh || m.fresh:
		m.last = now
	case !m.known:
		m.last = v.Received
	}
	turned = m.known && fresh != m.fresh
	m.known, m.fresh = true, fresh
	return turned
}

// confirmed reports whether the last view's status is the present one.
func (m *metrics) confirmed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fresh
}

func (m *metrics) age(now time.Time) float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.known:
		return math.NaN()
	case m.fresh:
		return 0
	}
	return now.Sub(m.last).Seconds()
}
