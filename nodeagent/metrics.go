package nodeagent

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

// metrics count whether or not anybody collects them.
type metrics struct {
	probes *prometheus.CounterVec
	took   *prometheus.GaugeVec
	up     *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_nodeagent_probes_total", Help: "Probes of local services, by result.",
		}, []string{"role", "check", "result"}),
		took: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "thor_nodeagent_probe_seconds", Help: "How long the newest probe took.",
		}, []string{"role", "check"}),
		up: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "thor_nodeagent_role_up", Help: "1 while all checks of the role pass, whatever an operator drained.",
		}, []string{"role"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.probes), reg.Register(m.took), reg.Register(m.up))
}

func (m *metrics) probed(role subjects.Role, check string, f *fault, took time.Duration) {
	result := "ok"
	if f != nil {
		result = "failed"
	}
	m.probes.WithLabelValues(string(role), check, result).Inc()
	m.took.WithLabelValues(string(role), check).Set(took.Seconds())
}

func (m *metrics) announced(role subjects.Role, s subjects.State) {
	up := 0.0
	if s == subjects.Up {
		up = 1
	}
	m.up.WithLabelValues(string(role)).Set(up)
}

// forget drops what is known of a role that is no more.
func (m *metrics) forget(role subjects.Role) {
	labels := prometheus.Labels{"role": string(role)}
	m.probes.DeletePartialMatch(labels)
	m.took.DeletePartialMatch(labels)
	m.up.DeletePartialMatch(labels)
}

// forgetCheck drops what is known of one check of a role.
func (m *metrics) forgetCheck(role subjects.Role, check string) {
	labels := prometheus.Labels{"role": string(role), "check": check}
	m.probes.DeletePartialMatch(labels)
	m.took.DeletePartialMatch(labels)
}
