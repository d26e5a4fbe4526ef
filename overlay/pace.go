package overlay

import (
	"context"
	"sync"
	"time"
)

// A pace spreads what all goroutines of this process do: atOnce of it, and then one in
// each interval.
type pace struct {
	atOnce   int
	interval time.Duration

	mu   sync.Mutex
	next time.Time // when the next one would be due if none were allowed at once
}

// wait returns when the caller may go on, or with the error of ctx.
func (p *pace) wait(ctx context.Context) error {
	now := time.Now()
	p.mu.Lock()
	if early := now.Add(-time.Duration(p.atOnce-1) * p.interval); p.next.Before(early) {
		p.next = early
	}
	due := p.next
	p.next = p.next.Add(p.interval)
	p.mu.Unlock()
	if !due.After(now) {
		return nil
	}
	t := time.NewTimer(due.Sub(now))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		p.mu.Lock()
		p.next = p.next.Add(-p.interval) // its turn is for another
		p.mu.Unlock()
		return context.Cause(ctx)
	}
}
