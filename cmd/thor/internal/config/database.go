package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// Database configures the database locator: either one database in the section
// itself, or several as [[database.candidate]], of which the best is announced.
// Of several, each takes from the section what it leaves open.
type Database struct {
	Candidate
	Cleared    []string    `toml:"cleared" reload:"yes"` // roles that may ask for the password
	Candidates []Candidate `toml:"candidate" reload:"yes"`
}

// Candidate is one database.
type Candidate struct {
	Addresses    []netip.Addr  `toml:"addresses" reload:"yes"`     // to announce; default: the certificate's
	URI          string        `toml:"uri" reload:"yes"`           // mysql://USER@HOST:PORT/NAME
	PasswordFile string        `toml:"password_file" reload:"yes"` // holds the password alone
	CA           string        `toml:"ca" reload:"yes"`            // PEM file, for tls=true; default: the system's
	Priority     int           `toml:"priority" reload:"yes"`      // lower is preferred; default 10
	Mode         string        `toml:"mode" reload:"yes"`          // read-write (default), read-only
	Probe        string        `toml:"probe" reload:"yes"`         // table to write to and roll back; default: none
	Interval     time.Duration `toml:"interval" reload:"yes"`      // default 2s
	Timeout      time.Duration `toml:"timeout" reload:"yes"`       // default 1s, or the interval if that is shorter
}

// All are the databases of the section, each with the key at which it stands.
func (d *Database) All() (list []Candidate, keys []string) {
	if len(d.Candidates) == 0 {
		return []Candidate{d.Candidate}, []string{"database"}
	}
	for i, c := range d.Candidates {
		set(&c.URI, d.URI)
		set(&c.PasswordFile, d.PasswordFile)
		set(&c.CA, d.CA)
		set(&c.Priority, d.Priority)
		set(&c.Mode, d.Mode)
		set(&c.Probe, d.Probe)
		set(&c.Interval, d.Interval)
		set(&c.Timeout, min(cmp.Or(d.Timeout, time.Second), c.Interval))
		if len(c.Addresses) == 0 {
			c.Addresses = d.Addresses
		}
		list, keys = append(list, c), append(keys, fmt.Sprintf("database.candidate[%d]", i))
	}
	return list, keys
}

func (d *Database) check(f *File) {
	if len(d.Candidates) == 0 && !f.failed("database.candidate") {
		f.require("database.uri", d.URI)
	}
	if len(d.Candidates) > 0 && d.URI != "" {
		f.d.add("database.uri", "stands beside [[database.candidate]]: make it a candidate too")
	}
	d.Candidate.check(f, "database")
	for i := range d.Candidates {
		c, key := &d.Candidates[i], fmt.Sprintf("database.candidate[%d]", i)
		f.require(key+".uri", c.URI)
		if c.Interval == 0 {
			c.Interval = d.Interval
		}
		c.check(f, key)
	}
	for i, r := range d.Cleared {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add(fmt.Sprintf("database.cleared[%d]", i), "%v", err)
		}
	}
}

func (c *Candidate) check(f *File, key string) {
	f.priority(key+".priority", c.Priority)
	if interval := cmp.Or(c.Interval, 2*time.Second); c.Timeout > interval {
		f.d.add(key+".timeout", "%s is longer than the interval of %s", c.Timeout, interval)
	}
	if !slices.Contains([]string{"", "read-write", "read-only"}, c.Mode) {
		f.d.add(key+".mode", "%q is not read-write or read-only", c.Mode)
	}
}

func (d *Database) fill(f *File) {
	set(&d.Priority, 10)
	set(&d.Mode, "read-write")
	set(&d.Interval, 2*time.Second)
	set(&d.Timeout, min(time.Second, d.Interval))
	f.abs(&d.PasswordFile)
	f.abs(&d.CA)
	for i := range d.Candidates {
		f.abs(&d.Candidates[i].PasswordFile)
		f.abs(&d.Candidates[i].CA)
	}
}
