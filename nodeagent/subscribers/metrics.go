package subscribers

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count whether or not they are collected.
type metrics struct {
	reads   *prometheus.CounterVec
	pulls   *prometheus.CounterVec
	notices *prometheus.CounterVec
	handed  *prometheus.CounterVec
	sent    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, c *Cache) (*metrics, error) {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "thor_subscribers_" + name, Help: help}, labels)
	}
	m := &metrics{
		reads:   vec("reads_total", "Reads, by result: hit, miss (asked for), stale, absent, elsewhere, unavailable, bad.", "result"),
		pulls:   vec("asked_total", "Questions to provisioning servers, by what and result.", "verb", "result"),
		notices: vec("notices_total", "Notices of a change, by result.", "result"),
		handed:  vec("handed_over_total", "Subscribers handed over at changes of the lookup: told to others, received of others.", "direction"),
		sent:    vec("given_total", "Profiles that owners asked this node for as their heir or remote, by result: ok, not held, refused.", "result"),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "thor_subscribers_" + name, Help: help}, c.locked(f))
	}
	var errs []error
	for _, x := range []prometheus.Collector{
		m.reads, m.pulls, m.notices, m.handed, m.sent,
		gauge("held", "Profiles held.", func() float64 { return float64(c.contents.profiles.len) }),
		gauge("absences", "Keys known to be no subscriber.", func() float64 { return float64(c.contents.absences.len) }),
		gauge("cut_off", "1 while what is held may be old because no provisioning server or node could be asked what changed.", func() float64 {
			if c.contents.gap {
				return 1
			}
			return 0
		}),
		gauge("refill_queue", "Subscribers that wait to be pulled after a hand-over.", func() float64 { return float64(len(c.refill.keys)) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "thor_subscribers_evictions_total", Help: "Entries that had to make room.",
		}, c.locked(func() float64 { return float64(c.contents.evicted) })),
	} {
		errs = append(errs, reg.Register(x))
	}
	return m, errors.Join(errs...)
}

func (c *Cache) locked(f func() float64) func() float64 {
	return func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return f()
	}
}

func (m *metrics) read(a *Answer, err error) {
	result := "hit"
	switch {
	case errors.Is(err, errBadKey):
		result = "bad"
	case err != nil:
		result = "unavailable"
	case !a.Here:
		result = "elsewhere"
	case a.Stale:
		result = "stale"
	case !a.Found:
		result = "absent"
	case a.asked:
		result = "miss"
	}
	m.reads.WithLabelValues(result).Inc()
}
