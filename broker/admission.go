package broker

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
)

// An admission bounds the connections that have not shown a certificate yet.
// When there are too many, one that has sent nothing is closed for the new one:
// a client begins its handshake at once.
type admission struct {
	most, bySource int
	turns          chan struct{} // one for each handshake under way

	mu      sync.Mutex
	closed  bool
	waiting map[*waiter]struct{}
	sources map[netip.Addr]*admissionSource
}

// An admissionSource is what waits of one source.
type admissionSource struct {
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
	src   *admissionSource
}

// sourceTurns is the part of the handshakes under way that one source may have:
// one that stalls leaves room for the others.
const sourceTurns = 4

var errQueue = errors.New("too many handshakes")

func newAdmission(most, bySource, handshakes int) *admission {
	return &admission{
		most: most, bySource: bySource, turns: make(chan struct{}, handshakes),
		waiting: make(map[*waiter]struct{}), sources: make(map[netip.Addr]*admissionSource),
	}
}

// enter counts a connection. When there are too many, a silent one is closed in
// its stead; if there is none, w is nil.
func (a *admission) enter(c net.Conn, from netip.Addr) (w *waiter, evicted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, false
	}
	s := a.sources[from]
	if s == nil {
		s = &admissionSource{turns: make(chan struct{}, max(1, cap(a.turns)/sourceTurns))}
		a.sources[from] = s
	}
	if s.count >= a.bySource {
		if evicted = a.evictFrom(s); !evicted {
			return nil, false
		}
	} else if len(a.waiting) >= a.most {
		if evicted = a.evictLargest(); !evicted {
			if s.count == 0 {
				delete(a.sources, from)
			}
			return nil, false
		}
	}
	w = &waiter{conn: c, from: from, src: s}
	s.count++
	a.waiting[w] = struct{}{}
	s.tidy()
	s.silent = append(s.silent, w)
	return w, evicted
}

// evictFrom closes the silent connection of s that has waited longest.
func (a *admission) evictFrom(s *admissionSource) bool {
	for len(s.silent) > 0 {
		w := s.silent[0]
		s.silent = s.silent[1:]
		if w.spoke || w.gone {
			continue
		}
		a.remove(w)
		_ = w.conn.Close()
		return true
	}
	return false
}

// evictLargest closes a silent connection of the source with the most.
func (a *admission) evictLargest() bool {
	var largest *admissionSource
	for _, s := range a.sources {
		if len(s.silent) > 0 && (largest == nil || s.count > largest.count) {
			largest = s
		}
	}
	return largest != nil && (a.evictFrom(largest) || a.evictLargest())
}

// evict makes room for one, and reports whether it could.
func (a *admission) evict() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.evictLargest()
}

// remove takes w out of the counts. The caller holds a.mu.
func (a *admission) remove(w *waiter) {
	if w.gone {
		return
	}
	w.gone = true
	delete(a.waiting, w)
	if w.src.count--; w.src.count == 0 {
		delete(a.sources, w.from)
	}
}

// begin waits for w's turn: handshakes cost time, and those that come at once
// take turns rather than fail.
func (a *admission) begin(ctx context.Context, w *waiter, done <-chan struct{}) error {
	a.mu.Lock()
	w.spoke = true
	w.src.tidy()
	a.mu.Unlock()
	for _, turns := range []chan struct{}{w.src.turns, a.turns} {
		select {
		case turns <- struct{}{}:
		case <-ctx.Done():
			a.back(w, turns)
			return errQueue
		case <-done:
			a.back(w, turns)
			return net.ErrClosed
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	w.turn = true
	return nil
}

// back returns the turn of the source when there was none of the whole.
func (a *admission) back(w *waiter, failed chan struct{}) {
	if failed == a.turns {
		<-w.src.turns
	}
}

// tidy forgets those that spoke or left, when most did.
func (s *admissionSource) tidy() {
	if len(s.silent) > 2*s.count {
		s.silent = slices.DeleteFunc(s.silent, func(w *waiter) bool { return w.spoke || w.gone })
	}
}

// leave takes a connection out, whatever became of it.
func (a *admission) leave(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(w)
	a.end(w)
}

// finish gives w's turn to another: its handshake is over. What it reports then
// may take long, and costs nothing.
func (a *admission) finish(w *waiter) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.end(w)
}

// end returns w's turn. The caller holds a.mu.
func (a *admission) end(w *waiter) {
	if w.turn {
		w.turn = false
		<-a.turns
		<-w.src.turns
	}
}

func (a *admission) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting)
}

// close cuts off all that wait.
func (a *admission) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for w := range a.waiting {
		_ = w.conn.Close()
	}
}
