package provisioning

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// liveMetrics count whether or not anybody collects them.
type liveMetrics struct {
	pushes   *prometheus.CounterVec
	answers  *prometheus.CounterVec
	overflow prometheus.Counter
}

func newLiveMetrics(reg prometheus.Registerer, l *Live) (*liveMetrics, error) {
	m := &liveMetrics{
		pushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_pushes_total", Help: "Changes that nodes were told of: held by all of them, or failed and to be repeated.",
		}, []string{"result"}),
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_answers_total", Help: "Questions of nodes, by what and result.",
		}, []string{"verb", "result"}),
		overflow: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "thor_provisioning_push_overflow_total", Help: "Changes that found no room in the queue and wait in the database.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	gauge := func(name, help string, f func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "thor_provisioning_" + name, Help: help}, func() float64 {
			l.courier.mu.Lock()
			defer l.courier.mu.Unlock()
			return float64(f())
		})
	}
	return m, errors.Join(
		reg.Register(m.pushes), reg.Register(m.answers), reg.Register(m.overflow),
		reg.Register(gauge("push_queue", "Changes that wait to be told.", func() int { return len(l.courier.order) })),
		reg.Register(gauge("pushes_pending", "Changes not acknowledged, when the database was last asked (at most 32,000 are counted).",
			func() int { return l.courier.pending })),
	)
}
