package push

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"thor/overlay/subscriber"
)

// Pace of repairs.
const (
	repairEvery  = 30 * time.Second       // also without a known failure: another server may have failed
	repairFirst  = 250 * time.Millisecond // after a failure, doubling while nothing is acknowledged…
	repairMax    = 30 * time.Second       // …up to this
	repairSettle = 50 * time.Millisecond  // after a change of the lookup table, which nodes receive as well
	repairBatch  = 1000
	repairMost   = 32_000 // as far as a batch grows when its pushes fail
)

// A pace is when to read the store next.
type pace struct {
	wait  time.Duration // after the next failure
	limit int
}

func newPace() pace { return pace{repairFirst, repairBatch} }

// after is how long to wait after a round that found so many pushes pending and
// had so many of them held.
func (p *pace) after(found, held int) time.Duration {
	full := found == p.limit
	switch {
	case found == held && !full:
		*p = newPace()
		return repairEvery/2 + rand.N(repairEvery)
	case held > 0:
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

// repairLoop pushes what is outstanding in the store: at once, when the lookup
// table changed, after failures, and periodically.
func (p *Pusher) repairLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pace := newPace()
	failing := false
	read := false
	due := time.Now()
	plan := func(wait time.Duration) {
		due = time.Now().Add(wait)
		timer.Reset(wait)
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.moved:
			p.breakers.reset(p.isMember)
			pace = newPace()
			plan(repairSettle)
			continue
		case <-p.retry:
			if time.Until(due) > pace.wait {
				plan(pace.wait)
			}
			continue
		case <-timer.C:
		}
		found, held, err := p.repair(ctx, pace.limit)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			switch {
			case failing && !read: // the location of the database is not known yet
				p.log.Info().Err(err).Msg("waiting for the store to read pending pushes")
			case failing:
				p.log.Error().Err(err).Msg("pending pushes cannot be read, retrying")
			default:
				p.log.Info().Msg("pending pushes can be read")
			}
		}
		read = read || err == nil
		if err != nil {
			found, held = 1, 0
		}
		plan(pace.after(found, held))
	}
}

// repair pushes what is outstanding, the oldest limit of it.
func (p *Pusher) repair(ctx context.Context, limit int) (found, held int, err error) {
	behind := p.backlogs.all()
	to, cancel := context.WithTimeout(ctx, storeTime)
	ns, err := p.cfg.Store.Pending(to, limit)
	cancel()
	if err != nil {
		return 0, 0, err
	}
	if len(ns) < limit {
		p.removeAcknowledged(behind, ns)
	}
	p.pending.Store(int64(len(ns)))
	if t := p.table(); t == nil || t.Len() == 0 {
		return len(ns), 0, nil // there is no holder
	}
	var done atomic.Int32
	var g sync.WaitGroup
	for _, n := range ns {
		if p.underWay(n) {
			done.Add(1)
			continue
		}
		select {
		case p.slots <- struct{}{}:
		case <-ctx.Done():
			g.Wait()
			return len(ns), int(done.Load()), ctx.Err()
		}
		g.Go(func() {
			defer func() { <-p.slots }()
			if p.send(ctx, n) == nil {
				done.Add(1)
			}
		})
	}
	g.Wait()
	return len(ns), int(done.Load()), nil
}

// underWay reports whether n, or a newer notice of its key, is queued or in flight.
func (p *Pusher) underWay(n subscriber.Notice) bool {
	return p.queue.has(n) || p.inFlight.has(n)
}
