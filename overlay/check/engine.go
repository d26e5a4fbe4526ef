package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// leaveTime is how long the end of Run waits for the network to hear of it.
const leaveTime = 2 * time.Second

// A Config says for whom an Engine works.
type Config struct {
	// Agent stands before the errors.
	Agent string
	// Network is where groups are announced. What runs it is the caller's matter.
	Network Network
	Names   Names
	// Metrics registers those of Names; nil: none.
	Metrics prometheus.Registerer
}

// An Engine makes the checks of groups and announces what they decide. Its methods may
// be called from any goroutine.
//
// Locks are taken in this order: change, a group's mu, mu.
type Engine struct {
	agent   string
	net     Network
	metrics *metrics
	ready   chan struct{}
	started atomic.Bool

	change sync.Mutex              // one Change, or the begin or end of Run, at a time
	run    context.Context         // Run's; nil while it does not run; guarded by change
	fail   context.CancelCauseFunc // ends Run; guarded by change
	ended  bool                    // Run has; guarded by change

	mu     sync.Mutex
	groups []*Group // replaced as a whole; changed under change and mu
	isSet  bool     // ready is closed
}

// NewEngine makes an engine without groups: see Change and Use.
func NewEngine(cfg Config) (*Engine, error) {
	m, err := newMetrics(&cfg)
	if err != nil {
		return nil, fmt.Errorf("%s: register metrics: %w", cfg.Agent, err)
	}
	return &Engine{agent: cfg.Agent, net: cfg.Network, metrics: m, ready: make(chan struct{})}, nil
}

// Ready is closed once every group has been announced for the first time, as up or as
// down.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Run probes and announces until ctx ends. Then every group leaves, within 2 s, and
// Run returns nil. An error is a member that the SDK refuses, as when a renewed
// certificate lacks its role. Run may be called once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return fmt.Errorf("%s: Run was called before", e.agent)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.change.Lock()
	e.run, e.fail = ctx, cancel
	for _, g := range e.groups {
		if err := g.start(); err != nil {
			cancel(err)
		}
	}
	e.change.Unlock()
	<-ctx.Done()
	e.change.Lock()
	defer e.change.Unlock()
	e.run, e.ended = nil, true
	e.dismiss(e.groups)
	if err := context.Cause(ctx); errors.Is(err, errRefused) {
		return fmt.Errorf("%s: %w", e.agent, err)
	}
	return nil
}

// Change calls f while no other Change runs, and Run neither begins nor ends. After
// Run has ended it is an error instead. running says whether Run does.
func (e *Engine) Change(f func(running bool) error) error {
	e.change.Lock()
	defer e.change.Unlock()
	if e.ended {
		return fmt.Errorf("%s: reconfigure: Run has ended", e.agent)
	}
	return f(e.run != nil)
}

// Use makes next the groups of e. Those that e has already do not notice; the others
// of e leave, within 2 s, and the new ones start. It is for the function that Change is
// given.
func (e *Engine) Use(next []*Group) error {
	e.mu.Lock()
	gone, added := without(e.groups, next), without(next, e.groups)
	e.groups = slices.Clone(next)
	e.mu.Unlock()
	e.dismiss(gone)
	for _, g := range gone {
		e.metrics.forget(g)
	}
	var errs []error
	if e.run != nil {
		for _, g := range added {
			errs = append(errs, g.start())
		}
	}
	e.settle()
	return errors.Join(errs...)
}

// dismiss ends the checks of groups, and all leave at once. The caller holds change.
func (e *Engine) dismiss(groups []*Group) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, g := range groups {
		wg.Go(func() {
			halt(g.checks)
			g.leave(ctx)
		})
	}
	wg.Wait()
}

// settle closes ready once every group has been announced.
func (e *Engine) settle() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isSet || len(e.groups) == 0 || slices.ContainsFunc(e.groups, func(g *Group) bool { return !g.announced.Load() }) {
		return
	}
	e.isSet = true
	close(e.ready)
}
