package provisioning

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"thor/subjects"
)

// Pace of repairs.
const (
	repairEvery  = 30 * time.Second       // also when nothing is known to have failed: another server may have
	repairFirst  = 250 * time.Millisecond // after a failure, doubling while nothing gets through…
	repairMax    = 30 * time.Second       // …up to this
	repairSettle = 50 * time.Millisecond  // after a change of the lookup, which nodes hear of as well
	repairBatch  = 1000
	repairMost   = 32_000 // as far as a batch grows when what is first does not get through
)

// A pace is when to look at the store next.
type pace struct {
	wait  time.Duration // after the next failure
	limit int
}

func newPace() pace { return pace{repairFirst, repairBatch} }

// after is how long to wait after a round that found so many pushes pending and
// got so many of them through.
func (p *pace) after(found, through int) time.Duration {
	full := found == p.limit
	switch {
	case found == through && !full:
		*p = newPace()
		return repairEvery/2 + rand.N(repairEvery)
	case through > 0:
		*p = newPace()
		if full {
			return 0
		}
		return repairFirst
	case full:
		p.limit = min(2*p.limit, repairMost)
	}
	wait := p.wait/2 + rand.N(p.wait)
	p.wait = min(2*p.wait, repairMax)
	return wait
}

// repairLoop pushes what the store says nobody acknowledged: at once, when the
// lookup changed, after failures, and every now and then.
func (l *Live) repairLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	p, sick, read := newPace(), false, false
	due := time.Now()
	plan := func(wait time.Duration) {
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.courier.moved:
			l.courier.forget(l.isMember)
			p = newPace()
			plan(repairSettle)
			continue
		case <-l.courier.soon:
			if time.Until(due) > p.wait {
				plan(p.wait)
			}
			continue
		case <-timer.C:
		}
		found, through, err := l.repair(ctx, p.limit)
		if (err != nil) != sick && ctx.Err() == nil {
			sick = err != nil
			if sick && !read { // nobody has said yet where the database is
				l.log.Info().Err(err).Msg("waiting for the store to read pending pushes")
			} else if sick {
				l.log.Error().Err(err).Msg("pending pushes cannot be read, trying on")
			} else {
				l.log.Info().Msg("pending pushes can be read")
			}
		}
		read = read || err == nil
		if err != nil {
			found, through = 1, 0
		}
		plan(p.after(found, through))
	}
}

// isMember reports whether node serves subscribers.
func (l *Live) isMember(node subjects.NodeID) bool {
	s := l.net.View().Status
	return s != nil && s.Member(l.cfg.Role, node) != nil
}

// repair pushes what is pending, the oldest limit of it.
func (l *Live) repair(ctx context.Context, limit int) (found, through int, err error) {
	c := &l.courier
	missing := c.missing()
	to, cancel := context.WithTimeout(ctx, storeTime)
	ns, err := l.cfg.Store.Pending(to, limit)
	cancel()
	if err != nil {
		return 0, 0, err
	}
	if len(ns) < limit {
		l.settleOthers(missing, ns)
	}
	c.mu.Lock()
	c.pending = len(ns)
	c.mu.Unlock()
	if t := l.table(); t == nil || t.Len() == 0 {
		return len(ns), 0, nil // nobody is there to be told
	}
	var done atomic.Int32
	var g sync.WaitGroup
	for _, n := range ns {
		if l.underWay(n) {
			done.Add(1)
			continue
		}
		select {
		case c.slots <- struct{}{}:
		case <-ctx.Done():
			g.Wait()
			return len(ns), int(done.Load()), ctx.Err()
		}
		g.Go(func() {
			defer func() { <-c.slots }()
			if l.deliver(ctx, n) == nil {
				done.Add(1)
			}
		})
	}
	g.Wait()
	return len(ns), int(done.Load()), nil
}

// underWay reports whether n, or a newer notice of its key, waits or flies.
func (l *Live) underWay(n subjects.SubscriberNotice) bool {
	c := &l.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	w, f := c.waiting[n.Key], c.flying[n.Key]
	return w != nil && w.Revision >= n.Revision || f != nil && f.revision >= n.Revision
}
