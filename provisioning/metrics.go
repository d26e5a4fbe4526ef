package provisioning

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls   *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	logins  *prometheus.CounterVec
	refused *prometheus.CounterVec
	closed  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_calls_total", Help: "Calls, by what came of them: ok, or the fault's name.",
		}, []string{"port", "op", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "thor_provisioning_call_seconds", Help: "Time from the whole request to its answer.",
			Buckets: []float64{.001, .003, .01, .03, .1, .3, 1, 3},
		}, []string{"port"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_refused_logins_total", Help: "Logins refused: wrong, or limited after too many wrong ones.",
		}, []string{"why"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_refused_requests_total", Help: "Requests that were no calls, by HTTP status.",
		}, []string{"status"}),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_provisioning_closed_connections_total",
			Help: "Connections closed at a limit: idle or silent ones that made room for another one, and new ones that were refused.",
		}, []string{"why"}),
	}
	if r == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.seconds, m.logins, m.refused, m.closed} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) call(port, op, result string, took time.Duration) {
	m.calls.WithLabelValues(port, op, result).Inc()
	m.seconds.WithLabelValues(port).Observe(took.Seconds())
}
