package subscribers

import (
	"context"
	"sync"
	"time"
)

// A queue is what is to be pulled at leisure, each key once, the first first.
type queue struct {
	max  int
	keys []waiting
	have map[string]struct{}
}

type waiting struct {
	key   string
	tries int
}

func (q *queue) add(key string) bool {
	if _, is := q.have[key]; is || len(q.keys) >= q.max {
		return false
	}
	q.push(waiting{key: key})
	return true
}

func (q *queue) push(w waiting) {
	if q.have == nil {
		q.have = make(map[string]struct{})
	}
	q.have[w.key] = struct{}{}
	q.keys = append(q.keys, w)
}

func (q *queue) take(n int) []waiting {
	n = min(n, len(q.keys))
	out := q.keys[:n:n]
	q.keys = q.keys[n:]
	for _, w := range out {
		delete(q.have, w.key)
	}
	return out
}

func (c *Cache) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// refillLoop pulls what the queue holds, at a bounded rate.
func (c *Cache) refillLoop(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		case <-timer.C:
		}
		if wait := c.refillSome(ctx); wait > 0 {
			timer.Reset(wait)
		}
	}
}

const maxTries = 3 // of a key that no node answered for, or that the own table does not know to be ours yet

// refillSome pulls a few keys and tells when to go on; 0: when kicked.
func (c *Cache) refillSome(ctx context.Context) time.Duration {
	c.mu.Lock()
	some := c.refill.take(refillAtOnce)
	c.mu.Unlock()
	if len(some) == 0 {
		return 0
	}
	var g sync.WaitGroup
	failed := make([]bool, len(some))
	for i, w := range some {
		if !c.table.Load().find(w.key).Holds(c.net.ID()) {
			failed[i] = true // the giver may know of a newer table than this node
			continue
		}
		g.Go(func() {
			failed[i] = c.fetch(ctx, w.key, 0, "") != nil // refused too: the server's lookup may be behind this node's
		})
	}
	g.Wait()
	wait := refillEvery
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range some {
		if _, again := c.refill.have[w.key]; !failed[i] || again {
			continue
		}
		if w.tries++; w.tries < maxTries {
			c.refill.push(w)
			wait = downTime
		}
	}
	return wait
}
