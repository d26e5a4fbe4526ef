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
		reg.Register(behindCollector{l}),
		reg.Register(gauge("pushes_pending", "Changes not acknowledged, when the database was last asked (at most 32,000 are counted).",
			func() int { return l.courier.pending })),
	)
}

// behindCollector has one gauge for each node that is behind, which are few.
type behindCollector struct{ l *Live }

var (
	descBehind = prometheus.NewDesc("thor_provisioning_behind_changes",
		"Changes that were answered and that a node does not hold: it may give what was before.", []string{"peer"}, nil)
	descNodesBehind = prometheus.NewDesc("thor_provisioning_behind_nodes", "Nodes that do not hold a change that was answered.", nil, nil)
)

// Describe implements prometheus.Collector.
func (b behindCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBehind
	ch <- descNodesBehind
}

// Collect implements prometheus.Collector.
func (b behindCollector) Collect(ch chan<- prometheus.Metric) {
	c := &b.l.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	for node, x := range c.behind {
		ch <- prometheus.MustNewConstMetric(descBehind, prometheus.GaugeValue, float64(len(x.keys)), string(node))
	}
	ch <- prometheus.MustNewConstMetric(descNodesBehind, prometheus.GaugeValue, float64(len(c.behind)))
}
