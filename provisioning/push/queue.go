package push

import (
	"context"
	"sync"
	"time"

	"thor/overlay/subscriber"
)

// maxQueue is how many keys wait at most; repair finds more in the store.
const maxQueue = 10_000

// A queue holds the notices that wait to be sent: of each key the newest, in the
// order in which the keys came.
type queue struct {
	wake chan struct{} // holds one token: something was added

	mu      sync.Mutex
	waiting map[string]subscriber.Notice
	order   []string
}

func newQueue() queue {
	return queue{wake: make(chan struct{}, 1), waiting: make(map[string]subscriber.Notice)}
}

// add reports whether there was room for n.
func (q *queue) add(n subscriber.Notice) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, waits := q.waiting[n.Key]
	switch {
	case waits && n.Revision <= w.Revision:
		return true
	case !waits && len(q.order) >= maxQueue:
		return false
	case !waits:
		q.order = append(q.order, n.Key)
	}
	q.waiting[n.Key] = n
	return true
}

// next takes the notice that has waited longest.
func (q *queue) next() (n subscriber.Notice, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.order) == 0 {
		return n, false
	}
	k := q.order[0]
	q.order = q.order[1:]
	n = q.waiting[k]
	delete(q.waiting, k)
	return n, true
}

// has reports whether n, or a newer notice of its key, waits.
func (q *queue) has(n subscriber.Notice) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	w, ok := q.waiting[n.Key]
	return ok && w.Revision >= n.Revision
}

func (q *queue) len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.order)
}

// Push queues changes for their holders. It never blocks. What finds no room is
// found in the store later.
func (p *Pusher) Push(ns []subscriber.Notice) {
	for _, n := range ns {
		if !p.queue.add(n) {
			p.metrics.overflow.Inc()
			signal(p.retry)
		}
	}
	signal(p.queue.wake)
}

// sendQueued sends what is queued. When ctx ends it sends what is left, within
// noticeTime.
func (p *Pusher) sendQueued(ctx context.Context) {
	last, cancel := outlive(ctx, noticeTime)
	var sending sync.WaitGroup
	defer func() {
		sending.Wait()
		cancel()
	}()
	for {
		n, ok := p.queue.next()
		if !ok {
			select {
			case <-p.queue.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case p.slots <- struct{}{}:
		case <-last.Done():
			return
		}
		sending.Go(func() {
			defer func() { <-p.slots }()
			if p.send(last, n) != nil {
				signal(p.retry)
			}
		})
	}
}

// outlive is a context that ends d after ctx.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, cancel
}
