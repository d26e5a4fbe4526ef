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
		log := limited(zerolog.New(&b), 10, m.suppressed.WithLabelValues("broker"))
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
