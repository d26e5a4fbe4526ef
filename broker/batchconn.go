package broker

import (
	"net"
	"sync"
	"time"
)

// Each beat goes to every manager. At a thousand beats a second they would take a
// write and a read each, which cost many times what the beat does: what follows
// closely on a write to a manager waits for the next one. What comes alone, such as
// the end of a member's connection, does not wait.
const (
	batchApart = 20 * time.Millisecond // between two writes to a manager
	batchMost  = 64 << 10              // bytes that wait at most
)

// A batchWriter writes to a connection not more often than each batchApart. Its
// writers are one after the other; a write that fails later than it was asked for
// fails the next one.
type batchWriter struct {
	conn net.Conn

	mu       sync.Mutex
	last     time.Time // of the newest write to conn
	held     []byte
	timer    *time.Timer   // not nil while it is to write what is held
	patience time.Duration // with one write
	err      error
}

func newBatchWriter(c net.Conn) *batchWriter {
	return &batchWriter{conn: c, patience: clientWriteTime}
}

func (w *batchWriter) write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	wait := batchApart - now.Sub(w.last)
	switch {
	case w.err != nil:
		return 0, w.err
	case len(w.held) == 0 && wait <= 0:
		w.put(b, now)
	default:
		w.held = append(w.held, b...)
		if len(w.held) >= batchMost {
			w.flush(now)
		} else if w.timer == nil {
			w.timer = time.AfterFunc(wait, w.late)
		}
	}
	if w.err != nil {
		return 0, w.err
	}
	return len(b), nil
}

func (w *batchWriter) late() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = nil
	w.flush(time.Now())
}

// close writes what is held; its connection ends then.
func (w *batchWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.patience = turnAwayTime
	w.flush(time.Now())
}

// flush writes what is held. The caller holds w.mu, here and below.
func (w *batchWriter) flush(now time.Time) {
	if len(w.held) > 0 {
		w.put(w.held, now)
	}
	if w.held = w.held[:0]; cap(w.held) > batchMost {
		w.held = nil
	}
}

func (w *batchWriter) put(b []byte, now time.Time) {
	if w.err != nil {
		return
	}
	w.last = now
	_ = w.conn.SetWriteDeadline(now.Add(w.patience)) // nats-server's is for what it writes, not for what was held
	_, w.err = w.conn.Write(b)
}
