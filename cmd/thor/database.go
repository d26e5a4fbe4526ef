package main

import (
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/dbagent/location"
	"thor/identity"
	"thor/subjects"
)

func newDatabase() *cobra.Command {
	return newDaemon("database", "Run the database locator: check the central database and announce where it is", "thor-database",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			dc, _, ps := databaseConfig(d.file, d.creds.Identity())
			if len(ps) > 0 {
				return nil, ps
			}
			dc.Overlay, dc.Log, dc.Metrics, dc.Audit = d.net, d.log, d.registerer(), d.audit
			a, err := dbagent.New(dc)
			if err != nil {
				return nil, err
			}
			d.onReload = func() error { return reloadDatabases(d, a) }
			return a, nil
		})
}

// reloadDatabases makes the databases of the file the candidates.
func reloadDatabases(d *daemon, a *dbagent.Agent) error {
	dc, _, ps := databaseConfig(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return ps
	}
	return a.Reconfigure(dc.Databases, dc.Cleared)
}

// databaseConfig are the databases of the file and the key of each, with the
// problems of reading what they refer to. id may be nil.
func databaseConfig(f *config.File, id *identity.Identity) (dc dbagent.Config, keys []string, ps config.Problems) {
	list, keys := f.Database.All()
	for i, c := range list {
		dsn, err := location.Parse(c.URI)
		if err != nil && c.URI != "" {
			ps = append(ps, f.Problem(keys[i]+".uri", "%v", err))
		}
		roots, err := rootsOf(c.CA)
		if err != nil {
			ps = append(ps, f.Problem(keys[i]+".ca", "%v", err))
		}
		mode := location.ReadWrite
		if c.Mode == "read-only" {
			mode = location.ReadOnly
		}
		dc.Databases = append(dc.Databases, dbagent.Database{
			DSN: dsn, PasswordFile: c.PasswordFile, Roots: roots, Mode: mode, Probe: c.Probe,
			Addresses: addresses(id, c.Addresses), Priority: c.Priority, Interval: c.Interval, Timeout: c.Timeout,
		})
	}
	for _, r := range f.Database.Cleared {
		dc.Cleared = append(dc.Cleared, subjects.Role(r))
	}
	return dc, keys, ps
}
