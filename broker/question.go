package broker

import (
	"sync"
	"time"
)

// A question asks what may wait for the disk: nats-server for the state of JetStream, or
// the system for the room on it. The broker beats, and its routes go on, while that hangs.
type question[T any] struct {
	mu    sync.Mutex
	done  chan struct{} // closed when the one under way is answered; nil: none is
	since time.Time     // when it was asked
	last  T
	known bool // last is an answer
}

const (
	questionWait    = 200 * time.Millisecond // for the answer; else the last one holds…
	questionStalled = 3 * time.Second        // …until none has come for so long
)

// answer asks, or waits with who asked before; not ok: there is no answer, or none any more.
func (q *question[T]) answer(ask func() T) (last T, ok bool) {
	q.mu.Lock()
	done := q.done
	if done == nil {
		done = make(chan struct{})
		q.done, q.since = done, time.Now()
		go func() {
			is := ask()
			q.mu.Lock()
			defer q.mu.Unlock()
			q.last, q.known, q.done = is, true, nil
			close(done)
		}()
	}
	q.mu.Unlock()
	wait := time.NewTimer(questionWait)
	defer wait.Stop()
	select {
	case <-done:
	case <-wait.C:
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.last, q.known && (q.done == nil || time.Since(q.since) < questionStalled)
}
