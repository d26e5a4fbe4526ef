package components

import (
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/identity"
	"thor/overlay/check"
)

// Databases are the databases of the file and the key of each, with the
// problems of reading what they refer to. id may be nil.
func Databases(f *config.File, id *identity.Identity) (dc dbagent.Config, keys []string, ps config.Problems) {
	list, keys := f.Database.All()
	for i, c := range list {
		roots, err := Roots(c.CA)
		if err != nil {
			ps = append(ps, f.Problem(keys[i]+".ca", "%v", err))
		}
		dc.Databases = append(dc.Databases, dbagent.Database{
			DSN: c.URI, PasswordFile: c.PasswordFile, Roots: roots, Mode: c.Mode, Probe: c.Probe,
			Addresses: Addresses(id, c.Addresses), Priority: c.Priority, Timing: check.Timing{Interval: c.Interval, Timeout: c.Timeout},
		})
	}
	dc.Cleared = f.Database.Cleared
	return dc, keys, ps
}
