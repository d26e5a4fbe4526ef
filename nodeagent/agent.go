package nodeagent

import (
	"context"
	"errors"
	"fmt"
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
type Agent struct {
	net     network
	log     zerolog.Logger
	metrics *metrics
	roles   []*role
	ready   chan struct{}
	waiting atomic.Int32 // roles not announced yet
	started atomic.Bool
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
	var errs []error
	for _, p := range cfg.Validate(n.Identity()) {
		errs = append(errs, cfg.text(p))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, rc := range cfg.Roles {
		r, err := a.newRole(rc)
		if err != nil {
			return nil, err
		}
		a.roles = append(a.roles, r)
	}
	a.waiting.Store(int32(len(a.roles)))
	return a, nil
}

func (a *Agent) newRole(rc RoleConfig) (*role, error) {
	r := &role{
		agent: a, log: a.log.With().Str("role", string(rc.Role)).Logger(),
		member: overlay.Member{
			Role: rc.Role, Addresses: slices.Clone(rc.Addresses), Priority: rc.Priority, Weight: rc.Weight,
			Version: rc.Version, Attrs: rc.Attrs,
		},
	}
	for i, cc := range rc.Checks {
		cc = cc.withDefaults()
		p, err := cc.prober()
		if err != nil {
			return nil, fmt.Errorf("nodeagent: role %s: check %d: %w", rc.Role, i+1, err)
		}
		c := &check{cfg: cc, prober: p, health: health{rise: cc.Rise, fall: cc.Fall}}
		r.checks = append(r.checks, c)
		r.healths = append(r.healths, &c.health)
	}
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
	var g sync.WaitGroup
	for _, r := range a.roles {
		if err := r.announce(); err != nil { // those without checks
			cancel(err)
		}
		for _, c := range r.checks {
			g.Go(func() {
				if err := r.watch(ctx, c); err != nil {
					cancel(err)
				}
			})
		}
	}
	<-ctx.Done()
	g.Wait()
	a.leave(context.WithoutCancel(ctx))
	if err := context.Cause(ctx); errors.Is(err, errRefused) {
		return fmt.Errorf("nodeagent: %w", err)
	}
	return nil
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
	out := make([]RoleStatus, 0, len(a.roles))
	for _, r := range a.roles {
		out = append(out, r.status())
	}
	return out
}

// announced counts a role that is announced for the first time.
func (a *Agent) announced() {
	if a.waiting.Add(-1) == 0 {
		close(a.ready)
	}
}
