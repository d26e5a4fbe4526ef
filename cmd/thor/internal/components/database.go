package components

import (
	"thor/cmd/thor/internal/config"
	"thor/dbagent"
	"thor/identity"
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
		d := c.Database
		d.Roots, d.Addresses = roots, Addresses(id, d.Addresses)
		dc.Databases = append(dc.Databases, d)
	}
	dc.Cleared = f.Database.Agent.Cleared
	return dc, keys, ps
}
