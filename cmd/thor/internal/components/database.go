package components

import (
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/dbagent/location"
	"thor/identity"
	"thor/subjects"
)

// Databases are the databases of the file and the key of each, with the
// problems of reading what they refer to. id may be nil.
func Databases(f *config.File, id *identity.Identity) (dc dbagent.Config, keys []string, ps config.Problems) {
	list, keys := f.Database.All()
	for i, c := range list {
		dsn, err := location.Parse(c.URI)
		if err != nil && c.URI != "" {
			ps = append(ps, f.Problem(keys[i]+".uri", "%v", err))
		}
		roots, err := Roots(c.CA)
		if err != nil {
			ps = append(ps, f.Problem(keys[i]+".ca", "%v", err))
		}
		mode := location.ReadWrite
		if c.Mode == "read-only" {
			mode = location.ReadOnly
		}
		dc.Databases = append(dc.Databases, dbagent.Database{
			DSN: dsn, PasswordFile: c.PasswordFile, Roots: roots, Mode: mode, Probe: c.Probe,
			Addresses: Addresses(id, c.Addresses), Priority: c.Priority, Interval: c.Interval, Timeout: c.Timeout,
		})
	}
	for _, r := range f.Database.Cleared {
		dc.Cleared = append(dc.Cleared, subjects.Role(r))
	}
	return dc, keys, ps
}
