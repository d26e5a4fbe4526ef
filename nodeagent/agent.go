package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// leaveTime is how long the end of Run waits for the network to hear of it.
const leaveTime = 2 * time.Second

// network is what the agent needs of an overlay.Node.
type network interface {
	Identity() *identity.Identity
	Join(overlay.Member) (membership, error)
	Drain(subjects.Role) error
	Resume(subjects.Role) error
}

// membership is what it needs of an overlay.Membership.
type membership interface {
	Update(func(*overlay.Member))
	Amend(func(*overlay.Member)) error
	Drained() bool
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

// An Agent announces the roles of a machine. Its methods may be called from any
// goroutine.
//
// Locks are taken in this order: change, a role's mu, mu.
type Agent struct {
	net     network
	log     zerolog.Logger
	metrics *metrics
	ready   chan struct{}
	started atomic.Bool

	change sync.Mutex              // one Reconfigure, or the begin or end of Run, at a time
	run    context.Context         // Run's; nil while it does not run; guarded by change
	fail   context.CancelCauseFunc // ends Run; guarded by change
	ended  bool                    // Run has; guarded by change

	mu     sync.Mutex
	roles  []*role           // in the order of the configuration; changed under change and mu
	isSet  bool              // ready is closed
	faults map[string]string // of the agent itself, by what fails
}

// New checks cfg, also against the certificate. It does no I/O and starts
// nothing. The error tells all that is wrong, a line for each.
func New(cfg Config) (*Agent, error) {
	if cfg.Overlay == nil {
		return nil, errors.New("nodeagent: no overlay")
	}
	return newAgent(cfg, node{cfg.Overlay})
}

func newAgent(cfg Config, n network) (*Agent, error) {
	a := &Agent{net: n, ready: make(chan struct{})}
	a.log = cfg.Log.With().Str("comp", "nodeagent").Str("node", string(n.Identity().Node)).Logger()
	var err error
	if a.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("nodeagent: register metrics: %w", err)
	}
	if err := cfg.check(n.Identity()); err != nil {
		return nil, err
	}
	for _, rc := range cfg.Roles {
		r, err := a.newRole(rc)
		if err != nil {
			return nil, err
		}
		a.roles = append(a.roles, r)
	}
	return a, nil
}

// check is Validate as one error, a line for each problem.
func (cfg *Config) check(id *identity.Identity) error {
	var errs []error
	for _, p := range cfg.Validate(id) {
		errs = append(errs, cfg.text(p))
	}
	return errors.Join(errs...)
}

func (a *Agent) newRole(rc RoleConfig) (*role, error) {
	r := &role{agent: a, name: rc.Role, log: a.log.With().Str("role", string(rc.Role)).Logger()}
	checks := make([]*check, 0, len(rc.Checks))
	for i, cc := range rc.Checks {
		c, err := newCheck(cc.withDefaults())
		if err != nil {
			return nil, fmt.Errorf("nodeagent: role %s: check %d: %w", rc.Role, i+1, err)
		}
		checks = append(checks, c)
	}
	r.configure(rc, checks)
	return r, nil
}

// Ready is closed once every role has been announced for the first time, as up
// or as down.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run probes and announces until ctx ends. Then it leaves under every role,
// within 2 s, and returns nil. An error is a role that the SDK refuses, as when a
// renewed certificate lacks it. Run may be called once.
func (a *Agent) Run(ctx context.Context) error {
	if !a.started.CompareAndSwap(false, true) {
		return errors.New("nodeagent: Run was called before")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.change.Lock()
	a.run, a.fail = ctx, cancel
	for _, r := range a.roles {
		if err := a.start(r); err != nil {
			cancel(err)
		}
	}
	a.change.Unlock()
	<-ctx.Done()
	a.change.Lock()
	defer a.change.Unlock()
	a.run, a.ended = nil, true
	for _, r := range a.roles {
		halt(r.checks)
	}
	a.leave(context.WithoutCancel(ctx))
	if err := context.Cause(ctx); errors.Is(err, errRefused) {
		return fmt.Errorf("nodeagent: %w", err)
	}
	return nil
}

// start announces r, if it has no checks, or begins to check it. The caller
// holds change, and Run runs.
func (a *Agent) start(r *role) error {
	if err := r.announce(); err != nil {
		return err
	}
	for _, c := range r.checks {
		a.watch(r, c)
	}
	return nil
}

// watch makes the check c of r until it is halted, or Run ends.
func (a *Agent) watch(r *role, c *check) {
	ctx, cancel := context.WithCancel(a.run)
	fail, ended := a.fail, make(chan struct{})
	c.stop, c.ended = cancel, ended
	go func() {
		defer close(ended)
		defer cancel()
		if err := r.watch(ctx, c); err != nil {
			fail(err)
		}
	}()
}

// leave says goodbye under all roles at once.
func (a *Agent) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, leaveTime)
	defer cancel()
	var g sync.WaitGroup
	for _, r := range a.roles {
		g.Go(func() { r.leave(ctx) })
	}
	g.Wait()
}

// Drain drains every role of this agent as an operator would: they announce
// draining until Resume, restarts included. An error means that the drain is in
// force, but that a restart will forget it.
func (a *Agent) Drain() error { return a.net.Drain(subjects.Agent) }

// Resume ends what Drain began.
func (a *Agent) Resume() error { return a.net.Resume(subjects.Agent) }

// Fault is a failed check of every role, under the name of what fails, until it
// is called again with no text: the agent lacks something of its own, such as the
// port on which programs of the machine ask it. The text becomes the reason in the
// network status; the same fault must have the same one.
func (a *Agent) Fault(name, text string) {
	a.mu.Lock()
	if a.faults[name] == text {
		a.mu.Unlock()
		return
	}
	if a.faults == nil {
		a.faults = make(map[string]string)
	}
	if a.faults[name] = text; text == "" {
		delete(a.faults, name)
	}
	roles := a.roles // replaced as a whole, never written to
	a.mu.Unlock()
	a.log.Info().Str("check", name).Str("reason", text).Msg("check of the agent itself")
	for _, r := range roles {
		r.reconsider()
	}
}

// fault is the first by name, "" if there is none.
func (a *Agent) fault() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.faults) == 0 {
		return ""
	}
	return a.faults[slices.Min(slices.Collect(maps.Keys(a.faults)))]
}

// A RoleStatus is how one role of this machine is.
type RoleStatus struct {
	Role subjects.Role
	// State is up, down or draining; empty while the service has not been probed.
	State subjects.State
	// Reason says why it is not up, in one line.
	Reason string
}

// Status is how the roles are now, in the order of the configuration.
func (a *Agent) Status() []RoleStatus {
	a.mu.Lock()
	roles := a.roles // replaced as a whole, never written to
	a.mu.Unlock()
	out := make([]RoleStatus, 0, len(roles))
	for _, r := range roles {
		out = append(out, r.status())
	}
	return out
}

// settle closes ready once every role has been announced.
func (a *Agent) settle() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.isSet || slices.ContainsFunc(a.roles, func(r *role) bool { return !r.announced.Load() }) {
		return
	}
	a.isSet = true
	close(a.ready)
}
