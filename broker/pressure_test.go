package broker

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// lateBy makes p find that its pauses take so much longer.
func lateBy(p *pressure, late time.Duration) {
	p.sleep = func(ctx context.Context, d time.Duration) (time.Duration, error) {
		more, err := sleepLate(ctx, d)
		return more + late, err
	}
}

// fifty lets 50 handshakes begin, beside each other, and tells how long that took.
func fifty(p *pressure) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { _ = p.wait(context.Background(), nil) })
	}
	all.Wait()
	return time.Since(began)
}

// In virtual time no pause is late but by what the test says.
func TestHandshakesWaitWhileTheBrokerIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPressure()
		if took := fifty(p); took > 50*pressureLeast {
			t.Errorf("50 handshakes of a broker that keeps up took %v", took)
		}
		lateBy(p, pressureLate)
		if took := fifty(p); took > 50*pressureLeast {
			t.Errorf("50 handshakes that were a little late took %v", took)
		}
		lateBy(p, pressureLate+1)
		if took := fifty(p); took < 35*pressureMost || took > 50*pressureMost {
			t.Errorf("50 handshakes of a broker that is behind took %v", took)
		}
		lateBy(p, 0)
		if took := fifty(p); took < 5*pressureMost || took > 10*pressureMost {
			t.Errorf("50 handshakes after it took %v", took)
		}
		if took := fifty(p); took > 50*pressureLeast {
			t.Errorf("50 handshakes later took %v", took)
		}
	})
}

// Who comes alone does not wait, unless the broker was behind with the one before.
func TestAHandshakeAloneBeginsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPressure()
		one := func(want time.Duration) {
			t.Helper()
			time.Sleep(pressureRest + 1)
			began := time.Now()
			if err := p.wait(t.Context(), nil); err != nil || time.Since(began) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), want)
			}
		}
		one(0)
		one(0)
		p.pause = pressureMost
		one(pressureMost)
	})
}

func TestAHandshakeThatWaitsEndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPressure()
		p.pause = pressureMost
		ctx, cancel := context.WithTimeout(t.Context(), pressureMost/2)
		defer cancel()
		var waiting sync.WaitGroup
		for range 2 { // one rests, one waits for its turn
			waiting.Go(func() {
				if err := p.wait(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		waiting.Wait()
	})
}

// A client that gave up while it waited for its turn takes none, though what it sent
// was not read.
func TestAClientThatGaveUpTakesNoTurn(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	p := newPressure()
	if err := p.wait(t.Context(), served); err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	for !hungUp(served) { // the kernel delivers the end
		runtime.Gosched()
	}
	p.pause = pressureMost
	began := time.Now()
	if err := p.wait(t.Context(), served); !errors.Is(err, errHungUp) || time.Since(began) >= pressureMost {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}
