package config

import (
	"fmt"

	"thor/dbagent"
	"thor/dbagent/location"
	"thor/overlay/setting"
)

// Database configures the database locator: either one database in the section
// itself, or several as [[database.candidate]], of which the best is announced.
type Database struct {
	Agent dbagent.Config `toml:",inline"`
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9505" off:"yes"`
	Candidate
	// Databases of which the best is announced. Each takes from the section what it leaves open.
	Candidates []Candidate `toml:"candidate" reload:"yes" default:"(none: the section is the only one)"`
}

// Candidate is one database.
type Candidate struct {
	dbagent.Database
	// Authorities in PEM that the server's certificate must be from, for tls=true.
	CA string `toml:"ca" form:"file" reload:"yes" default:"(the system's)"`
}

// All are the databases of the section, each with the key at which it stands.
func (d *Database) All() (list []Candidate, keys []string) {
	if len(d.Candidates) == 0 {
		return []Candidate{d.Candidate}, []string{"database"}
	}
	for i := range d.Candidates {
		keys = append(keys, fmt.Sprintf("database.candidate[%d]", i))
	}
	return d.Candidates, keys
}

// fill gives candidates what they leave open.
func (d *Database) fill() {
	setting.Fill(&d.Candidate)
	from := d.Candidate
	from.DSN = location.DSN{}
	for i := range d.Candidates {
		setting.FillFrom(&d.Candidates[i], &from)
	}
}

func (d *Database) check(f *File) {
	need := func(key string, uri location.DSN) {
		if uri.IsZero() && !f.failed(key) {
			f.d.add(key, "is missing")
		}
	}
	if len(d.Candidates) == 0 && !f.failed("database.candidate") {
		need("database.uri", d.DSN)
	}
	if len(d.Candidates) > 0 && !d.DSN.IsZero() {
		f.d.add("database.uri", "stands beside [[database.candidate]]: make it a candidate too")
	}
	for i, c := range d.Candidates {
		need(fmt.Sprintf("database.candidate[%d].uri", i), c.DSN)
	}
}
