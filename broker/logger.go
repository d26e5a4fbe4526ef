package broker

import (
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// natsLog hands the lines of nats-server to zerolog. Its notices are details
// for us; what a stranger at the port can cause at will is not an error of ours.
type natsLog struct {
	log   zerolog.Logger
	rare  zerolog.Logger // for lines that strangers can cause: cut off when they come in floods
	fatal chan<- error   // gets the first fatal line; nats-server expects the process to end, and goes on if it does not
}

func newNATSLog(log zerolog.Logger, fatal chan<- error) *natsLog {
	log = log.With().Str("comp", "nats").Logger()
	return &natsLog{log: log, rare: log.Sample(&zerolog.BurstSampler{Burst: 20, Period: 10 * time.Second}), fatal: fatal}
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
