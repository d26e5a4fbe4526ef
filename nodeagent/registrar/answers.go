package registrar

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/subjects"
)

const (
	countEvery = 10 * time.Second // a count is not made again before
	countTime  = 20 * time.Second // a Kamailio takes 3 s for 20,000 subscribers
	countWait  = time.Second      // an answer waits so long for a newer count…
	countOld   = 5 * time.Minute  // …and gives one of up to this age otherwise
	lookups    = 8                // at once
)

// A Source is a SIP proxy that knows who is registered with it.
type Source interface {
	// Online counts the subscribers that are registered, by domain.
	Online(ctx context.Context) (map[string]int, error)
	// Contacts are where key is registered; none is no error.
	Contacts(ctx context.Context, key string) ([]subscriber.Contact, error)
	// Close ends idle connections.
	Close()
}

// A Network is what is needed of an overlay.Node. Tests have a map.
type Network interface {
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// Answers answers what the provisioning server asks of this node.
type Answers struct {
	log     zerolog.Logger
	now     atomic.Pointer[map[subjects.Role]*counted] // never written to
	life    context.Context                            // ends with Close
	end     context.CancelFunc
	working sync.WaitGroup
}

// counted is a proxy with its newest count.
type counted struct {
	source Source

	mu   sync.Mutex
	last map[string]int
	at   time.Time
	busy chan struct{} // closed when the count under way is done; nil: none is
}

// Handle has n answer by the proxies of the roles from now on. Call it before
// the network runs.
func Handle(n Network, roles map[subjects.Role]Source, log zerolog.Logger) *Answers {
	a := &Answers{log: log.With().Str("comp", "registrar").Logger()}
	a.life, a.end = context.WithCancel(context.Background())
	a.Use(roles)
	n.Handle(subjects.Agent, subjects.VerbStatistics, a.statistics)
	n.Handle(subjects.Agent, subjects.VerbLocations, a.locations)
	return a
}

// Use has the questions of the roles answered by other proxies. A question under
// way may still go to the former.
func (a *Answers) Use(roles map[subjects.Role]Source) {
	next := make(map[subjects.Role]*counted)
	for r, c := range roles {
		next[r] = &counted{source: c}
	}
	if old := a.now.Swap(&next); old != nil {
		for _, c := range *old {
			c.source.Close()
		}
	}
}

func (a *Answers) roles() map[subjects.Role]*counted { return *a.now.Load() }

// Close ends what is under way, and the connections to the proxies. Questions that
// come later get no counts.
func (a *Answers) Close() {
	a.end()
	a.working.Wait()
	a.Use(nil)
}

func (a *Answers) statistics(ctx context.Context, _ *overlay.Request) *subjects.Reply {
	s := subscriber.Statistics{V: subjects.Version, Roles: make(map[subjects.Role]subscriber.RoleStatistics)}
	for r, c := range a.roles() {
		counts, err := a.count(ctx, c)
		if err != nil {
			a.log.Debug().Err(err).Str("role", string(r)).Msg("registrations cannot be counted")
		}
		if counts != nil {
			s.Roles[r] = subscriber.RoleStatistics{subscriber.OnlineAccounts: counts}
		}
	}
	return &subjects.Reply{V: subjects.Version, Data: s.Encode()}
}

// count is the newest count, made anew if it is not of the last seconds; nil if
// there is none that is fit to be shown.
func (a *Answers) count(ctx context.Context, c *counted) (map[string]int, error) {
	c.mu.Lock()
	if time.Since(c.at) < countEvery {
		defer c.mu.Unlock()
		return c.last, nil
	}
	busy := c.busy
	if busy == nil && a.life.Err() == nil {
		busy = make(chan struct{})
		c.busy = busy
		a.working.Go(func() { c.refresh(a.life, busy) })
	}
	c.mu.Unlock()
	wait := time.NewTimer(countWait)
	defer wait.Stop()
	select {
	case <-busy:
	case <-wait.C:
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < countOld {
		return c.last, nil
	}
	return nil, context.DeadlineExceeded
}

func (c *counted) refresh(ctx context.Context, busy chan struct{}) {
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	counts, err := c.source.Online(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.last, c.at = counts, time.Now()
	}
	c.busy = nil
	close(busy)
}

func (a *Answers) locations(ctx context.Context, r *overlay.Request) *subjects.Reply {
	q, err := subscriber.ParseLocationsRequest(r.Data)
	if err != nil {
		return &subjects.Reply{V: subjects.Version, Code: subjects.ErrorBad, Text: err.Error()}
	}
	var mu sync.Mutex
	out := subscriber.Locations{V: subjects.Version, Contacts: make(map[string][]subscriber.Contact)}
	answered := len(q.Keys) == 0
	var g sync.WaitGroup
	slots := make(chan struct{}, lookups)
	roles := a.roles()
	for _, k := range q.Keys {
		for _, role := range slices.Sorted(maps.Keys(roles)) {
			slots <- struct{}{}
			g.Go(func() {
				defer func() { <-slots }()
				cs, err := roles[role].source.Contacts(ctx, k)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					a.log.Debug().Err(err).Str("role", string(role)).Msg("registrations cannot be looked up")
					return
				}
				answered = true
				if len(cs) > 0 {
					out.Contacts[k] = append(out.Contacts[k], cs...)
				}
			})
		}
	}
	g.Wait()
	if !answered {
		return &subjects.Reply{V: subjects.Version, Code: subjects.ErrorFailed, Text: "the SIP proxy does not answer"}
	}
	return &subjects.Reply{V: subjects.Version, Data: out.Encode()}
}
