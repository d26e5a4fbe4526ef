package dbagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/identity"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/subjects"
)

// leaveTime is how long the end of Run waits for the network to hear of it.
const leaveTime = 2 * time.Second

// network is what the agent needs of an overlay.Node.
type network interface {
	Identity() *identity.Identity
	Join(overlay.Member) (membership, error)
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// membership is what it needs of an overlay.Membership.
type membership interface {
	Update(func(*overlay.Member))
	Leave(context.Context) error
}

// node makes a network of an overlay.Node.
type node struct{ *overlay.Node }

func (n node) Join(m overlay.Member) (membership, error) {
	ms, err := n.Node.Join(m)
	if err != nil {
		return nil, err // not an interface around nil
	}
	return ms, nil
}

// A candidate is one database of the configuration.
type candidate struct {
	cfg     Database
	prober  prober
	label   string // host:port/name, for logs and metrics
	health  health // guarded by the agent's mu
	version string // of the server, when last seen; guarded by the agent's mu

	stop  context.CancelFunc // ends its checks; nil before they began; guarded by the agent's change
	ended chan struct{}      // closed when they have
}

// An Agent announces a database. Its methods may be called from any goroutine.
//
// Locks are taken in this order: change, mu.
type Agent struct {
	net       network
	log       zerolog.Logger
	metrics   *metrics
	audit     *audit.Log
	refused   *audit.Tally // requests that any member can send
	newProber func(Database) prober
	ready     chan struct{}
	started   atomic.Bool

	change sync.Mutex              // one Reconfigure, or the begin or end of Run, at a time
	run    context.Context         // Run's; nil while it does not run; guarded by change
	fail   context.CancelCauseFunc // ends Run; guarded by change
	ended  bool                    // Run has; guarded by change

	mu      sync.Mutex
	cleared []subjects.Role
	dbs     []*candidate // the most preferred first; changed under change and mu
	ms      membership   // nil before the first announcement
	shown   *candidate   // that is announced; nil for none
	state   subjects.State
	reason  string
}

// New checks cfg, also against the certificate. It does no I/O and starts
// nothing. The error tells all that is wrong, a line for each, and no password.
func New(cfg Config) (*Agent, error) {
	if cfg.Overlay == nil {
		return nil, errors.New("dbagent: no overlay")
	}
	return newAgent(cfg, node{cfg.Overlay})
}

func newAgent(cfg Config, n network) (*Agent, error) {
	if err := cfg.check(n.Identity()); err != nil {
		return nil, err
	}
	a := &Agent{net: n, cleared: slices.Clone(cfg.Cleared), ready: make(chan struct{}), audit: cfg.Audit, refused: audit.NewTally(cfg.Audit, 0)}
	a.newProber = func(d Database) prober { return &mysqlProbe{db: d} }
	a.log = cfg.Log.With().Str("comp", "dbagent").Str("node", string(n.Identity().Node)).Str("role", string(subjects.Database)).Logger()
	var err error
	if a.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("dbagent: register metrics: %w", err)
	}
	for _, d := range cfg.ranked() {
		a.dbs = append(a.dbs, a.newCandidate(d))
	}
	return a, nil
}

func (a *Agent) newCandidate(d Database) *candidate {
	return &candidate{cfg: d, prober: a.newProber(d), label: d.label()}
}

// Ready is closed once a database has been announced for the first time, as up
// or as down.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run checks, announces and answers until ctx ends. Then it leaves, within 2 s,
// and returns nil. An error is an announcement that the SDK refuses, as when a
// renewed certificate lacks the role. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.started.CompareAndSwap(false, true) {
		return errors.New("dbagent: Run was called before")
	}
	a.net.Handle(string(subjects.Database), subjects.VerbCredentials, a.credentials)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.change.Lock()
	a.run, a.fail = ctx, cancel
	for _, c := range a.dbs {
		a.begin(c)
	}
	a.change.Unlock()
	<-ctx.Done()
	a.change.Lock()
	defer a.change.Unlock()
	defer a.refused.Flush()
	a.run, a.ended = nil, true
	halt(a.dbs)
	a.leave(context.WithoutCancel(ctx))
	if err := context.Cause(ctx); errors.Is(err, errRefused) {
		return fmt.Errorf("dbagent: %w", err)
	}
	return nil
}

// errRefused is wrapped by what ends Run: the SDK does not take the announcement.
var errRefused = errors.New("announcement refused")

// watch checks c until ctx ends, sooner again while a change is in the air: a
// database that dies is announced as down within two intervals and a timeout.
func (a *Agent) watch(ctx context.Context, c *candidate) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := time.Now()
		version, f := c.check(ctx)
		took := time.Since(began)
		if ctx.Err() != nil {
			return nil // a check cut short says nothing
		}
		a.metrics.probed(c.label, f, took)
		pending, err := a.observe(c, version, f, took)
		if err != nil {
			return err
		}
		wait := c.cfg.Interval
		if pending {
			wait /= 2
		}
		timer.Reset(max(0, wait-time.Since(began)))
	}
}

// check asks once, within the timeout. nil means well.
func (c *candidate) check(ctx context.Context) (version string, f *fault) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	version, err := c.prober.probe(ctx)
	if err == nil {
		return version, nil
	}
	f = explain(err)
	return version, &fault{text: "mysql " + c.label + ": " + f.text, cause: f.cause}
}

// observe takes the result of a check of c and announces what follows from it.
func (a *Agent) observe(c *candidate, version string, f *fault, took time.Duration) (pending bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	text := ""
	if f != nil {
		text = f.text
		a.log.Debug().AnErr("cause", f.cause).Str("reason", text).Int64("took_ms", took.Milliseconds()).Msg("database check failed")
	}
	renewed := version != "" && version != c.version
	if renewed {
		c.version = version
	}
	before := c.health.now
	changed := c.health.observe(text)
	switch {
	case !changed && !renewed:
		return c.health.pending(), nil
	case !changed:
	case c.health.now == sick:
		a.log.Info().Str("reason", text).Msg("database check fails")
	case before == sick:
		a.log.Info().Str("database", c.label).Msg("database check passes again")
	default:
		a.log.Info().Str("database", c.label).Msg("database check passes")
	}
	return c.health.pending(), a.announce()
}

// announce says which database is best and how it is. The caller holds mu, so
// that announcements keep the order of the results.
func (a *Agent) announce() error {
	healths := make([]*health, len(a.dbs))
	for i, c := range a.dbs {
		healths[i] = &c.health
	}
	i, ok := pick(healths, slices.Index(a.dbs, a.shown))
	if !ok {
		return nil
	}
	c := a.dbs[i]
	m := c.member()
	a.metrics.announced(m.State)
	if a.ms != nil {
		if c != a.shown {
			a.log.Info().Str("database", c.label).Str("before", a.shown.label).Msg("another database is announced")
		}
		a.shown, a.state, a.reason = c, m.State, m.Reason
		a.ms.Update(func(was *overlay.Member) { *was = m })
		return nil
	}
	ms, err := a.net.Join(m)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	a.ms, a.shown, a.state, a.reason = ms, c, m.State, m.Reason
	a.log.Info().Str("database", c.label).Str("state", string(m.State)).Str("reason", m.Reason).Msg("database announced")
	close(a.ready)
	return nil
}

// member is what is announced of c.
func (c *candidate) member() overlay.Member {
	m := overlay.Member{
		Role: subjects.Database, Addresses: slices.Clone(c.cfg.Addresses), Priority: c.cfg.Priority, Version: c.version,
		Attrs: subjects.Attrs{location.AttrURI: c.cfg.DSN.String(), location.AttrMode: string(c.cfg.Mode)},
		State: subjects.Up,
	}
	if c.health.now == sick {
		m.State, m.Reason = subjects.Down, subjects.Printable(c.health.reason, subjects.MaxReason)
	}
	return m
}

// Status is what is announced now: state is up or down, and empty while nothing
// is announced; reason says why it is not up.
func (a *Agent) Status() (state subjects.State, reason string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state, a.reason
}

func (a *Agent) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ms == nil {
		return
	}
	if err := a.ms.Leave(ctx); err != nil {
		a.log.Info().Err(err).Msg("left without a goodbye, the others find out by silence")
	}
}
