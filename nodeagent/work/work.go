// Package work answers how much the services of a node's roles carry now: dialogs of
// a Kamailio, sessions of an rtpengine. An operator who drains the node waits until
// that is nothing.
package work

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

const (
	countTime = 2 * time.Second // for the services to answer
	fresh     = time.Second     // a count is not made again before
)

// A Counter asks one service how much it carries.
type Counter struct {
	What  string // subjects.Dialogs, subjects.Sessions
	Count func(context.Context) (int, error)
}

// A Network is what is needed of an overlay.Node. Tests have a map.
type Network interface {
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// Answers answers subjects.VerbWork. Its methods may be called from any goroutine.
type Answers struct {
	log      zerolog.Logger
	counters atomic.Pointer[map[subjects.Role][]Counter] // never written to

	mu   sync.Mutex // held while counting: who asks meanwhile gets the same
	last *subjects.Work
	at   time.Time
}

// Handle has n answer by the counters of its roles. Call it before the network runs.
func Handle(n Network, roles map[subjects.Role][]Counter, log zerolog.Logger) *Answers {
	a := &Answers{log: log.With().Str("comp", "work").Logger()}
	a.Use(roles)
	n.Handle(subjects.Agent, subjects.VerbWork, func(ctx context.Context, _ *overlay.Request) *subjects.Reply {
		return &subjects.Reply{V: subjects.Version, Data: a.Count(ctx).Encode()}
	})
	return a
}

// Use has other services counted from now on.
func (a *Answers) Use(roles map[subjects.Role][]Counter) {
	roles = maps.Clone(roles)
	a.counters.Store(&roles)
}

// Count asks all services at once, unless that was done within the last second.
func (a *Answers) Count(ctx context.Context) *subjects.Work {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last != nil && time.Since(a.at) < fresh {
		return a.last
	}
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	roles := *a.counters.Load()
	w := &subjects.Work{V: subjects.Version, Roles: make(map[subjects.Role][]subjects.Count)}
	var all sync.WaitGroup
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		counts := make([]subjects.Count, len(roles[role]))
		w.Roles[role] = counts
		for i, c := range roles[role] {
			counts[i].What = c.What
			all.Go(func() {
				n, err := c.Count(ctx)
				if err != nil {
					a.log.Debug().Err(err).Str("role", string(role)).Msg(c.What + " cannot be counted")
					counts[i].Fault = subjects.Printable(err.Error(), subjects.MaxReason)
					return
				}
				counts[i].N = max(0, n)
			})
		}
	}
	all.Wait()
	if ctx.Err() == nil { // the asker may have been the one who ended it
		a.last, a.at = w, time.Now()
	}
	return w
}
