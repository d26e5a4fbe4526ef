package manager

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/manager/core"
	"thor/manager/election"
	"thor/subjects"
)

const (
	writeEvery = time.Second
	writePart  = 9 // it rests so many times as long as the last attempt took: brokers that are slow have other work
)

// A snapshotWriter writes the newest status to the key-value store, at most once a
// second, in a tenth of its time, and never in the way of publishing: what it cannot write in time is
// replaced by the next.
type snapshotWriter struct {
	bucket *election.Bucket
	log    zerolog.Logger
	next   chan *core.Held
	flushc chan chan struct{}
	cancel context.CancelFunc
	wg     sync.WaitGroup
	roles  storedRoles // of run alone
}

func newSnapshotWriter(nc *nats.Conn, log zerolog.Logger) *snapshotWriter {
	b, _ := election.OpenBucket(nc, subjects.StatusBucket) // fails for wrong options only, and there are none
	k := &snapshotWriter{bucket: b, log: log, next: make(chan *core.Held, 1), flushc: make(chan chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.wg.Go(func() { k.run(ctx) })
	return k
}

// put hands over a status; an older one that still waits is dropped.
func (k *snapshotWriter) put(h *core.Held) {
	for {
		select {
		case k.next <- h:
			return
		default:
		}
		select {
		case <-k.next:
		default:
		}
	}
}

// flush writes what waits, within bounds.
func (k *snapshotWriter) flush() {
	done := make(chan struct{})
	ctx, cancel := flushContext()
	defer cancel()
	select {
	case k.flushc <- done:
		select {
		case <-done:
		case <-ctx.Done():
		}
	case <-ctx.Done():
	}
}

func (k *snapshotWriter) stop() {
	k.cancel()
	k.wg.Wait()
}

// run writes what is put: at once, or when it has rested after the last attempt.
func (k *snapshotWriter) run(ctx context.Context) {
	var w pendingWrite
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	write := func() {
		if w.waiting != nil {
			began := time.Now()
			k.attempt(ctx, &w)
			w.resting = true
			timer.Reset(max(writeEvery, writePart*time.Since(began)))
		}
	}
	for {
		select {
		case <-ctx.Done():
			return
		case w.waiting = <-k.next:
			if !w.resting {
				write()
			}
		case <-timer.C:
			w.resting = false
			write()
		case done := <-k.flushc:
			select {
			case w.waiting = <-k.next:
			default:
			}
			write()
			close(done)
		}
	}
}

// pendingWrite is the state of a snapshotWriter's goroutine.
type pendingWrite struct {
	waiting *core.Held // to be written
	resting bool       // an attempt was made less than a second ago
	fails   bool       // the last attempt failed, and the log says so
}

// attempt writes what waits; if that fails it goes on waiting.
func (k *snapshotWriter) attempt(ctx context.Context, w *pendingWrite) {
	err := k.write(ctx, w.waiting)
	if err == nil || ctx.Err() != nil {
		w.waiting, w.fails = nil, false
		return
	}
	if !w.fails {
		k.log.Warn().Err(err).Msg("status not stored, trying again")
	}
	w.fails = true
}

// write stores a status by compare-and-set, and only over an older one.
func (k *snapshotWriter) write(ctx context.Context, h *core.Held) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	value, mark := h.Full(), h.Status.Mark()
	if len(value) > subjects.MaxStatusKey { // who is lost is known from elsewhere
		value = h.Encoded
	}
	e, err := k.bucket.Get(ctx, subjects.StatusKey)
	if err != nil {
		return err
	}
	var revision uint64
	if e != nil {
		if revision = e.Revision; e.Held && !mark.After(markOf(e.Value)) {
			return nil // a successor has written already
		}
	}
	var head *splitHead
	if len(value) > subjects.MaxStatusKey {
		head, err = k.writeRoles(ctx, h.Status)
		if errors.Is(err, errSuperseded) {
			return nil
		}
		if err != nil {
			return err
		}
		value = head.encode()
	}
	if _, err = k.bucket.Replace(ctx, subjects.StatusKey, value, revision, 0); err != nil {
		return err
	}
	if e != nil && e.Held {
		k.outdate(e.Value, head)
	}
	return k.deleteStale(ctx, mark)
}

// flushContext bounds what is done at the end.
func flushContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 2*time.Second)
}
