package broker

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics is what a broker counts. Its methods are for concurrent use.
type metrics struct {
	accepted prometheus.Counter
	refused  *prometheus.CounterVec
	revoked  *prometheus.CounterVec
	crls     *prometheus.CounterVec
	restarts prometheus.Counter
	sentAway prometheus.Counter

	limiters   limiters // logs whose suppressed lines it counts
	suppressed *prometheus.CounterVec
	limited    *prometheus.CounterVec
}

func counter(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Namespace: "thor", Subsystem: "broker", Name: name, Help: help}
}

func newMetrics() *metrics {
	return &metrics{
		accepted: prometheus.NewCounter(counter("clients_accepted_total", "Client connections let in.")),
		refused:  prometheus.NewCounterVec(counter("refused_total", "Connections refused after the TLS handshake, by kind (client, route)."), []string{"kind"}),
		revoked:  prometheus.NewCounterVec(counter("revoked_total", "Live connections ended because of a revoked certificate, by kind."), []string{"kind"}),
		crls:     prometheus.NewCounterVec(counter("crl_total", "Revocation lists received, by result (new, known, refused)."), []string{"result"}),
		restarts: prometheus.NewCounter(counter("jetstream_restarts_total", "Times JetStream was started again after it had switched itself off.")),

		sentAway: prometheus.NewCounter(counter("sent_away_total", "Client connections ended because the broker was alone.")),

		suppressed: prometheus.NewCounterVec(counter("log_suppressed_total", "Log lines that strangers can cause and that were only counted, by component."), []string{"comp"}),
		limited: prometheus.NewCounterVec(counter("limited_total", "Connections ended or refused, and messages refused, by the limit: "+
			"a class of messages, subscriptions, protocol, reply, trace, node, connections, unauthenticated, silent, handshake, descriptors, route."), []string{"limit"}),
	}
}

func (m *metrics) accept()             { m.accepted.Inc() }
func (m *metrics) refuse(kind string)  { m.refused.WithLabelValues(kind).Inc() }
func (m *metrics) revoke(kind string)  { m.revoked.WithLabelValues(kind).Inc() }
func (m *metrics) crl(result string)   { m.crls.WithLabelValues(result).Inc() }
func (m *metrics) limit(name string)   { m.limited.WithLabelValues(name).Inc() }
func (m *metrics) restartedJetStream() { m.restarts.Inc() }

// register adds the counters and gauges that read b's state when scraped.
func (m *metrics) register(r prometheus.Registerer, b *Broker) error {
	if r == nil {
		return nil
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "thor", Subsystem: "broker", Name: name, Help: help}, f)
	}
	for _, c := range []prometheus.Collector{
		m.accepted, m.refused, m.revoked, m.crls, m.restarts, m.sentAway, m.suppressed, m.limited,
		gauge("clients", "Client connections now.", func() float64 { return float64(b.state().clients) }),
		gauge("routes", "Other brokers connected now.", func() float64 { return float64(len(b.state().peers)) }),
		gauge("alone", "1 while no route leads to another broker although the configuration names some, else 0.", func() float64 { return float64(b2i(b.isAlone())) }),
		prometheus.NewCounterFunc(counter("slow_consumers_total", "Clients ended because they did not read."), func() float64 { return float64(b.state().slow) }),
		healthCollector{b},
		gauge("jetstream_up", "1 if JetStream can be used, or is not to run on this broker, else 0.", func() float64 {
			if is := b.state().jetstream; is == JetStreamOK || is == JetStreamNone {
				return 1
			}
			return 0
		}),
		gauge("certificate_expiry_timestamp_seconds", "When the broker's certificate ends, in Unix time.", func() float64 {
			return float64(b.identity().NotAfter.Unix())
		}),
	} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("broker: register metrics: %w", err)
		}
	}
	return nil
}
