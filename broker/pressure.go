package broker

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// A pressure lets handshakes of clients begin as fast as this process keeps up with
// its work. A handshake, and the subscriptions and snapshots that follow, cost as much
// as minutes of a connection at rest; when thousands of clients come at once, those
// that are connected would wait for the answers to their pings, leave, and come again,
// and routes and JetStream would miss their heartbeats: a storm that feeds itself.
//
// Before each handshake it pauses, and measures by how much the pause became longer
// than it asked for: the time in which the runtime had no processor for a goroutine,
// or the system none for the process. Pauses grow while that is long.
type pressure struct {
	waiting atomic.Int64  // clients whose handshake has not begun
	turn    chan struct{} // one pauses at a time, in the order in which they came
	pause   time.Duration // before the next handshake
	late    time.Duration // by how much the last pause was longer: the next is as much shorter
	last    time.Time     // when a handshake began
	sleep   func(context.Context, time.Duration) (late time.Duration, err error)
}

const (
	pressureLate  = 10 * time.Millisecond  // later than this, the process is behind, and pauses double…
	pressureLeast = time.Millisecond       // …from this…
	pressureMost  = 100 * time.Millisecond // …up to this…
	pressureQueue = 10 * time.Second       // …or less, so that who waits is let in within this: clients give up later
	pressureEase  = 8                      // each pause that was not late makes the next shorter by one part in so many
	pressureRest  = 50 * time.Millisecond  // who comes so long after the last one does not pause, if that one did not
)

var errHungUp = errors.New("the client gave up before its turn")

func newPressure() *pressure {
	return &pressure{turn: make(chan struct{}, 1), pause: pressureLeast, sleep: sleepLate}
}

// arrived counts a client until its handshake begins, or is given up.
func (p *pressure) arrived() (begun func()) {
	p.waiting.Add(1)
	return func() { p.waiting.Add(-1) }
}

// wait returns nil when the handshake of c may begin. A client that gave up meanwhile
// does not make those behind it wait.
func (p *pressure) wait(ctx context.Context, c net.Conn) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	if hungUp(c) {
		return errHungUp
	}
	defer func() { p.last = time.Now() }()
	if p.pause == pressureLeast && time.Since(p.last) > pressureRest {
		return nil
	}
	most := max(min(pressureMost, pressureQueue/max(1, time.Duration(p.waiting.Load()))), pressureLeast)
	p.pause = min(p.pause, most)
	late, err := p.sleep(ctx, max(0, p.pause-p.late))
	if err != nil {
		return err
	}
	p.late = late
	if late > pressureLate {
		p.pause = min(2*p.pause, most)
	} else {
		p.pause = max(p.pause-p.pause/pressureEase, pressureLeast)
	}
	return nil
}

// sleepLate sleeps for d, lets what is ready to run go first, and tells by how much
// that took longer.
func sleepLate(ctx context.Context, d time.Duration) (late time.Duration, err error) {
	began := time.Now()
	select {
	case <-time.After(d):
		runtime.Gosched()
		return time.Since(began) - d, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}
