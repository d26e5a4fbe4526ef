package dbagent

import (
	"crypto/x509"
	"slices"

	"thor/subjects"
)

// Reconfigure makes dbs the candidates and cleared the roles that get the
// password, before Run or while it runs. What is known of a database that stays
// stays known. What is announced changes only once the new candidates have been
// checked. On an error nothing has changed, but for an announcement that the SDK
// refuses, which the error says: what was announced stays then.
func (a *Agent) Reconfigure(dbs []Database, cleared []subjects.Role) error {
	cfg := Config{Databases: dbs, Cleared: cleared}
	if err := cfg.check(a.net.Identity()); err != nil {
		return err
	}
	return a.engine.Change(func(bool) error {
		var next []*candidate
		successors := make(map[*candidate]*candidate) // of those that stay with other settings
		added := 0
		for _, d := range cfg.byPreference() {
			if i := slices.IndexFunc(a.dbs, func(c *candidate) bool { return c.cfg.equal(&d) }); i >= 0 {
				next = append(next, a.dbs[i])
				continue
			}
			c := a.newCandidate(d)
			if i := slices.IndexFunc(a.dbs, func(c *candidate) bool { return c.cfg.sameQuestion(&d) }); i >= 0 {
				successors[a.dbs[i]] = c
			}
			next = append(next, c)
			added++
		}
		gone := len(a.dbs) - (len(next) - added)
		err := a.group.Replace(checksOf(next), func() (undo func()) {
			a.replace(next, successors, cleared)
			return func() {}
		})
		a.log.Info().Int("databases", len(next)).Int("added", added).Int("gone", gone).Msg("databases changed by configuration")
		return err
	})
}

// replace swaps the candidates in. The caller holds the group's lock.
func (a *Agent) replace(next []*candidate, successors map[*candidate]*candidate, cleared []subjects.Role) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for was, is := range successors {
		is.check.Inherit(was.check)
		is.server.Store(was.server.Load())
		if a.shown == was {
			a.shown = is
		}
	}
	a.dbs, a.cleared = next, slices.Clone(cleared)
}

// equal compares settings that have their defaults.
func (d *Database) equal(o *Database) bool {
	return d.sameQuestion(o) && d.Priority == o.Priority && d.Timing == o.Timing && slices.Equal(d.Addresses, o.Addresses)
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
