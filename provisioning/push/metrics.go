package push

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count whether or not they are collected.
type metrics struct {
	pushes   *prometheus.CounterVec
	answers  *prometheus.CounterVec
	overflow prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, p *Pusher) (*metrics, error) {
	m := &metrics{
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
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "thor_provisioning_" + name, Help: help}, f)
	}
	return m, errors.Join(
		reg.Register(m.pushes), reg.Register(m.answers), reg.Register(m.overflow),
		reg.Register(gauge("push_queue", "Changes that wait to be told.", func() float64 { return float64(p.queue.len()) })),
		reg.Register(backlogCollector{&p.backlogs}),
		reg.Register(gauge("pushes_pending", "Changes not acknowledged, when the database was last asked (at most 32,000 are counted).",
			func() float64 { return float64(p.pending.Load()) })),
	)
}

// backlogCollector has one gauge for each node that is behind, which are few.
type backlogCollector struct{ backlogs *backlogs }

var (
	descBehind = prometheus.NewDesc("thor_provisioning_behind_changes",
		"Changes that were answered and that a node does not hold: it may give what was before.", []string{"peer"}, nil)
	descNodesBehind = prometheus.NewDesc("thor_provisioning_behind_nodes", "Nodes that do not hold a change that was answered.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c backlogCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descBehind
	ch <- descNodesBehind
}

// Collect implements prometheus.Collector.
func (c backlogCollector) Collect(ch chan<- prometheus.Metric) {
	sizes := c.backlogs.sizes()
	for node, n := range sizes {
		ch <- prometheus.MustNewConstMetric(descBehind, prometheus.GaugeValue, float64(n), string(node))
	}
	ch <- prometheus.MustNewConstMetric(descNodesBehind, prometheus.GaugeValue, float64(len(sizes)))
}
