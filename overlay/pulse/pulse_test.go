package pulse

import (
	"testing"
	"time"
)

// A world plays a Pulse against a broker, in steps of 10 ms.
type world struct {
	*testing.T
	p          Pulse
	now, heard time.Time
	beat       time.Duration
	asks       int
	died       time.Time
	answers    bool // to a PING, at once
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, now: time.Unix(1_000, 0), answers: true}
	w.p.Connected(w.now)
	w.advance()
	return w
}

func (w *world) advance() {
	ask, dead := w.p.Advance(w.beat, w.heard, w.now)
	if ask {
		w.asks++
		if w.answers {
			w.heard = w.now.Add(5 * time.Millisecond)
		}
	}
	if dead && w.died.IsZero() {
		w.died = w.now
	}
}

// run lets d pass; something is read each time that every has passed, 0: never.
func (w *world) run(d, every time.Duration) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(10 * time.Millisecond)
		read := every > 0 && w.now.Sub(w.heard) >= every
		if read {
			w.heard = w.now
		}
		if due := w.p.Next(); read || !due.IsZero() && !w.now.Before(due) {
			w.advance()
		}
	}
}

func TestABrokerThatTicksIsAskedNothing(t *testing.T) {
	w := newWorld(t)
	w.run(time.Hour, time.Second)
	if w.asks != 0 || !w.died.IsZero() {
		t.Errorf("asked %d times, ended %v", w.asks, w.died)
	}
}

func TestABrokerWithoutAManagerIsAskedAndKept(t *testing.T) {
	w := newWorld(t)
	w.run(time.Minute, 0)
	if w.asks < 38 || w.asks > 40 || !w.died.IsZero() {
		t.Errorf("asked %d times in a minute, ended %v", w.asks, w.died)
	}
}

func TestABrokerThatStopsIsGivenUp(t *testing.T) {
	for stop := range 100 { // at each moment between two ticks
		w := newWorld(t)
		w.run(10*time.Second, time.Second)
		w.run(time.Duration(stop)*10*time.Millisecond, time.Second)
		w.answers = false
		stopped := w.now
		w.run(10*time.Second, 0)
		if took := w.died.Sub(stopped); w.died.IsZero() || took < 2*time.Second || took > 3*time.Second+10*time.Millisecond {
			t.Errorf("stopped %d ms after a tick: given up after %v, want 2 to 3 s", stop*10, took)
		}
		if w.asks != 1 || !w.p.Next().IsZero() {
			t.Errorf("asked %d times, next %v", w.asks, w.p.Next())
		}
	}
}

func TestALateAnswerKeepsTheBroker(t *testing.T) {
	w := newWorld(t)
	w.answers = false
	w.run(QuietAfter+patience-20*time.Millisecond, 0)
	w.heard = w.now
	w.run(time.Second, 0)
	if w.asks != 1 || !w.died.IsZero() {
		t.Errorf("asked %d times, ended %v", w.asks, w.died)
	}
}

// What the broker sent while this process stood still has not been read yet when it
// goes on.
func TestAProcessThatStoodStillDoesNotBlameTheBroker(t *testing.T) {
	w := newWorld(t)
	w.run(QuietAfter-20*time.Millisecond, 0)
	for range 5 {
		w.now = w.now.Add(time.Minute)
		w.advance()
		if w.asks != 0 || !w.died.IsZero() {
			t.Fatalf("asked %d times, ended %v", w.asks, w.died)
		}
		w.run(100*time.Millisecond, 0)
	}
	w.answers = false
	w.run(4*time.Second, 0) // now the broker had its time
	if w.asks != 1 || w.died.IsZero() {
		t.Errorf("asked %d times, ended %v", w.asks, w.died)
	}
}

func TestTheWatchEndsWithTheConnection(t *testing.T) {
	w := newWorld(t)
	w.p.Disconnected()
	w.run(time.Minute, 0)
	if w.asks != 0 || !w.died.IsZero() || !w.p.Next().IsZero() {
		t.Errorf("asked %d times, ended %v, next %v", w.asks, w.died, w.p.Next())
	}
	w.answers = false
	w.p.Connected(w.now)
	w.advance()
	began := w.now
	w.run(time.Minute, 0)
	if took := w.died.Sub(began); took != QuietAfter+patience {
		t.Errorf("a connection on which nothing comes ends after %v", took)
	}
}

func TestTheBrokerOfALargeNetworkHasLonger(t *testing.T) {
	w := newWorld(t)
	w.beat, w.answers = 5*time.Second, false
	began := w.now
	w.run(time.Minute, 0)
	if took := w.died.Sub(began); took != 7*time.Second {
		t.Errorf("given up after %v", took)
	}
}
