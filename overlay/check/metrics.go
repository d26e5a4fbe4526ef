package check

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

// Names are those under which an agent logs and counts.
type Names struct {
	// Check is what a check is called in log messages.
	Check string
	// Probes counts the probes, by CheckLabels and "result"; Took is how long the
	// newest took, by CheckLabels, of which the last names the check in the log too; Up
	// is 1 while a member is announced as up, by GroupLabels.
	Probes   prometheus.CounterOpts
	Took, Up prometheus.GaugeOpts
	// Passing is 1 while a check passes, also one that only reports, by CheckLabels; no
	// Name: it is not told.
	Passing     prometheus.GaugeOpts
	CheckLabels []string
	GroupLabels []string
}

// metrics count whether or not they are collected.
type metrics struct {
	names             *Names
	probes            *prometheus.CounterVec
	took, up, passing *prometheus.GaugeVec
}

func newMetrics(cfg *Config) (*metrics, error) {
	n := &cfg.Names
	m := &metrics{
		names:  n,
		probes: prometheus.NewCounterVec(n.Probes, append(n.CheckLabels[:len(n.CheckLabels):len(n.CheckLabels)], "result")),
		took:   prometheus.NewGaugeVec(n.Took, n.CheckLabels),
		up:     prometheus.NewGaugeVec(n.Up, n.GroupLabels), passing: prometheus.NewGaugeVec(n.Passing, n.CheckLabels),
	}
	if len(n.GroupLabels) == 0 {
		m.up.WithLabelValues() // 0 before the first announcement
	}
	if cfg.Metrics == nil {
		return m, nil
	}
	var err error
	if n.Passing.Name != "" {
		err = cfg.Metrics.Register(m.passing)
	}
	return m, errors.Join(err, cfg.Metrics.Register(m.probes), cfg.Metrics.Register(m.took), cfg.Metrics.Register(m.up))
}

func (m *metrics) probed(c *Check, f *Fault, took time.Duration) {
	result := "ok"
	if f != nil {
		result = "failed"
	}
	m.probes.WithLabelValues(append(c.labels[:len(c.labels):len(c.labels)], result)...).Inc()
	m.took.WithLabelValues(c.labels...).Set(took.Seconds())
}

// judged tells the condition of c. The caller holds the lock of its group.
func (m *metrics) judged(c *Check) {
	passing := 0.0
	if c.health.now == Passing {
		passing = 1
	}
	m.passing.WithLabelValues(c.labels...).Set(passing)
}

func (m *metrics) announced(g *Group, s subjects.State) {
	up := 0.0
	if s == subjects.Up {
		up = 1
	}
	m.up.WithLabelValues(g.labels...).Set(up)
}

// forgetCheck drops what was counted of a check that is gone.
func (m *metrics) forgetCheck(c *Check) {
	labels := make(prometheus.Labels, len(c.labels))
	for i, name := range m.names.CheckLabels {
		labels[name] = c.labels[i]
	}
	m.probes.DeletePartialMatch(labels)
	m.took.DeletePartialMatch(labels)
	m.passing.DeletePartialMatch(labels)
}

// forget drops what was counted of a group that is gone. Its checks have ended.
func (m *metrics) forget(g *Group) {
	for _, c := range g.checks {
		m.forgetCheck(c)
	}
	m.up.DeleteLabelValues(g.labels...)
}
