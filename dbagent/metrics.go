package dbagent

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

// metrics count whether or not anybody collects them. Their labels name
// databases as host:port/name.
type metrics struct {
	probes   *prometheus.CounterVec
	took     *prometheus.GaugeVec
	up       prometheus.Gauge
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_dbagent_probes_total", Help: "Checks of databases, by result.",
		}, []string{"database", "result"}),
		took: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "thor_dbagent_probe_seconds", Help: "How long the newest check took.",
		}, []string{"database"}),
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "thor_dbagent_up", Help: "1 while the announced database passes its checks.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_dbagent_credentials_requests_total", Help: "Requests for the password, by result.",
		}, []string{"result"}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.probes), reg.Register(m.took), reg.Register(m.up), reg.Register(m.requests))
}

func (m *metrics) probed(database string, f *fault, took time.Duration) {
	result := "ok"
	if f != nil {
		result = "failed"
	}
	m.probes.WithLabelValues(database, result).Inc()
	m.took.WithLabelValues(database).Set(took.Seconds())
}

func (m *metrics) announced(s subjects.State) {
	up := 0.0
	if s == subjects.Up {
		up = 1
	}
	m.up.Set(up)
}

func (m *metrics) answered(result string) { m.requests.WithLabelValues(result).Inc() }

// forget drops what is known of a database that is no candidate any more.
func (m *metrics) forget(database string) {
	labels := prometheus.Labels{"database": database}
	m.probes.DeletePartialMatch(labels)
	m.took.DeletePartialMatch(labels)
}
