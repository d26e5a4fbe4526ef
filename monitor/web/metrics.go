package web

import "github.com/prometheus/client_golang/prometheus"

// metrics of a Server.
type metrics struct {
	requests *prometheus.CounterVec
}

// The results of a request.
const (
	resultOK      = "ok"
	resultRefused = "refused" // the method, the host, the origin, or one page too many
	resultFailed  = "failed"
)

func newMetrics(reg prometheus.Registerer, open func() int) (*metrics, error) {
	m := &metrics{requests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "thor_web_requests_total", Help: "Requests to the web view, by result.",
	}, []string{"result"})}
	for _, r := range []string{resultOK, resultRefused, resultFailed} {
		m.requests.WithLabelValues(r)
	}
	if reg == nil {
		return m, nil
	}
	if err := reg.Register(m.requests); err != nil {
		return nil, err
	}
	return m, reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thor_web_pages", Help: "Pages that follow the network now.",
	}, func() float64 { return float64(open()) }))
}
