package push

import (
	"context"
	"maps"
	"slices"
	"sync"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// A call is one notice in flight.
type call struct {
	revision uint64
	missing  map[subjects.NodeID]struct{} // holders that have not confirmed the revision
}

// inFlight are the notices that are being sent, and the deliveries that wait for
// keys, whether queued or in flight. Notices of one key and different revisions
// may be in flight at once: the newer one does not wait for a silent node's
// answer to the older one.
type inFlight struct {
	mu      sync.Mutex
	calls   map[string]*call // by key, of the highest revision
	waiters map[string][]waiter
}

func newInFlight() inFlight {
	return inFlight{calls: make(map[string]*call), waiters: make(map[string][]waiter)}
}

// begin notes that n is being sent; end has to follow.
func (f *inFlight) begin(n subscriber.Notice) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := &call{revision: n.Revision, missing: make(map[subjects.NodeID]struct{})}
	if old := f.calls[n.Key]; old == nil || old.revision <= n.Revision {
		f.calls[n.Key] = c
	}
	return c
}

func (f *inFlight) expect(c *call, nodes []subjects.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, node := range nodes {
		c.missing[node] = struct{}{}
	}
}

func (f *inFlight) held(c *call, node subjects.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(c.missing, node)
}

// end returns the nodes that do not hold n, and completes the deliveries that wait
// for it.
func (f *inFlight) end(n subscriber.Notice, c *call) (missing []subjects.NodeID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls[n.Key] == c {
		delete(f.calls, n.Key)
	}
	missing = slices.Sorted(maps.Keys(c.missing))
	f.drop(n.Key, func(w waiter) bool {
		if w.revision > n.Revision {
			return false
		}
		w.complete(missing)
		return true
	})
	return missing
}

// has reports whether n, or a newer notice of its key, is in flight.
func (f *inFlight) has(n subscriber.Notice) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.calls[n.Key]
	return c != nil && c.revision >= n.Revision
}

// await adds d to the deliveries that wait for ns.
func (f *inFlight) await(d *delivery, ns []subscriber.Notice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range ns {
		f.waiters[n.Key] = append(f.waiters[n.Key], waiter{d, n.Revision})
	}
}

// abandon ends d's wait for n, and reports whether it still waited. missing are
// the nodes that have not confirmed n; sent is false if no notice of the key is
// in flight.
func (f *inFlight) abandon(d *delivery, n subscriber.Notice) (missing []subjects.NodeID, sent, waited bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	waited = f.drop(n.Key, func(w waiter) bool { return w.delivery == d })
	c := f.calls[n.Key]
	if c != nil && c.revision >= n.Revision {
		missing = slices.Sorted(maps.Keys(c.missing))
	}
	return missing, c != nil, waited
}

// drop removes the waiters of a key for which done holds, and reports whether
// there were any. The caller holds mu.
func (f *inFlight) drop(key string, done func(waiter) bool) bool {
	before := len(f.waiters[key])
	left := slices.DeleteFunc(f.waiters[key], done)
	if f.waiters[key] = left; len(left) == 0 {
		delete(f.waiters, key)
	}
	return len(left) < before
}

// A delivery is what one SOAP call waits for: all keys that it changed.
type delivery struct {
	mu     sync.Mutex
	open   int // keys
	done   chan struct{}
	behind map[subjects.NodeID]struct{}
}

// A waiter is one key of a delivery.
type waiter struct {
	*delivery
	revision uint64
}

// complete notes that a key of the delivery is held, except by the nodes missing.
func (d *delivery) complete(missing []subjects.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range missing {
		d.behind[n] = struct{}{}
	}
	if d.open--; d.open == 0 {
		close(d.done)
	}
}

// Deliver pushes changes. It returns once every holder holds them, or when ctx
// ends, and tells which nodes do not, sorted; the push to them goes on.
func (p *Pusher) Deliver(ctx context.Context, ns []subscriber.Notice) (behind []subjects.NodeID) {
	if len(ns) == 0 {
		return nil
	}
	d := &delivery{open: len(ns), done: make(chan struct{}), behind: make(map[subjects.NodeID]struct{})}
	p.inFlight.await(d, ns)
	p.Push(ns)
	select {
	case <-d.done:
	case <-ctx.Done():
		p.abandon(d, ns)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.behind))
}

// abandon ends a delivery: the nodes that have not confirmed by now are behind.
func (p *Pusher) abandon(d *delivery, ns []subscriber.Notice) {
	for _, n := range ns {
		missing, sent, waited := p.inFlight.abandon(d, n)
		if !waited {
			continue
		}
		if !sent {
			missing = p.notified(n.Key)
		}
		p.noteBehind(n, nil, missing)
		d.complete(missing)
	}
}
