package nodeagent

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"thor/overlay/check"
	"thor/overlay/setting"
)

// An amendment is what becomes of a role that stays.
type amendment struct {
	r      *role
	cfg    RoleConfig
	checks []*check.Check // in the order of cfg; those the role had already go on
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
	return a.engine.Change(func(running bool) error {
		next, amended, err := a.plan(roles)
		if err != nil {
			return err
		}
		was := a.roles
		a.mu.Lock()
		a.roles = next
		a.mu.Unlock()
		groups := make([]*check.Group, len(next))
		for i, r := range next {
			groups[i] = r.group
			if running && !slices.Contains(was, r) {
				r.log.Info().Msg("role added by configuration")
			}
		}
		errs := []error{a.engine.Use(groups)}
		for _, r := range was {
			if !slices.Contains(next, r) {
				r.log.Info().Msg("role removed by configuration")
			}
		}
		for _, x := range amended {
			errs = append(errs, x.apply())
		}
		a.expel()
		return errors.Join(errs...)
	})
}

// plan makes what roles need and does not touch what there is. It is called in Change.
func (a *Agent) plan(roles []RoleConfig) (next []*role, amended []amendment, err error) {
	for _, rc := range roles {
		rc = rc.withDefaults()
		i := slices.IndexFunc(a.roles, func(r *role) bool { return r.name == rc.Role })
		if i >= 0 && !a.roles[i].refused && a.roles[i].cfg.equal(&rc) {
			next = append(next, a.roles[i])
			continue
		}
		var r *role
		if i >= 0 {
			r = a.roles[i]
		}
		checks, err := a.checks(&rc, r)
		if err != nil {
			return nil, nil, err
		}
		if r == nil {
			r = a.newRole(rc, checks)
		} else {
			amended = append(amended, amendment{r, rc, checks})
		}
		next = append(next, r)
	}
	return next, amended, nil
}

// checks are those that rc wants, of which those that r has already are its own.
func (a *Agent) checks(rc *RoleConfig, r *role) (checks []*check.Check, err error) {
	var have []*check.Check
	var cfgs []CheckConfig
	if r != nil {
		have, cfgs = slices.Clone(r.group.Checks()), r.cfg.probed()
	}
	for i, cc := range rc.probed() {
		if k := slices.IndexFunc(cfgs, func(o CheckConfig) bool { return o.equal(&cc) }); k >= 0 {
			checks = append(checks, have[k])
			have, cfgs = slices.Delete(have, k, k+1), slices.Delete(cfgs, k, k+1) // the same may be there twice
			continue
		}
		p, err := a.newProber(&cc)
		if err != nil {
			return nil, fmt.Errorf("nodeagent: role %s: check %d: %w", rc.Role, i+1, err)
		}
		c := check.New(p.Name(), cc.Timing, cc.Counts, p, string(rc.Role), p.Name())
		if cc.ReportOnly {
			c.ReportOnly()
		}
		checks = append(checks, c)
	}
	return checks, nil
}

// apply changes a role that stays. It is called in Change.
func (x *amendment) apply() error {
	r, before := x.r, x.r.group.Checks()
	added, gone := 0, len(before)
	for _, c := range x.checks {
		if slices.Contains(before, c) {
			gone--
		} else {
			added++
		}
	}
	err := r.group.Replace(x.checks, func() (undo func()) {
		member := r.member
		r.configure(x.cfg)
		return func() { r.member = member }
	})
	if r.refused = err != nil; r.refused {
		return fmt.Errorf("role %s: %w", r.name, err)
	}
	r.log.Info().Int("checks_added", added).Int("checks_gone", gone).Msg("role changed by configuration")
	return nil
}

func (rc *RoleConfig) equal(o *RoleConfig) bool {
	return rc.Role == o.Role && rc.Priority == o.Priority && rc.Weight == o.Weight && rc.Rule == o.Rule && rc.Version == o.Version && rc.DrainSignal == o.DrainSignal &&
		slices.Equal(rc.Addresses, o.Addresses) && maps.Equal(rc.Attrs, o.Attrs) &&
		slices.EqualFunc(rc.Checks, o.Checks, func(a, b CheckConfig) bool { return a.equal(&b) })
}

func (c *CheckConfig) equal(o *CheckConfig) bool {
	sameRoots := c.Roots == nil && o.Roots == nil || c.Roots != nil && o.Roots != nil && c.Roots.Equal(o.Roots)
	return sameRoots && c.Kind == o.Kind && c.Target == o.Target && c.Transport == o.Transport && c.ServerName == o.ServerName &&
		c.Timing == o.Timing && c.Counts == o.Counts && slices.Equal(c.Command, o.Command) && slices.Equal(c.Expect, o.Expect) &&
		c.ExpectMin == o.ExpectMin && c.ExpectMax == o.ExpectMax && c.Account == o.Account && c.AuthUser == o.AuthUser && c.PasswordFile == o.PasswordFile && c.Callee == o.Callee &&
		c.Full == o.Full && c.Weigh == o.Weigh && c.ReportOnly == o.ReportOnly && slices.Equal(c.Modules, o.Modules)
}

// withDefaults is rc with its checks' zero values replaced; it shares nothing that the
// caller could change later.
func (rc RoleConfig) withDefaults() RoleConfig {
	rc.Addresses = slices.Clone(rc.Addresses)
	rc.Attrs = maps.Clone(rc.Attrs)
	rc.Checks = slices.Clone(rc.Checks)
	setting.Fill(&rc.Rule)
	for i, cc := range rc.Checks {
		rc.Checks[i] = cc.withDefaults()
	}
	return rc
}
