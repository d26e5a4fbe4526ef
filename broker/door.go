package broker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
)

// A door bounds the connections that have not shown a certificate yet. One that
// has said nothing gives way to a newcomer when there are too many: a client
// begins its handshake at once, so the silent ones are those that never will.
type door struct {
	most, bySource int
	turns          chan struct{} // one for each handshake under way

	mu      sync.Mutex
	closed  bool
	waiting map[*waiter]struct{}
	sources map[netip.Addr]*doorSource
}

// A doorSource is what waits of one source.
type doorSource struct {
	silent []*waiter // in the order in which they came; some have spoken or left since
	count  int
	turns  chan struct{} // one for each handshake under way of this source
}

// A waiter is a connection before the end of its handshake.
type waiter struct {
	conn  net.Conn
	from  netip.Addr
	spoke bool
	turn  bool
	gone  bool
	src   *doorSource
}

// sourceTurns is the part of the handshakes under way that one source may have:
// one that stalls leaves room for the others.
const sourceTurns = 4

var errQueue = errors.New("too many handshakes")

func newDoor(most, bySource, handshakes int) *door {
	return &door{
		most: most, bySource: bySource, turns: make(chan struct{}, handshakes),
		waiting: make(map[*waiter]struct{}), sources: make(map[netip.Addr]*doorSource),
	}
}

// enter counts a connection. When there are too many, a silent one is closed in
// its stead; if there is none, w is nil.
func (d *door) enter(c net.Conn, from netip.Addr) (w *waiter, evicted bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, false
	}
	s := d.sources[from]
	if s == nil {
		s = &doorSource{turns: make(chan struct{}, max(1, cap(d.turns)/sourceTurns))}
		d.sources[from] = s
	}
	if s.count >= d.bySource {
		if evicted = d.evictFrom(s); !evicted {
			return nil, false
		}
	} else if len(d.waiting) >= d.most {
		if evicted = d.evictLargest(); !evicted {
			if s.count == 0 {
				delete(d.sources, from)
			}
			return nil, false
		}
	}
	w = &waiter{conn: c, from: from, src: s}
	s.count++
	d.waiting[w] = struct{}{}
	s.silent = append(s.silent, w)
	return w, evicted
}

// evictFrom closes the silent connection of s that has waited longest.
func (d *door) evictFrom(s *doorSource) bool {
	for len(s.silent) > 0 {
		w := s.silent[0]
		s.silent = s.silent[1:]
		if w.spoke || w.gone {
			continue
		}
		d.remove(w)
		_ = w.conn.Close()
		return true
	}
	return false
}

// evictLargest closes a silent connection of the source with the most.
func (d *door) evictLargest() bool {
	var largest *doorSource
	for _, s := range d.sources {
		if len(s.silent) > 0 && (largest == nil || s.count > largest.count) {
			largest = s
		}
	}
	return largest != nil && (d.evictFrom(largest) || d.evictLargest())
}

// evict makes room for one, and reports whether it could.
func (d *door) evict() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.evictLargest()
}

// remove takes w out of the counts. The caller holds d.mu.
func (d *door) remove(w *waiter) {
	if w.gone {
		return
	}
	w.gone = true
	delete(d.waiting, w)
	if w.src.count--; w.src.count == 0 {
		delete(d.sources, w.from)
	}
}

// begin waits for w's turn: handshakes cost time, and those that come at once
// take turns rather than fail.
func (d *door) begin(ctx context.Context, w *waiter, done <-chan struct{}) error {
	d.mu.Lock()
	w.spoke = true
	if len(w.src.silent) > 2*w.src.count { // mostly of those that spoke or left
		w.src.silent = compact(w.src.silent)
	}
	d.mu.Unlock()
	for _, turns := range []chan struct{}{w.src.turns, d.turns} {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			d.back(w, turns)
			return errQueue
		case <-done:
			d.back(w, turns)
			return net.ErrClosed
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	w.turn = true
	return nil
}

// back returns the turn of the source when there was none of the whole.
func (d *door) back(w *waiter, failed chan struct{}) {
	if failed == d.turns {
		<-w.src.turns
	}
}

func compact(ws []*waiter) []*waiter {
	out := ws[:0]
	for _, w := range ws {
		if !w.spoke && !w.gone {
			out = append(out, w)
		}
	}
	clear(ws[len(out):])
	return out
}

// leave takes a connection out, whatever became of it.
func (d *door) leave(w *waiter) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.remove(w)
	if w.turn {
		w.turn = false
		<-d.turns
		<-w.src.turns
	}
}

func (d *door) size() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting)
}

// close cuts off all that wait.
func (d *door) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for w := range d.waiting {
		_ = w.conn.Close()
	}
}
