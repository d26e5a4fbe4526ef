package broker

import (
	"context"
	"errors"
	runtimemetrics "runtime/metrics"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A load is how long goroutines wait for a processor, as the runtime counts it.
type load struct{ quick, slow uint64 }

func (l *load) histogram() *runtimemetrics.Float64Histogram {
	return &runtimemetrics.Float64Histogram{Counts: []uint64{l.quick, l.slow}, Buckets: []float64{0, pressureLate, 1}}
}

// fifty lets 50 handshakes begin, beside each other, and tells how long that took.
func fifty(p *pressure) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { _ = p.wait(context.Background()) })
	}
	all.Wait()
	return time.Since(began)
}

func TestHandshakesWaitWhileTheBrokerIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l load
		p := newPressure()
		p.latency = l.histogram
		step := func(quick, slow uint64, want time.Duration) {
			t.Helper()
			time.Sleep(pressureLook) // virtual
			p.latency = func() *runtimemetrics.Float64Histogram {
				l.quick, l.slow = l.quick+quick, l.slow+slow // since the last look
				return l.histogram()
			}
			if took := fifty(p); took != want {
				t.Errorf("%d of %d late: 50 handshakes took %v, want %v", slow, slow+quick, took, want)
			}
		}
		step(1000, 0, 0)
		step(900, 100, 0) // one in ten is not too many
		step(890, 110, 50*pressurePause)
		step(0, 1000, 50*pressurePause)
		step(0, 0, 0) // nothing runs
		step(1000, 0, 0)
	})
}

func TestAHandshakeThatWaitsEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := load{slow: 1000}
		p := newPressure()
		p.latency = l.histogram
		ctx, cancel := context.WithTimeout(t.Context(), pressurePause/2)
		defer cancel()
		var waiting sync.WaitGroup
		for range 2 { // one rests, one waits for its turn
			waiting.Go(func() {
				if err := p.wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		waiting.Wait()
	})
}

// The name and the form of the runtime's metric.
func TestTheRuntimeTellsHowLongGoroutinesWait(t *testing.T) {
	h := newPressure().latency()
	if _, all := waited(nil, h); all == 0 || len(h.Buckets) != len(h.Counts)+1 {
		t.Errorf("%d goroutines in %d classes", all, len(h.Counts))
	}
}
