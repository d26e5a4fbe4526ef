package main

import (
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/components"
	"thor/dbagent"
	"thor/overlay"
	"thor/subjects"
)

func newDatabase() *cobra.Command {
	return newDaemon("database", "Run the database locator: check the central database and announce where it is", "thor-database", buildDatabase)
}

func buildDatabase(d *daemon) (part, error) {
	// It needs to know what is said of itself.
	if err := d.join(func(c *overlay.Config) { c.Roles = []subjects.Role{subjects.Database} }); err != nil {
		return nil, err
	}
	dc, _, ps := components.Databases(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return nil, ps
	}
	dc.Overlay = d.net
	dc.Log = d.log
	dc.Metrics = d.registerer()
	dc.Audit = d.audit
	a, err := dbagent.New(dc)
	if err != nil {
		return nil, err
	}
	d.reports(string(subjects.Database), func(r *subjects.Report) { r.Checks = a.Reports() })
	d.onReload = func() error { return reloadDatabases(d, a) }
	return a, nil
}

// reloadDatabases makes the databases of the file the candidates.
func reloadDatabases(d *daemon, a *dbagent.Agent) error {
	dc, _, ps := components.Databases(d.file, d.creds.Identity())
	if len(ps) > 0 {
		return ps
	}
	return a.Reconfigure(dc.Databases, dc.Cleared)
}
