package provisioning

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/lookup"
	"thor/subjects"
)

// A LiveNetwork is what Live needs of an overlay.Node.
type LiveNetwork interface {
	ID() subjects.NodeID
	View() *overlay.View
	Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error)
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
	Tables(ctx context.Context, role subjects.Role) <-chan *lookup.Table
}

// A LiveConfig says what the provisioning server does in the network.
type LiveConfig struct {
	Overlay LiveNetwork
	Store   Pushes
	// Role is under which nodes serve subscribers; empty: sip_proxy.
	Role subjects.Role
	// Cleared are the roles whose nodes may have profiles, each its share by the
	// lookup of that role; nil: Role alone.
	Cleared []subjects.Role
	// Log receives what an operator would act on. The zero value is silent.
	Log zerolog.Logger
	// Audit receives which node got whose profile, and which nodes go by what was
	// before a change that was answered, until they hold it; nil: none.
	Audit *audit.Log
	// Metrics registers thor_provisioning_…; nil: none.
	Metrics prometheus.Registerer
}

// Live is the provisioning server's part in the network: it tells nodes of
// changes, gives them the profiles they are responsible for, and asks them what
// they know. It is a Pusher and Nodes. Its methods may be called from any
// goroutine.
type Live struct {
	cfg     LiveConfig
	net     LiveNetwork
	log     zerolog.Logger
	metrics *liveMetrics
	given   *audit.Tally // profiles that nodes asked for
	started atomic.Bool
	ready   chan struct{}
	courier courier
	recent  recent
	trust   trusting
}

// NewLive checks cfg and takes over the questions of nodes. It does no I/O and
// starts nothing; call it before the network runs.
func NewLive(cfg LiveConfig) (*Live, error) {
	if cfg.Overlay == nil || cfg.Store == nil {
		return nil, errors.New("provisioning: no network or no store")
	}
	if cfg.Role == "" {
		cfg.Role = subjects.SIPProxy
	}
	if cfg.Cleared == nil {
		cfg.Cleared = []subjects.Role{cfg.Role}
	}
	l := &Live{cfg: cfg, net: cfg.Overlay, ready: make(chan struct{}), given: audit.NewTally(cfg.Audit, 0)}
	l.log = cfg.Log.With().Str("comp", "provisioning").Str("node", string(l.net.ID())).Logger()
	l.courier.init()
	l.recent.init()
	var err error
	if l.metrics, err = newLiveMetrics(cfg.Metrics, l); err != nil {
		return nil, fmt.Errorf("provisioning: register metrics: %w", err)
	}
	l.net.Handle(string(subjects.ProvisioningServer), subjects.VerbSubscriber, l.giveSubscriber)
	l.net.Handle(string(subjects.ProvisioningServer), subjects.VerbChanges, l.giveChanges)
	l.net.Handle(string(subjects.ProvisioningServer), subjects.VerbTrust, l.giveTrust)
	return l, nil
}

// Ready is closed once pushes are delivered.
func (l *Live) Ready() <-chan struct{} { return l.ready }

// Run delivers pushes until ctx ends, and then those that it was given before,
// for at most 4 s. It returns nil; what was not acknowledged stays in the store.
// It may be called once.
func (l *Live) Run(ctx context.Context) error {
	if !l.started.CompareAndSwap(false, true) {
		return errors.New("provisioning: Live.Run was called before")
	}
	var g sync.WaitGroup
	told := make(chan struct{})
	g.Go(func() { l.followTables(ctx) })
	g.Go(func() { defer close(told); l.dispatch(ctx) })
	g.Go(func() { l.acknowledge(ctx, told) })
	g.Go(func() { l.repairLoop(ctx) })
	close(l.ready)
	g.Wait()
	l.given.Flush()
	return nil
}

// followTables keeps the lookup of every role that matters.
func (l *Live) followTables(ctx context.Context) {
	var g sync.WaitGroup
	for i, r := range append([]subjects.Role{l.cfg.Role}, l.cfg.Cleared...) {
		if i > 0 && r == l.cfg.Role {
			continue
		}
		g.Go(func() {
			for t := range l.net.Tables(ctx, r) {
				l.recent.observe(r, t, time.Now())
				if r == l.cfg.Role {
					l.tellNewcomers(time.Now())
					signal(l.courier.moved)
				}
			}
		})
	}
	g.Wait()
}

// A recent remembers the newest lookup table of each role, and the one before:
// for a moment not everybody has heard of the newest.
type recent struct {
	mu    sync.Mutex
	now   map[subjects.Role]*lookup.Table
	old   map[subjects.Role]*lookup.Table
	since map[subjects.Role]time.Time // of now
}

// oldFor is how long the table before the newest one counts.
const oldFor = 2 * time.Minute

func (r *recent) init() {
	r.now, r.old = make(map[subjects.Role]*lookup.Table), make(map[subjects.Role]*lookup.Table)
	r.since = make(map[subjects.Role]time.Time)
}

func (r *recent) observe(role subjects.Role, t *lookup.Table, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.old[role], r.now[role], r.since[role] = r.now[role], t, now
}

// tables are the newest table of a role and the one before as long as it counts;
// nil where there is none.
func (r *recent) tables(role subjects.Role, at time.Time) (now, old *lookup.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at.Before(r.since[role].Add(oldFor)) {
		old = r.old[role]
	}
	return r.now[role], old
}

// table is the newest one by which subscribers are served.
func (l *Live) table() *lookup.Table {
	t, _ := l.recent.tables(l.cfg.Role, time.Now())
	return t
}

// responsible reports whether node is to hold key, by the newest table of role
// or by the one before it.
func (l *Live) responsible(role subjects.Role, node subjects.NodeID, key string) bool {
	now, old := l.recent.tables(role, time.Now())
	return slices.Contains(holders(now, key), node) || slices.Contains(holders(old, key), node)
}

// holders are the nodes that hold key by t: the owner, the heir, and a node that
// drains and has state of before. Nobody if there are no members, or no key.
func holders(t *lookup.Table, key string) []subjects.NodeID {
	if t == nil {
		return nil
	}
	p, err := t.Find(key)
	if err != nil {
		return nil
	}
	out := []subjects.NodeID{p.Owner()}
	if h := p.Heir(); h != "" {
		out = append(out, h)
	}
	if r := p.Residence(); !slices.Contains(out, r) {
		out = append(out, r)
	}
	return out
}
