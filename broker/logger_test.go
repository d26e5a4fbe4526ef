package broker

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"
)

func TestSuppressedLinesAreCountedAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		m := newMetrics()
		log := m.limiters.limit(zerolog.New(&b), 10, m.suppressed.WithLabelValues("broker"))
		for range 1000 {
			log.Info().Msg("connection refused")
		}
		time.Sleep(2 * limitPeriod)
		synctest.Wait()
		if n := strings.Count(b.String(), "connection refused"); n != 10 {
			t.Errorf("%d lines were written", n)
		}
		if s := b.String(); !strings.HasSuffix(s, `{"level":"info","count":990,"message":"log lines suppressed"}`+"\n") {
			t.Errorf("the log ends %s", s[max(0, len(s)-200):])
		}
		b.Reset()
		log.Info().Msg("connection refused")
		time.Sleep(2 * limitPeriod)
		synctest.Wait()
		if n := strings.Count(b.String(), "\n"); n != 1 {
			t.Errorf("a quiet period writes %d lines", n)
		}
	})
}

// The end of a broker does not swallow the count, and no line comes after it.
func TestSuppressedLinesAreToldAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		m := newMetrics()
		log := m.limiters.limit(zerolog.New(&b), 10, m.suppressed.WithLabelValues("broker"))
		for range 15 {
			log.Info().Msg("connection refused")
		}
		m.limiters.end()
		if !strings.HasSuffix(b.String(), `"count":5,"message":"log lines suppressed"}`+"\n") {
			t.Errorf("at the end: %s", b.String())
		}
		b.Reset()
		log.Info().Msg("connection refused") // of a connection that ends late
		time.Sleep(2 * limitPeriod)
		synctest.Wait()
		if b.Len() > 0 {
			t.Errorf("after the end: %s", b.String())
		}
	})
}
