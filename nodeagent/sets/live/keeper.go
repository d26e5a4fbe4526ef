package live

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/nodeagent/sets"
	"thor/overlay"
	"thor/subjects"
)

// A Network tells of the status; an *overlay.Node is one.
type Network interface {
	Watch(ctx context.Context) <-chan *overlay.View
}

// A Target is a SIP proxy with the sets that are kept there.
type Target struct {
	Role  subjects.Role // whose proxy it is; each once
	URL   string        // of its JSON-RPC, by which a change is noticed
	Proxy Proxy
	Sets  *sets.Config // filled and valid
}

// same reports whether t is kept like o.
func (t Target) same(o Target) bool {
	return t.Role == o.Role && t.URL == o.URL && reflect.DeepEqual(t.Sets, o.Sets)
}

// A Keeper keeps the sets of the targets. Its methods may be called from any goroutine.
type Keeper struct {
	network Network
	log     zerolog.Logger
	metrics *metrics
	changed chan struct{} // of capacity 1: there are other targets

	mu      sync.Mutex
	targets []Target
	tables  []*table // those that run
}

// New makes a Keeper of targets. It does no I/O.
func New(network Network, targets []Target, log zerolog.Logger, reg prometheus.Registerer) (*Keeper, error) {
	m, err := newMetrics(reg)
	if err != nil {
		return nil, fmt.Errorf("live: %w", err)
	}
	return &Keeper{network: network, log: log.With().Str("comp", "sets").Logger(), metrics: m, changed: make(chan struct{}, 1), targets: targets}, nil
}

// Use replaces the targets. Those that are the same do not notice if all are.
func (k *Keeper) Use(targets []Target) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if slices.EqualFunc(k.targets, targets, Target.same) {
		return
	}
	k.targets = targets
	select {
	case k.changed <- struct{}{}:
	default:
	}
}

// Faults says in one line each which tables are not in step, and why.
func (k *Keeper) Faults() (out []string) {
	k.mu.Lock()
	tables := k.tables
	k.mu.Unlock()
	for _, t := range tables {
		out = append(out, t.faults()...)
	}
	return out
}

// Run keeps the sets until ctx ends; then it returns nil. It may be called once. The sets
// stay as they are.
func (k *Keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		round, end := context.WithCancel(ctx)
		k.mu.Lock()
		targets := k.targets
		k.tables = nil
		for _, t := range targets {
			for _, d := range t.Sets.Tables() {
				k.tables = append(k.tables, newTable(t, d, k.log, k.metrics))
			}
		}
		tables := k.tables
		k.mu.Unlock()
		var running sync.WaitGroup
		for _, t := range tables {
			running.Go(func() { t.run(round, k.network.Watch(round)) })
		}
		select {
		case <-k.changed:
		case <-ctx.Done():
		}
		end()
		running.Wait()
		for _, t := range tables {
			k.metrics.forget(t.labels()...)
		}
	}
	return nil
}
