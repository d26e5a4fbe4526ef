package dbagent

import (
	"context"
	"crypto/x509"
	"errors"
	"slices"

	"thor/subjects"
)

// Reconfigure makes dbs the candidates and cleared the roles that get the
// password, before Run or while it runs. What is known of a database that stays
// stays known. What is announced changes only once the new candidates have been
// checked. On an error nothing has changed.
func (a *Agent) Reconfigure(dbs []Database, cleared []subjects.Role) error {
	cfg := Config{Databases: dbs, Cleared: cleared}
	if err := cfg.check(a.net.Identity()); err != nil {
		return err
	}
	a.change.Lock()
	defer a.change.Unlock()
	if a.ended {
		return errors.New("dbagent: reconfigure: Run has ended")
	}
	var next, added []*candidate
	heirs := make(map[*candidate]*candidate) // of those that stay with other settings
	for _, d := range cfg.ranked() {
		if i := slices.IndexFunc(a.dbs, func(c *candidate) bool { return c.cfg.equal(&d) }); i >= 0 {
			next = append(next, a.dbs[i])
			continue
		}
		c := a.newCandidate(d)
		if i := slices.IndexFunc(a.dbs, func(c *candidate) bool { return c.cfg.sameQuestion(&d) }); i >= 0 {
			heirs[a.dbs[i]] = c
		}
		next, added = append(next, c), append(added, c)
	}
	gone := slices.DeleteFunc(slices.Clone(a.dbs), func(c *candidate) bool { return slices.Contains(next, c) })
	halt(gone)
	err := a.replace(next, heirs, cleared)
	for _, c := range gone {
		if !slices.ContainsFunc(next, func(o *candidate) bool { return o.label == c.label }) {
			a.metrics.forget(c.label)
		}
	}
	if a.run != nil {
		for _, c := range added {
			a.begin(c)
		}
	}
	a.log.Info().Int("databases", len(next)).Int("added", len(added)).Int("gone", len(gone)).Msg("databases changed by configuration")
	return err
}

// replace swaps the candidates in and announces what follows. The caller holds change.
func (a *Agent) replace(next []*candidate, heirs map[*candidate]*candidate, cleared []subjects.Role) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for was, is := range heirs {
		is.health, is.version = was.health, was.version
		if a.shown == was {
			a.shown = is
		}
	}
	a.dbs, a.cleared = next, slices.Clone(cleared)
	if a.run == nil {
		return nil
	}
	return a.announce()
}

// begin checks c until it is halted, or Run ends. The caller holds change.
func (a *Agent) begin(c *candidate) {
	ctx, cancel := context.WithCancel(a.run)
	fail, ended := a.fail, make(chan struct{})
	c.stop, c.ended = cancel, ended
	go func() {
		defer close(ended)
		defer cancel()
		if err := a.watch(ctx, c); err != nil {
			fail(err)
		}
	}()
}

// halt ends the checks of candidates and waits for it.
func halt(cs []*candidate) {
	for _, c := range cs {
		if c.stop != nil {
			c.stop()
		}
	}
	for _, c := range cs {
		if c.ended != nil {
			<-c.ended
		}
	}
}

// equal compares settings that have their defaults.
func (d *Database) equal(o *Database) bool {
	return d.sameQuestion(o) && d.Priority == o.Priority && d.Interval == o.Interval && d.Timeout == o.Timeout &&
		slices.Equal(d.Addresses, o.Addresses)
}

// sameQuestion reports whether what is known of d is known of o too.
func (d *Database) sameQuestion(o *Database) bool {
	return d.DSN.Reveal() == o.DSN.Reveal() && d.PasswordFile == o.PasswordFile && d.PasswordEnv == o.PasswordEnv &&
		d.Mode == o.Mode && d.Probe == o.Probe && sameRoots(d.Roots, o.Roots)
}

func sameRoots(a, b *x509.CertPool) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Equal(b)
}
