package dbagent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/check"
	"thor/subjects"
)

// network is what the agent needs of an overlay.Node: check.Node is one, and tests of
// time have another.
type network interface {
	check.Network
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// A candidate is one database of the configuration.
type candidate struct {
	cfg    Database // with its defaults
	prober prober
	label  string // host:port/name, for logs and metrics
	check  *check.Check
	server atomic.Pointer[server] // when last seen
}

// Probe implements check.Prober.
func (c *candidate) Probe(ctx context.Context) error {
	s, err := c.prober.probe(ctx)
	if s.version != "" {
		if before := c.server.Load(); before != nil && s.cluster == "" && err != nil {
			s.cluster = before.cluster // it starts, perhaps
		}
		c.server.Store(&s)
	}
	if err != nil {
		return explain(err)
	}
	return nil
}

// Close implements check.Prober.
func (c *candidate) Close() {}

// An Agent announces a database. Its methods may be called from any goroutine.
//
// Locks are taken in this order: those of the engine, mu.
type Agent struct {
	net       network
	log       zerolog.Logger
	requests  *prometheus.CounterVec
	audit     *audit.Log
	refused   *audit.Tally // requests that any member can send
	newProber func(Database) prober
	engine    *check.Engine
	group     *check.Group

	dbs    []*candidate // the most preferred first; guarded by the engine's Change and the group
	chosen *candidate   // by Decide; guarded by the group

	mu      sync.Mutex
	cleared []subjects.Role
	shown   *candidate // that is announced; nil for none
}

// New checks cfg, also against the certificate. It does no I/O and starts
// nothing. The error tells all that is wrong, a line for each, and no password.
func New(cfg Config) (*Agent, error) {
	if cfg.Overlay == nil {
		return nil, errors.New("dbagent: no overlay")
	}
	return newAgent(cfg, check.Node{Node: cfg.Overlay}, func(d Database) prober { return &mysqlProbe{db: d} })
}

func newAgent(cfg Config, n network, newProber func(Database) prober) (*Agent, error) {
	if err := cfg.check(n.Identity()); err != nil {
		return nil, err
	}
	a := &Agent{
		net: n, newProber: newProber, cleared: slices.Clone(cfg.Cleared), audit: cfg.Audit, refused: audit.NewTally(cfg.Audit, 0),
		log: cfg.Log.With().Str("comp", "dbagent").Str("node", string(n.Identity().Node)).Str("role", string(subjects.Database)).Logger(),
	}
	if err := a.setMetrics(cfg.Metrics); err != nil {
		return nil, err
	}
	for _, d := range cfg.byPreference() {
		a.dbs = append(a.dbs, a.newCandidate(d))
	}
	a.group = a.engine.NewGroup(a, checksOf(a.dbs), a.log)
	return a, a.engine.Change(func(bool) error { return a.engine.Use([]*check.Group{a.group}) })
}

// setMetrics makes the engine, and the counter of requests. Labels name databases as
// host:port/name.
func (a *Agent) setMetrics(reg prometheus.Registerer) (err error) {
	a.requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "thor_dbagent_credentials_requests_total", Help: "Requests for the password, by result.",
	}, []string{"result"})
	a.engine, err = check.NewEngine(check.Config{Agent: "dbagent", Network: a.net, Metrics: reg, Names: check.Names{
		Check:       "database check",
		Probes:      prometheus.CounterOpts{Name: "thor_dbagent_probes_total", Help: "Checks of databases, by result."},
		Took:        prometheus.GaugeOpts{Name: "thor_dbagent_probe_seconds", Help: "How long the newest check took."},
		Up:          prometheus.GaugeOpts{Name: "thor_dbagent_up", Help: "1 while the announced database passes its checks."},
		CheckLabels: []string{"database"},
	}})
	if err != nil || reg == nil {
		return err
	}
	if err := reg.Register(a.requests); err != nil {
		return fmt.Errorf("dbagent: register metrics: %w", err)
	}
	return nil
}

func (a *Agent) newCandidate(d Database) *candidate {
	c := &candidate{cfg: d, prober: a.newProber(d), label: d.label()}
	c.check = check.New("mysql "+c.label, d.Timing, check.Counts{}, c, c.label)
	return c
}

func checksOf(cs []*candidate) []*check.Check {
	out := make([]*check.Check, len(cs))
	for i, c := range cs {
		out[i] = c.check
	}
	return out
}

// Reports is how the checks of the databases stand.
func (a *Agent) Reports() []subjects.CheckReport { return a.group.Reports(subjects.Database) }

// Ready is closed once a database has been announced for the first time, as up
// or as down.
func (a *Agent) Ready() <-chan struct{} { return a.engine.Ready() }

// Run checks, announces and answers until ctx ends. Then it leaves, within 2 s,
// and returns nil. An error is an announcement that the SDK refuses, as when a
// renewed certificate lacks the role. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	a.net.Handle(string(subjects.Database), subjects.VerbCredentials, a.credentials)
	defer a.refused.Flush()
	return a.engine.Run(ctx)
}

// Decide implements check.Announcer: the best database, and how it is.
func (a *Agent) Decide([]*check.Check, overlay.Member) (overlay.Member, bool) {
	a.mu.Lock()
	now := slices.Index(a.dbs, a.shown)
	a.mu.Unlock()
	conditions := make([]check.Condition, len(a.dbs))
	for i, c := range a.dbs {
		conditions[i], _ = c.check.Condition()
	}
	i, ok := pick(conditions, now)
	if !ok {
		return overlay.Member{}, false
	}
	a.chosen = a.dbs[i]
	return a.chosen.member(), true
}

// pick says which of several databases to announce, the most preferred standing
// first: the best that passes; with none, what is announced already (now, -1
// for nothing yet) or the first. ok is false while a better one than all that
// are known may still turn out to pass.
func pick(cs []check.Condition, now int) (best int, ok bool) {
	for i, c := range cs {
		switch c {
		case check.Unknown:
			return 0, false
		case check.Passing:
			return i, true
		}
	}
	return max(now, 0), true
}

// Announced implements check.Announcer.
func (a *Agent) Announced(m, before overlay.Member) {
	c := a.chosen
	a.mu.Lock()
	was := a.shown
	a.shown = c
	a.mu.Unlock()
	switch {
	case before.State == "":
		a.log.Info().Str("database", c.label).Str("state", string(m.State)).Str("reason", m.Reason).Msg("database announced")
	case c != was:
		a.log.Info().Str("database", c.label).Str("before", was.label).Msg("another database is announced")
	}
}

// member is what is announced of c.
func (c *candidate) member() overlay.Member {
	now, why := c.check.Condition()
	m := overlay.Member{
		Role: subjects.Database, Addresses: slices.Clone(c.cfg.Addresses), Priority: c.cfg.Priority,
		Attrs: subjects.Attrs{location.AttrURI: c.cfg.DSN.String(), location.AttrMode: string(c.cfg.Mode)},
		State: now.State(), Reason: subjects.Printable(why, subjects.MaxReason),
	}
	if s := c.server.Load(); s != nil {
		m.Version = s.version
		if s.cluster != "" {
			m.Attrs[location.AttrCluster] = s.cluster
		}
	}
	return m
}
