package election

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Term is one leadership, as the goroutines of a manager share it. It is safe
// for concurrent use.
type Term struct {
	Epoch uint64
	First uint64 // generation to begin above

	until        atomic.Int64 // local lease, as nanoseconds since base
	base         time.Time
	quiet        atomic.Int64              // nothing is published before this, likewise
	sure         atomic.Pointer[time.Time] // nil: it is
	ceiling      atomic.Uint64
	wanted       atomic.Uint64
	done         chan struct{}
	doneOnce     sync.Once
	stepDown     chan struct{}
	stepDownOnce sync.Once
}

func newTerm(b Begin, now time.Time) *Term {
	t := &Term{Epoch: b.Epoch, First: b.First, base: now, done: make(chan struct{}), stepDown: make(chan struct{})}
	t.extend(b.Until, b.Ceiling)
	return t
}

// Valid reports whether the holder may publish at now, a time with a monotonic part.
func (t *Term) Valid(now time.Time) bool {
	select {
	case <-t.done:
		return false
	default:
		return now.Sub(t.base) < time.Duration(t.until.Load())
	}
}

// Quiet is until when the holder publishes nothing although the lease is valid:
// it has a new connection and has not heard yet that the lease is still its own.
func (t *Term) Quiet() time.Time { return t.base.Add(time.Duration(t.quiet.Load())) }

// Sure is when the lease was last known to be the holder's own, if that is open since
// it has a new connection; the zero time: it is not.
func (t *Term) Sure() time.Time {
	if at := t.sure.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Done is closed when the term has ended.
func (t *Term) Done() <-chan struct{} { return t.done }

// Ceiling is the greatest generation that may be published; used tells the
// newest one, so that the next renewal reserves more in time. One goroutine
// calls it.
func (t *Term) Ceiling(used uint64) uint64 {
	ceiling := t.ceiling.Load()
	if want := Want(used, ceiling); want > t.wanted.Load() {
		t.wanted.Store(want)
	}
	return ceiling
}

// Want is the ceiling that a holder wants which has used the generations up to
// used; 0: what it has is enough.
func Want(used, ceiling uint64) uint64 {
	if used+reserve/2 > ceiling {
		return used + reserve
	}
	return 0
}

// StepDown ends the term on purpose.
func (t *Term) StepDown() { t.stepDownOnce.Do(func() { close(t.stepDown) }) }

func (t *Term) end() { t.doneOnce.Do(func() { close(t.done) }) }

func (t *Term) hold(h Hold) {
	t.quiet.Store(int64(h.Until.Sub(t.base)))
	t.sure.Store(&h.Sure)
}

func (t *Term) extend(until time.Time, ceiling uint64) {
	t.quiet.Store(0)
	t.sure.Store(nil)
	t.until.Store(int64(until.Sub(t.base)))
	t.ceiling.Store(ceiling)
}
