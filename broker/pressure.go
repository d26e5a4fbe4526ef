package broker

import (
	"context"
	runtimemetrics "runtime/metrics"
	"time"
)

// A pressure lets handshakes of clients begin while this process keeps up with its
// work, and few of them while it does not. A handshake, and the subscriptions and
// snapshots that follow, cost as much as minutes of a connection at rest; when thousands
// of clients come at once, those that are connected would wait for the answers to
// their pings, leave, and come again: a storm that feeds itself.
type pressure struct {
	turn    chan struct{} // one asks at a time, in the order in which they came
	latency func() *runtimemetrics.Float64Histogram
	was     []uint64 // the counts at the last look
	next    time.Time
	behind  bool
}

const (
	pressureLook  = 20 * time.Millisecond
	pressureLate  = 0.05                  // seconds that a goroutine waits for a processor, or longer…
	pressurePart  = 10                    // …and more than one in so many does: this process is behind…
	pressurePause = 20 * time.Millisecond // …and rests before each handshake. However long that lasts it takes 50 clients a second
)

func newPressure() *pressure {
	sample := []runtimemetrics.Sample{{Name: "/sched/latencies:seconds"}}
	return &pressure{turn: make(chan struct{}, 1), latency: func() *runtimemetrics.Float64Histogram {
		runtimemetrics.Read(sample)
		return sample[0].Value.Float64Histogram()
	}}
}

// wait returns nil when a handshake may begin.
func (p *pressure) wait(ctx context.Context) error {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.turn }()
	if !p.look(time.Now()) {
		return nil
	}
	select {
	case <-time.After(pressurePause):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look reports whether this process is behind.
func (p *pressure) look(now time.Time) bool {
	if now.Before(p.next) {
		return p.behind
	}
	h := p.latency()
	long, all := waited(p.was, h)
	p.was = append(p.was[:0], h.Counts...)
	p.behind = all > 0 && long*pressurePart > all
	p.next = now.Add(pressureLook)
	return p.behind
}

// waited is how many goroutines got a processor since the counts were was, and how many
// of them waited for it for pressureLate or longer.
func waited(was []uint64, h *runtimemetrics.Float64Histogram) (long, all uint64) {
	for i, n := range h.Counts {
		if i < len(was) {
			n -= was[i]
		}
		all += n
		if h.Buckets[i] >= pressureLate {
			long += n
		}
	}
	return long, all
}
