package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

// An Announcer says what a group announces. Both methods are called under the group's
// lock, in the order of the results, and call no method of the group.
type Announcer interface {
	// Decide is the member to announce as checks are now. now is what is announced,
	// with an empty State before the first announcement. ok is false where nothing is
	// to be said yet: what is announced stays. A member with the State subjects.Leave
	// leaves the network, until another one is decided.
	Decide(checks []*Check, now overlay.Member) (m overlay.Member, ok bool)
	// Announced is called with each announcement, before is the one that it replaces.
	Announced(m, before overlay.Member)
}

// A Group is checks that decide together how one member is announced.
type Group struct {
	engine    *Engine
	announcer Announcer
	log       zerolog.Logger
	labels    []string
	announced atomic.Bool // once, as up or as down

	checks []*Check // guarded by the engine's change and mu: one of them is enough to read

	mu  sync.Mutex
	ms  Membership     // nil before the first announcement
	now overlay.Member // the newest that was given to ms
	out bool           // it left since its announcer said so
}

// NewGroup makes a group for Use. labels are its values of Names.GroupLabels.
func (e *Engine) NewGroup(a Announcer, checks []*Check, log zerolog.Logger, labels ...string) *Group {
	return &Group{engine: e, announcer: a, checks: checks, log: log, labels: labels}
}

// Reported are the reasons of the checks of g that fail and only report.
func (g *Group) Reported() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Reported(g.checks)
}

// Reports is how the checks of g stand now, as those of role.
func (g *Group) Reports(role subjects.Role) []subjects.CheckReport {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	out := make([]subjects.CheckReport, len(g.checks))
	for i, c := range g.checks {
		out[i] = c.report(role, now)
	}
	return out
}

// Checks are those of the group. It is for the function that Change is given.
func (g *Group) Checks() []*Check { return g.checks }

// Status is how the member is announced, the operator's drain included; an empty State
// before the first announcement.
func (g *Group) Status() (subjects.State, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ms != nil {
		if why := g.ms.DrainReason(); why != "" {
			return subjects.Draining, why
		}
	}
	return g.now.State, g.now.Reason
}

// Reconsider announces what follows from something other than a check. A group that
// was not announced yet will be by what is known then. An error is the first announcement,
// or the first after it left, that the SDK refuses.
func (g *Group) Reconsider() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ms == nil && !g.out {
		return nil
	}
	return g.announce()
}

// Locked calls f while no announcement is decided.
func (g *Group) Locked(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f()
}

// announce announces what follows from the checks, if it differs. The caller holds mu.
func (g *Group) announce() error {
	before := g.now
	m, ok := g.announcer.Decide(g.checks, before)
	switch {
	case !ok || g.ms != nil && m.Equal(&before):
		return nil
	case m.State == subjects.Leave:
		g.withdraw()
		return nil
	case g.ms == nil:
		ms, err := g.engine.net.Join(m)
		if err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		g.ms = ms
	default:
		g.ms.Update(func(x *overlay.Member) { *x = m })
	}
	g.said(m)
	return nil
}

// withdraw leaves the network, and waits at most leaveTime for the broker to hear of it.
// The caller holds mu.
func (g *Group) withdraw() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	g.part(ctx)
	g.out = true
	g.engine.metrics.announced(g, subjects.Leave)
	if !g.announced.Swap(true) {
		g.engine.settle()
	}
}

// said notes that m is announced. The caller holds mu.
func (g *Group) said(m overlay.Member) {
	before := g.now
	g.now, g.out = m, false
	g.engine.metrics.announced(g, m.State)
	g.announcer.Announced(m, before)
	if !g.announced.Swap(true) {
		g.engine.settle()
	}
}

// amend announces what follows from a change of the configuration. The caller holds mu.
func (g *Group) amend() error {
	if g.ms == nil {
		return g.announce()
	}
	m, ok := g.announcer.Decide(g.checks, g.now)
	if !ok {
		return nil
	}
	if m.State == subjects.Leave {
		g.withdraw()
		return nil
	}
	if err := g.ms.Amend(func(x *overlay.Member) { *x = m }); err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	g.said(m)
	return nil
}

// observe takes the result of a probe of c and announces what follows.
func (g *Group) observe(c *Check, f *Fault, took time.Duration) (pending bool, err error) {
	g.engine.metrics.probed(c, f, took)
	g.mu.Lock()
	defer g.mu.Unlock()
	c.observe(f, took, &g.log, g.engine.metrics.names)
	g.engine.metrics.judged(c)
	return c.health.pending(), g.announce()
}

// start announces a group without checks and begins those of the others. The caller
// holds change, and Run runs.
func (g *Group) start() error {
	g.mu.Lock()
	err := g.announce()
	g.mu.Unlock()
	if err != nil {
		return err
	}
	g.begin(g.checks)
	return nil
}

// begin makes checks until they are halted, or Run ends. The caller holds change, and
// Run runs.
func (g *Group) begin(checks []*Check) {
	fail := g.engine.fail
	for _, c := range checks {
		ctx, cancel := context.WithCancel(g.engine.run)
		ended := make(chan struct{})
		c.stop, c.ended = cancel, ended
		go func() {
			defer close(ended)
			defer cancel()
			err := c.watch(ctx, func(f *Fault, took time.Duration) (bool, error) { return g.observe(c, f, took) })
			if err != nil {
				fail(err)
			}
		}()
	}
}

// Replace makes next the checks of g; those that g has already go on, the others end.
// apply changes what the Announcer decides by, under the group's lock, and undo takes
// it back if the SDK refuses the announcement that follows: then the error says so, and
// what was announced stays. It is for the function that Change is given.
func (g *Group) Replace(next []*Check, apply func() (undo func())) error {
	gone := without(g.checks, next)
	added := without(next, g.checks)
	halt(gone)
	for _, c := range gone {
		if !slices.ContainsFunc(next, func(o *Check) bool { return slices.Equal(o.labels, c.labels) }) {
			g.engine.metrics.forgetCheck(c)
		}
	}
	err := g.become(next, apply)
	if g.engine.run != nil {
		g.begin(added)
	}
	return err
}

func (g *Group) become(next []*Check, apply func() (undo func())) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	undo := apply()
	g.checks = next
	if g.engine.run == nil { // Run announces it
		return nil
	}
	err := g.amend()
	if err != nil {
		undo()
	}
	return err
}

func (g *Group) leave(ctx context.Context) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.part(ctx)
	g.out = false // nothing brings it back
}

// part leaves if the member is announced. The caller holds mu.
func (g *Group) part(ctx context.Context) {
	if g.ms == nil {
		return
	}
	if err := g.ms.Leave(ctx); err != nil {
		g.log.Info().Err(err).Msg("leave not sent; peers will time out")
	}
	g.ms, g.now = nil, overlay.Member{}
}

// halt ends checks and waits for it.
func halt(checks []*Check) {
	for _, c := range checks {
		if c.stop != nil {
			c.stop()
		}
	}
	for _, c := range checks {
		if c.ended != nil {
			<-c.ended
		}
	}
}

// without is what of all is not in some.
func without[T comparable](all, some []T) []T {
	return slices.DeleteFunc(slices.Clone(all), func(x T) bool { return slices.Contains(some, x) })
}

// errRefused is wrapped by what ends Run: the SDK does not take a member.
var errRefused = errors.New("announcement refused")
