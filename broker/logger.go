package broker

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// natsLog hands the lines of nats-server to zerolog. Its notices are details
// for us; what a stranger at the port can cause at will is not an error of ours.
type natsLog struct {
	log   zerolog.Logger
	rare  zerolog.Logger // for lines that strangers can cause: see limited
	fatal chan<- error   // gets the first fatal line; nats-server expects the process to end, and goes on if it does not
}

func newNATSLog(log zerolog.Logger, m *metrics, fatal chan<- error) *natsLog {
	log = log.With().Str("comp", "nats").Logger()
	return &natsLog{log: log, rare: m.limiters.limit(log, 20, m.suppressed.WithLabelValues("nats")), fatal: fatal}
}

// limitPeriod is how long a limited log counts its lines.
const limitPeriod = 10 * time.Second

// limiters are the limited logs of a broker. The zero value has none.
type limiters struct {
	mu  sync.Mutex
	all []*limiter
}

// limit is log for lines that strangers can cause: it writes at most burst
// lines a period. The others are counted, and a line tells how many they were.
func (ls *limiters) limit(log zerolog.Logger, burst int, suppressed prometheus.Counter) zerolog.Logger {
	l := &limiter{log: log, burst: burst, suppressed: suppressed}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	ls.all = append(ls.all, l)
	return log.Sample(l)
}

// end tells what was suppressed by now. What is suppressed later is told by none.
func (ls *limiters) end() {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, l := range ls.all {
		l.end()
	}
}

// A limiter decides which lines of a log are written.
type limiter struct {
	log        zerolog.Logger // without the limit
	burst      int
	suppressed prometheus.Counter

	mu      sync.Mutex
	ends    time.Time // of the present period
	lines   int       // in it
	dropped int       // of them
	ended   bool
}

// Sample implements zerolog.Sampler.
func (l *limiter) Sample(zerolog.Level) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); !now.Before(l.ends) {
		l.ends, l.lines = now.Add(limitPeriod), 0
	}
	if l.lines++; l.lines <= l.burst {
		return true
	}
	l.suppressed.Inc()
	if l.dropped++; l.dropped == 1 && !l.ended {
		time.AfterFunc(time.Until(l.ends), l.tell)
	}
	return false
}

// tell ends the count of a period.
func (l *limiter) tell() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := l.dropped; n > 0 && !l.ended {
		l.dropped = 0
		l.log.Info().Int("count", n).Msg("log lines suppressed")
	}
}

func (l *limiter) end() {
	l.tell()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
}

// strangers marks lines that any peer can provoke.
func strangers(line string) bool {
	for _, s := range []string{"TLS handshake error", "TLS route handshake error", "authentication error", "Violation", "Authentication Timeout", "maximum connections exceeded"} {
		if strings.Contains(line, s) {
			return true
		}
	}
	return false
}

func (l *natsLog) Noticef(format string, v ...any) { l.log.Debug().Msgf(format, v...) }

// untrue marks a warning about InsecureSkipVerify, which the configuration of
// routes sets because its VerifyConnection does more than crypto/tls would.
const untrue = "certificate chain and hostname"

func (l *natsLog) Warnf(format string, v ...any) {
	if line := fmt.Sprintf(format, v...); !strings.Contains(line, untrue) {
		l.log.Info().Msg(line)
	}
}

func (l *natsLog) Errorf(format string, v ...any) {
	line := fmt.Sprintf(format, v...)
	if strangers(line) {
		l.rare.Info().Msg(line)
		return
	}
	l.log.Error().Msg(line)
}

func (l *natsLog) Fatalf(format string, v ...any) {
	err := fmt.Errorf("nats-server: "+format, v...)
	select {
	case l.fatal <- err:
	default:
	}
}

func (l *natsLog) Debugf(format string, v ...any) { l.log.Trace().Msgf(format, v...) }

func (l *natsLog) Tracef(format string, v ...any) { l.log.Trace().Msgf(format, v...) }
