package subscribers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/lookup"
	"thor/overlay/setting"
	"thor/subjects"
)

// Errors of Get.
var (
	errBadKey      = error(badKey{})
	errUnavailable = errors.New("subscribers: not held, and no provisioning server answers")
)

// badKey is an overlay.ErrBadKey, which may not be all that a profile is looked up by.
type badKey struct{}

func (badKey) Error() string { return "subscribers: not user@domain" }
func (badKey) Unwrap() error { return overlay.ErrBadKey }

// A Cache holds the profiles of the subscribers that this node is responsible
// for. Its methods may be called from any goroutine.
type Cache struct {
	cfg     Config
	net     *overlay.Node
	log     zerolog.Logger
	metrics *metrics
	started atomic.Bool
	waiting atomic.Int32 // requests that wait in getPassed
	ready   chan struct{}
	wake    chan struct{} // there is something to refill
	table   atomic.Pointer[table]
	trust   atomic.Pointer[trust]
	life    context.Context // ends with Run
	end     context.CancelFunc
	working sync.WaitGroup

	mu       sync.Mutex
	contents *contents
	flights  map[string]*flight
	refill   queue
	down     time.Time // until then no provisioning server is asked for a read
	sick     map[subjects.NodeID]time.Time
	through  uint64 // the revision up to which changes are known

	limits       limits
	profilesSent *audit.Tally // profiles that owners asked for
}

// New checks cfg and takes over the notices. It does no I/O and starts nothing;
// call it before the network runs.
func New(cfg Config) (*Cache, error) {
	setting.Fill(&cfg)
	if err := cfg.check(); err != nil {
		return nil, err
	}
	c := &Cache{
		cfg: cfg, net: cfg.Overlay, ready: make(chan struct{}), wake: make(chan struct{}, 1),
		flights: make(map[string]*flight), sick: make(map[subjects.NodeID]time.Time),
		contents: newContents(cfg.Overlay.ID(), cfg.Max, cfg.Grace, recall),
	}
	c.contents.gap = true // until provisioning said what changed
	c.refill.max = cfg.Max
	c.profilesSent = audit.NewTally(cfg.Audit, 0)
	c.life, c.end = context.WithCancel(context.Background())
	c.log = cfg.Log.With().Str("comp", "subscribers").Str("node", string(c.net.ID())).Logger()
	var err error
	if c.metrics, err = newMetrics(cfg.Metrics, c); err != nil {
		return nil, fmt.Errorf("subscribers: register metrics: %w", err)
	}
	if err := c.restore(); err != nil {
		return nil, fmt.Errorf("subscribers: keep profiles over a restart: %w", err)
	}
	// Before the network runs: no notice shall miss this node once it is reached.
	c.net.Handle(subjects.Agent, subjects.VerbSubscriber, c.noticed)
	c.net.Handle(subjects.Agent, subjects.VerbHandover, c.handed)
	c.net.Handle(subjects.Agent, subjects.VerbProfile, c.answerOwner)
	return c, nil
}

// Ready is closed once the lookup is known and notices reach the cache.
func (c *Cache) Ready() <-chan struct{} { return c.ready }

// Run keeps the cache until ctx ends, and then returns nil once all its
// goroutines have ended. It may be called once.
func (c *Cache) Run(ctx context.Context) error {
	if !c.started.CompareAndSwap(false, true) {
		return errors.New("subscribers: Run was called before")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var g sync.WaitGroup
	g.Go(func() { c.followTables(ctx) })
	g.Go(func() { c.followNetwork(ctx) })
	g.Go(func() { c.refillLoop(ctx) })
	g.Go(func() { c.followTrust(ctx) })
	if c.cfg.Kept != nil {
		g.Go(func() { c.journalLoop(ctx) })
	}
	<-ctx.Done()
	c.end()
	g.Wait()
	c.working.Wait()
	c.profilesSent.Flush()
	return nil
}

// An Answer is what the cache says of a key.
type Answer struct {
	Key   string // folded
	Nodes lookup.Assignment
	Mark  subjects.Mark // of the status that Nodes is from
	// Here tells that this node answers for the key; all below holds only then.
	Here bool
	// Found tells that there is such a subscriber, or alias.
	Found    bool
	Revision uint64
	// Stale tells that no provisioning server could be asked for a newer one.
	Stale bool
	// Profile is a subscriber.Profile as JSON; HA1 and AliasOf are of it.
	Profile []byte
	HA1     string
	AliasOf string
	// Served tells, of a subscriber that is not found, that its domain has others.
	Served bool
	asked  bool // a node was asked, for this answer
	use    purpose
}

// Get answers for a key, "user@domain" or a SIP URI without parameters, in any
// case. It asks a provisioning server if it has to, for at most 2 s. The error
// is errBadKey or wraps errUnavailable.
func (c *Cache) Get(ctx context.Context, key string) (*Answer, error) {
	return c.getFor(ctx, key, forAny)
}

// getFor is Get for a certain use.
func (c *Cache) getFor(ctx context.Context, key string, use purpose) (*Answer, error) {
	a, err := c.get(ctx, fold(key), use)
	c.metrics.read(a, err)
	return a, err
}

func (c *Cache) get(ctx context.Context, key string, use purpose) (*Answer, error) {
	if !isKey(key) {
		return nil, errBadKey
	}
	nodes, mark, err := c.net.Lookup(c.cfg.Role, key)
	switch {
	case errors.Is(err, overlay.ErrBadKey):
		return nil, errBadKey
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	a := &Answer{Key: key, use: use, Nodes: nodes, Mark: mark}
	now := time.Now()
	c.mu.Lock()
	e, fresh := c.contents.get(key, now)
	a.Here = use.answeredBy(c.net.ID(), nodes) || use == forAny && e != nil && now.Before(e.serve)
	if fresh {
		a.fill(e)
	}
	c.contents.seq++
	need := c.contents.seq
	c.mu.Unlock()
	if !a.Here || fresh {
		return a, nil
	}
	return c.ask(ctx, a, need)
}

// ask completes the answer by a question that is put after need.
func (c *Cache) ask(ctx context.Context, a *Answer, need uint64) (*Answer, error) {
	a.asked = true
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	var err error
	for range 3 { // a question of another read may have been under way
		err = c.fetch(ctx, a.Key, 0, "")
		if errors.Is(err, errNotOurs) && a.Nodes.Holds(c.net.ID()) { // its lookup is a moment behind ours
			select {
			case <-time.After(behindTime):
				continue
			case <-ctx.Done():
			}
		}
		if err != nil {
			break
		}
		c.mu.Lock()
		e := c.contents.entries[a.Key]
		confirmed := e != nil && e.asked >= need && e.revision >= e.least
		if confirmed {
			a.fill(e)
		}
		c.mu.Unlock()
		if confirmed {
			return a, nil
		}
	}
	if errors.Is(err, errNotOurs) && !a.Nodes.Serves(c.net.ID()) {
		a.Here = false
		return a, nil
	}
	if err != nil {
		c.askHeirsInstead(ctx, a)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.contents.entries[a.Key]
	if e == nil || e.absent() && e.revision == 0 {
		if err == nil {
			err = errors.New("it changes faster than it can be read")
		}
		return nil, fmt.Errorf("%w: %w", errUnavailable, err)
	}
	a.fill(e)
	a.Stale = true
	return a, nil
}

func (a *Answer) fill(e *entry) {
	a.Found = !e.absent()
	a.Revision = e.revision
	a.Profile = e.body
	a.HA1 = e.ha1
	a.AliasOf = e.aliasOf
	a.Served = e.served
}
