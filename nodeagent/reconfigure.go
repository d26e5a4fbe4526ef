package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"thor/overlay"
	"thor/subjects"
)

// An amendment is what becomes of a role that stays.
type amendment struct {
	r      *role
	cfg    RoleConfig
	checks []*check // in the order of cfg; those the role had already go on
	added  []*check
	gone   []*check
}

// Reconfigure makes roles what the agent announces, before Run or while it
// runs. A role that is there again unchanged does not notice. One that differs
// stays announced as it is until its new checks have decided. One that is gone
// leaves, within 2 s. On an error nothing has changed, but for a role that the
// SDK refuses, which the error names: one that is there stays announced as it is,
// and the same configuration given once more tries again.
func (a *Agent) Reconfigure(roles []RoleConfig) error {
	cfg := Config{Roles: roles}
	if err := cfg.check(a.net.Identity()); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	if a.ended {
		return errors.New("nodeagent: reconfigure: Run has ended")
	}
	next, fresh, amended, err := a.plan(roles)
	if err != nil {
		return err
	}
	a.mu.Lock()
	gone := slices.DeleteFunc(slices.Clone(a.roles), func(r *role) bool { return slices.Contains(next, r) })
	a.roles = next
	a.mu.Unlock()
	a.dismiss(gone)
	var errs []error
	for _, x := range amended {
		errs = append(errs, a.amend(x))
	}
	if a.run != nil {
		for _, r := range fresh {
			a.log.Info().Str("role", string(r.name)).Msg("role added by configuration")
			errs = append(errs, a.start(r))
		}
	}
	a.settle()
	return errors.Join(errs...)
}

// plan makes what roles need and does not touch what there is. The caller holds change.
func (a *Agent) plan(roles []RoleConfig) (next, fresh []*role, amended []amendment, err error) {
	for _, rc := range roles {
		i := slices.IndexFunc(a.roles, func(r *role) bool { return r.name == rc.Role })
		if i < 0 {
			r, err := a.newRole(rc)
			if err != nil {
				return nil, nil, nil, err
			}
			next, fresh = append(next, r), append(fresh, r)
			continue
		}
		r := a.roles[i]
		next = append(next, r)
		if r.cfg.equal(&rc) {
			continue
		}
		x := amendment{r: r, cfg: rc}
		kept := slices.Clone(r.checks)
		for j, cc := range rc.Checks {
			cc = cc.withDefaults()
			if k := slices.IndexFunc(kept, func(c *check) bool { return c.cfg.equal(&cc) }); k >= 0 {
				x.checks = append(x.checks, kept[k])
				kept = slices.Delete(kept, k, k+1)
				continue
			}
			c, err := newCheck(cc)
			if err != nil {
				return nil, nil, nil, fmt.Errorf("nodeagent: role %s: check %d: %w", rc.Role, j+1, err)
			}
			x.checks, x.added = append(x.checks, c), append(x.added, c)
		}
		x.gone = kept
		amended = append(amended, x)
	}
	return next, fresh, amended, nil
}

// amend changes a role that stays. The caller holds change.
func (a *Agent) amend(x amendment) error {
	r := x.r
	halt(x.gone)
	for _, c := range x.gone {
		if !slices.ContainsFunc(x.checks, func(o *check) bool { return o.prober.name() == c.prober.name() }) {
			a.metrics.forgetCheck(x.cfg.Role, c.prober.name())
		}
	}
	err := r.become(x.cfg, x.checks)
	if err == nil {
		r.log.Info().Int("checks_added", len(x.added)).Int("checks_gone", len(x.gone)).Msg("role changed by configuration")
	}
	if a.run != nil {
		for _, c := range x.added {
			a.watch(r, c)
		}
	}
	return err
}

// become makes r what cfg says. What its checks have found so far counts; as
// long as they know nothing it stays announced as it was.
func (r *role) become(cfg RoleConfig, checks []*check) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.configure(cfg, checks)
	if r.ms == nil {
		if r.agent.run == nil { // Run announces it
			return nil
		}
		return r.derive()
	}
	state, reason := derive(r.condition())
	if state == "" {
		state, reason = r.state, r.reason
	}
	err := r.ms.Amend(func(m *overlay.Member) {
		*m = r.member
		m.State, m.Reason = state, reason
	})
	if err != nil {
		r.cfg = RoleConfig{Role: r.name} // not what it was asked to become
		return fmt.Errorf("role %s: %w: %w", r.name, errRefused, err)
	}
	r.state, r.reason = state, reason
	r.agent.metrics.announced(r.name, state)
	return nil
}

// dismiss takes roles out: their checks end, and they leave, all at once.
func (a *Agent) dismiss(roles []*role) {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	var g sync.WaitGroup
	for _, r := range roles {
		g.Go(func() {
			halt(r.checks)
			r.leave(ctx)
			a.metrics.forget(r.name)
			r.log.Info().Msg("role removed by configuration")
		})
	}
	g.Wait()
}

// halt ends checks and waits for it.
func halt(checks []*check) {
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

func (rc *RoleConfig) equal(o *RoleConfig) bool {
	return rc.Role == o.Role && rc.Priority == o.Priority && rc.Weight == o.Weight && rc.Version == o.Version &&
		slices.Equal(rc.Addresses, o.Addresses) && maps.Equal(rc.Attrs, o.Attrs) &&
		slices.EqualFunc(rc.Checks, o.Checks, func(a, b CheckConfig) bool {
			a, b = a.withDefaults(), b.withDefaults()
			return a.equal(&b)
		})
}

func (c *CheckConfig) equal(o *CheckConfig) bool {
	sameRoots := c.Roots == nil && o.Roots == nil || c.Roots != nil && o.Roots != nil && c.Roots.Equal(o.Roots)
	return sameRoots && c.Kind == o.Kind && c.Target == o.Target && c.Transport == o.Transport && c.ServerName == o.ServerName &&
		c.Interval == o.Interval && c.Timeout == o.Timeout && c.Rise == o.Rise && c.Fall == o.Fall &&
		slices.Equal(c.Command, o.Command) && slices.Equal(c.Expect, o.Expect)
}

// clone shares nothing that the caller could change later.
func (rc RoleConfig) clone() RoleConfig {
	rc.Addresses, rc.Attrs, rc.Checks = slices.Clone(rc.Addresses), maps.Clone(rc.Attrs), slices.Clone(rc.Checks)
	return rc
}

// memberOf is what rc announces, its state aside.
func memberOf(rc *RoleConfig) overlay.Member {
	return overlay.Member{
		Role: rc.Role, Addresses: rc.Addresses, Priority: rc.Priority, Weight: rc.Weight, Version: rc.Version, Attrs: subjects.Attrs(rc.Attrs),
	}
}
