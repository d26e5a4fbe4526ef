// Package media answers what the media relays of a node carry: sums, and the calls with
// their streams, as rtpengine tells them.
package media

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/ng"
	"thor/overlay"
	"thor/overlay/check"
	"thor/overlay/media"
	"thor/subjects"
)

const (
	askTime = 1500 * time.Millisecond // for all relays to answer; who asks waits 2 s
	fresh   = time.Second             // a report with calls is not made again before
)

// A Network is what is needed of an overlay.Node. Tests have a map.
type Network interface {
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// Answers answers subjects.VerbMedia. Its methods may be called from any goroutine.
type Answers struct {
	log     zerolog.Logger
	targets atomic.Pointer[map[subjects.Role][]string] // never written to

	mu   sync.Mutex // held while asking for calls: who asks meanwhile gets the same
	last *media.Report
	at   time.Time
}

// Handle has n answer by the rtpengines of its roles, given by where their ng protocol
// listens. Call it before the network runs.
func Handle(n Network, roles map[subjects.Role][]string, log zerolog.Logger) *Answers {
	a := &Answers{log: log.With().Str("comp", "media").Logger()}
	a.Use(roles)
	n.Handle(subjects.Agent, subjects.VerbMedia, func(ctx context.Context, r *overlay.Request) *subjects.Reply {
		q, err := media.ParseRequest(r.Data)
		if err != nil {
			return &subjects.Reply{Code: subjects.ErrorBad, Text: err.Error()}
		}
		return &subjects.Reply{V: subjects.Version, Data: a.report(ctx, q).Encode()}
	})
	return a
}

// Use has other relays asked from now on.
func (a *Answers) Use(roles map[subjects.Role][]string) {
	roles = maps.Clone(roles)
	a.targets.Store(&roles)
}

func (a *Answers) report(ctx context.Context, q *media.Request) *media.Report {
	whole := q.Calls && q.CallID == ""
	if whole {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.last != nil && time.Since(a.at) < fresh {
			return a.last
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r := &media.Report{V: subjects.Version, Relays: []media.Relay{}}
	roles := *a.targets.Load()
	var all sync.WaitGroup
	relays := make([][]media.Relay, 0, len(roles))
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		of := make([]media.Relay, len(roles[role]))
		relays = append(relays, of)
		for i, target := range roles[role] {
			all.Go(func() {
				of[i] = a.relay(ctx, target, q)
				of[i].Role = role
			})
		}
	}
	all.Wait()
	for _, of := range relays {
		r.Relays = append(r.Relays, of...)
	}
	if whole && ctx.Err() == nil {
		a.last, a.at = r, time.Now()
	}
	return r
}

// relay asks one rtpengine.
func (a *Answers) relay(ctx context.Context, target string, q *media.Request) (r media.Relay) {
	c := ng.New(target)
	defer c.Close()
	err := fill(ctx, c, q, &r)
	if err != nil {
		a.log.Debug().Err(err).Str("addr", target).Msg("rtpengine does not tell what it carries")
		return media.Relay{Fault: subjects.Printable(check.Explain(err).Text, subjects.MaxReason)}
	}
	return r
}

func fill(ctx context.Context, c *ng.Client, q *media.Request, r *media.Relay) error {
	if q.CallID != "" {
		return addCall(ctx, c, q.CallID, r)
	}
	t, err := c.Traffic(ctx)
	if err != nil {
		return err
	}
	r.Uptime, r.Sessions, r.Streams, r.ByteRate = t.Uptime, t.Sessions, t.Media, t.ByteRate
	if !q.Calls {
		return nil
	}
	ids, err := c.Calls(ctx, media.MaxCalls+1)
	if err != nil {
		return err
	}
	r.More = len(ids) > media.MaxCalls
	for _, id := range ids[:min(len(ids), media.MaxCalls)] {
		if err := addCall(ctx, c, id, r); err != nil {
			return err
		}
	}
	return nil
}

// addCall adds a call that has not ended meanwhile.
func addCall(ctx context.Context, c *ng.Client, id string, r *media.Relay) error {
	call, ok, err := c.Call(ctx, id)
	if ok && err == nil {
		r.Calls = append(r.Calls, call)
	}
	return err
}
