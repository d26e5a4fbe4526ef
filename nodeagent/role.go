package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

// errRefused is wrapped by what ends Run: the SDK does not take a role.
var errRefused = errors.New("announcement refused")

// A check is one probe that is made again and again.
type check struct {
	cfg    CheckConfig // with its defaults
	prober prober
	health health // guarded by the role's mu

	stop  context.CancelFunc // ends it; nil before it began; guarded by the agent's change
	ended chan struct{}      // closed when it has
}

func newCheck(cc CheckConfig) (*check, error) {
	p, err := cc.prober()
	if err != nil {
		return nil, err
	}
	return &check{cfg: cc, prober: p, health: health{rise: cc.Rise, fall: cc.Fall}}, nil
}

// A role is announced as its checks say.
type role struct {
	agent     *Agent
	name      subjects.Role
	log       zerolog.Logger
	announced atomic.Bool // once, as up or as down

	// Guarded by the agent's change and mu: whoever holds one may read.
	cfg     RoleConfig
	checks  []*check
	healths []*health      // of checks, in the same order
	member  overlay.Member // as configured; State and Reason are derived

	mu     sync.Mutex
	ms     membership // nil before the first announcement
	state  subjects.State
	reason string
}

// configure sets what r is. The caller holds mu, or is alone.
func (r *role) configure(rc RoleConfig, checks []*check) {
	r.cfg, r.checks, r.healths = rc.clone(), checks, nil
	for _, c := range checks {
		r.healths = append(r.healths, &c.health)
	}
	r.member = memberOf(&r.cfg)
}

// watch probes c until ctx ends. While the newest result speaks against what is
// announced the next probe follows after half the interval, so that the decision
// falls within Fall × Interval + Timeout.
func (r *role) watch(ctx context.Context, c *check) error {
	defer c.prober.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		began := time.Now()
		f := c.ask(ctx)
		took := time.Since(began)
		if ctx.Err() != nil {
			return nil // a probe cut short says nothing
		}
		r.agent.metrics.probed(r.name, c.prober.name(), f, took)
		pending, err := r.observe(c, f, took)
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

// ask probes once, within the timeout. nil means alive.
func (c *check) ask(ctx context.Context) *fault {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	err := c.prober.probe(ctx)
	if err == nil {
		return nil
	}
	f := explain(err)
	return &fault{text: c.prober.name() + ": " + f.text, cause: err}
}

// observe takes the result of a probe of c and announces what follows from it.
// pending tells that the result speaks against what is announced.
func (r *role) observe(c *check, f *fault, took time.Duration) (pending bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := ""
	if f != nil {
		text = f.text
		r.log.Debug().Err(f.cause).Str("reason", text).Int64("took_ms", took.Milliseconds()).Msg("probe failed")
	}
	before := c.health.now
	if !c.health.observe(text) {
		return c.health.pending(), nil
	}
	switch now := c.health.now; {
	case now == sick:
		r.log.Info().Str("reason", text).Msg("check fails")
	case before == sick:
		r.log.Info().Str("check", c.prober.name()).Msg("check passes again")
	default:
		r.log.Info().Str("check", c.prober.name()).Msg("check passes")
	}
	return false, r.derive()
}

// announce announces a role without checks.
func (r *role) announce() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.derive()
}

// condition is that of the checks, and of the agent itself: without what it
// needs of the machine a role is not up, whatever its service answers. The
// caller holds mu.
func (r *role) condition() (condition, string) {
	cond, why := all(r.healths)
	if f := r.agent.fault(); f != "" && cond == healthy {
		return sick, f
	}
	return cond, why
}

// derive announces the state that follows from the checks. The caller holds mu,
// so that announcements keep the order of the results.
func (r *role) derive() error {
	state, reason := derive(r.condition())
	if state == "" || state == r.state && reason == r.reason {
		return nil
	}
	r.state, r.reason = state, reason
	r.agent.metrics.announced(r.name, state)
	if r.ms != nil {
		r.ms.Update(func(m *overlay.Member) { m.State, m.Reason = state, reason })
		return nil
	}
	m := r.member
	m.State, m.Reason = state, reason
	ms, err := r.agent.net.Join(m)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	r.ms = ms
	r.log.Info().Str("state", string(state)).Str("reason", reason).Msg("role announced")
	r.announced.Store(true)
	r.agent.settle()
	return nil
}

// reconsider announces what changed apart from the checks. One that was not
// announced yet will be by what is known then.
func (r *role) reconsider() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ms != nil {
		_ = r.derive() // only the first announcement can be refused
	}
}

// status is how the role is announced, the operator's drain included.
func (r *role) status() RoleStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.ms == nil:
		return RoleStatus{Role: r.name}
	case r.ms.Drained():
		return RoleStatus{Role: r.name, State: subjects.Draining, Reason: drainReason}
	}
	return RoleStatus{Role: r.name, State: r.state, Reason: r.reason}
}

func (r *role) leave(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ms == nil {
		return
	}
	if err := r.ms.Leave(ctx); err != nil {
		r.log.Info().Err(err).Msg("left without a goodbye, the others find out by silence")
	}
	r.ms = nil
}
