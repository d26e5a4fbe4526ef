package main

import (
	"github.com/spf13/cobra"

	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/dbagent/location"
	"thor/subjects"
)

func newDatabase() *cobra.Command {
	return newDaemon("database", "Run the database locator: check the central database and announce where it is", "thor-database",
		func(d *daemon) (part, error) {
			if err := d.join(); err != nil {
				return nil, err
			}
			c := d.file.Database
			dsn, err := location.Parse(c.URI)
			if err != nil {
				return nil, config.Problems{d.file.Problem("database.uri", "%v", err)}
			}
			cleared := make([]subjects.Role, len(c.Cleared))
			for i, r := range c.Cleared {
				cleared[i] = subjects.Role(r)
			}
			mode := location.ReadWrite
			if c.Mode == "read-only" {
				mode = location.ReadOnly
			}
			return dbagent.New(dbagent.Config{
				Overlay: d.net,
				Databases: []dbagent.Database{{
					DSN: dsn, PasswordFile: c.PasswordFile, Mode: mode, Addresses: d.addresses(c.Addresses),
					Priority: c.Priority, Interval: c.Interval, Timeout: c.Timeout,
				}},
				Cleared: cleared, Log: d.log, Metrics: d.registerer(),
			})
		})
}
