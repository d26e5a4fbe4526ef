package config

import (
	"fmt"
	"net/netip"
	"time"

	"thor/dbagent/location"
	"thor/overlay/setting"
	"thor/subjects"
)

// Database configures the database locator: either one database in the section
// itself, or several as [[database.candidate]], of which the best is announced.
type Database struct {
	Candidate
	// Roles whose members are given the password when they ask.
	Cleared []subjects.Role `toml:"cleared" reload:"yes" default:"(none)"`
	// Databases of which the best is announced. Each takes from the section what it leaves open.
	Candidates []Candidate `toml:"candidate" reload:"yes" default:"(none: the section is the only one)"`
}

// Candidate is one database.
type Candidate struct {
	// Addresses to announce.
	Addresses []netip.Addr `toml:"addresses" reload:"yes" default:"(those of the certificate)"`
	// Location "mysql://USER@HOST:PORT/NAME"; ?tls=true has the connection encrypted.
	URI location.DSN `toml:"uri" reload:"yes" default:"(none, required without [[database.candidate]])"`
	// File that holds the password alone. It is read again for every connection.
	PasswordFile string `toml:"password_file" form:"file" reload:"yes" default:"(none)"`
	// Authorities in PEM that the server's certificate must be from, for tls=true.
	CA string `toml:"ca" form:"file" reload:"yes" default:"(the system's)"`
	// Priority of the database.
	Priority int `toml:"priority" unit:"lower is preferred" range:"1..65535" default:"10" reload:"yes"`
	// Whether the server must take writes.
	Mode location.Mode `toml:"mode" oneof:"read-write read-only" default:"read-write" reload:"yes"`
	// Table to write to and roll back, which proves that writes work.
	Probe string `toml:"probe" default:"(none: what the server says of itself is believed)" reload:"yes"`
	// Time from check to check.
	Interval time.Duration `toml:"interval" default:"2s" range:"100ms.." reload:"yes"`
	// Time that a check may take.
	Timeout time.Duration `toml:"timeout" default:"1s" range:"..Interval" reload:"yes"`
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
	from.URI = location.DSN{}
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
		need("database.uri", d.URI)
	}
	if len(d.Candidates) > 0 && !d.URI.IsZero() {
		f.d.add("database.uri", "stands beside [[database.candidate]]: make it a candidate too")
	}
	for i, c := range d.Candidates {
		need(fmt.Sprintf("database.candidate[%d].uri", i), c.URI)
	}
}
