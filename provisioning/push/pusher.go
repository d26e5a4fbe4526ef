package push

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/records"
	"thor/overlay/setting"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// A store has the profiles and the outstanding pushes. It is an interface so
// that tests of a whole network need no database.
type store interface {
	// Subscriber is the profile of key: an account, an alias, or one that is
	// marked deleted, with the revision of its deletion (0: it never was).
	Subscriber(ctx context.Context, key string) (*subscriber.Profile, error)
	// Changes lists the keys changed after revision since.
	Changes(ctx context.Context, since uint64) (*subscriber.ChangedKeys, error)
	// Trust is whom proxies trust, and which domains are served.
	Trust(ctx context.Context) (*subscriber.Trust, error)
	// ZoneRecords is the list of the provisioned records of the network's zone.
	ZoneRecords(ctx context.Context) (*records.List, error)
	// Pending lists the outstanding pushes, the oldest first.
	Pending(ctx context.Context, limit int) ([]subscriber.Notice, error)
	// Acknowledge ends the pushes of these keys up to their revisions.
	Acknowledge(ctx context.Context, ns []subscriber.Notice) error
}

// Config is how a Pusher works. Overlay and Store are required.
type Config struct {
	Overlay *overlay.Node
	Store   store
	// Role is under which nodes serve subscribers.
	Role subjects.Role `default:"sip_proxy"`
	// Roles whose nodes may have profiles with their digests, each its share by the
	// lookup of that role.
	//
	// nil: Role alone.
	Cleared []subjects.Role `toml:"cleared" default:"(sip_proxy)"`
	// Log receives what an operator would act on. The zero value is silent.
	Log zerolog.Logger
	// Audit receives which node got whose profile, and which nodes lack a change
	// that was answered, until they hold it; nil: none.
	Audit *audit.Log
	// Metrics registers thor_provisioning_…; nil: none.
	Metrics prometheus.Registerer
}

// A Pusher pushes changes, and answers and queries nodes. Its methods may be
// called from any goroutine.
type Pusher struct {
	cfg     Config
	net     *overlay.Node
	log     zerolog.Logger
	metrics *metrics
	started atomic.Bool
	ready   chan struct{}

	queue    queue
	inFlight inFlight
	breakers breakers
	backlogs backlogs
	tables   tables
	recent   recentPushes
	pending  atomic.Int64           // outstanding in the store, as last read
	acks     chan subscriber.Notice // held by all holders, not yet acknowledged
	slots    chan struct{}          // one token for each notice that is being sent
	retry    chan struct{}          // holds one token: a push failed
	moved    chan struct{}          // holds one token: the lookup table changed

	given *audit.Tally // profiles that nodes requested
	trust recentRead[subscriber.Trust]

	records recentRead[records.List]
}

// New checks cfg and registers the handlers of nodes' requests. It does no I/O and
// starts nothing; call it before the network runs.
func New(cfg Config) (*Pusher, error) {
	if cfg.Overlay == nil || cfg.Store == nil {
		return nil, errors.New("push: no network or no store")
	}
	setting.Fill(&cfg)
	if cfg.Cleared == nil {
		cfg.Cleared = []subjects.Role{cfg.Role}
	}
	p := &Pusher{
		cfg: cfg, net: cfg.Overlay, ready: make(chan struct{}), given: audit.NewTally(cfg.Audit, 0),
		queue: newQueue(), inFlight: newInFlight(), breakers: newBreakers(), backlogs: newBacklogs(), tables: newTables(),
		acks: make(chan subscriber.Notice, ackAtOnce), slots: make(chan struct{}, pushAtOnce),
		retry: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	p.log = cfg.Log.With().Str("comp", "provisioning").Str("node", string(p.net.ID())).Logger()
	var err error
	if p.metrics, err = newMetrics(cfg.Metrics, p); err != nil {
		return nil, fmt.Errorf("push: register metrics: %w", err)
	}
	handle(p, subjects.VerbSubscriber, cfg.Cleared, subscriber.ParseRequest, p.profile)
	handle(p, subjects.VerbChanges, cfg.Cleared, subscriber.ParseChangesRequest, p.changes)
	handle(p, subjects.VerbTrust, cfg.Cleared, subscriber.ParseTrustRequest, p.trusted)
	handle(p, subjects.VerbRecords, []subjects.Role{subjects.DNSManager}, records.ParseRequest, p.zoneRecords)
	return p, nil
}

// Ready is closed once pushes are sent.
func (p *Pusher) Ready() <-chan struct{} { return p.ready }

// Run pushes until ctx ends, and then what was queued before, for at most 4 s. It
// returns nil; what was not acknowledged stays in the store. It may be called
// once.
func (p *Pusher) Run(ctx context.Context) error {
	if !p.started.CompareAndSwap(false, true) {
		return errors.New("push: Run was called before")
	}
	var g sync.WaitGroup
	sent := make(chan struct{})
	g.Go(func() { p.followTables(ctx) })
	g.Go(func() { defer close(sent); p.sendQueued(ctx) })
	g.Go(func() { p.acknowledge(ctx, sent) })
	g.Go(func() { p.repairLoop(ctx) })
	close(p.ready)
	g.Wait()
	p.given.Flush()
	return nil
}

// followTables keeps the lookup tables of the roles that hold subscribers.
func (p *Pusher) followTables(ctx context.Context) {
	var g sync.WaitGroup
	for i, r := range append([]subjects.Role{p.cfg.Role}, p.cfg.Cleared...) {
		if i > 0 && r == p.cfg.Role {
			continue
		}
		g.Go(func() {
			for t := range p.net.Tables(ctx, r) {
				p.tables.observe(r, t, time.Now())
				if r == p.cfg.Role {
					p.pushToNewHolders(time.Now())
					signal(p.moved)
				}
			}
		})
	}
	g.Wait()
}

// signal leaves a token in ch, which holds one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
