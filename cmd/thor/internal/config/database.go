package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// Database configures the database locator.
type Database struct {
	Addresses    []netip.Addr  `toml:"addresses"`
	URI          string        `toml:"uri"`           // mysql://USER@HOST:PORT/NAME
	PasswordFile string        `toml:"password_file"` // holds the password alone
	Priority     int           `toml:"priority"`      // default 10
	Mode         string        `toml:"mode"`          // read-write (default), read-only
	Cleared      []string      `toml:"cleared"`       // roles that may ask for the password
	Interval     time.Duration `toml:"interval"`      // default 2s
	Timeout      time.Duration `toml:"timeout"`       // default 1s, or the interval if that is shorter
}

func (d *Database) check(f *File) {
	f.require("database.uri", d.URI)
	f.priority("database.priority", d.Priority)
	if interval := cmp.Or(d.Interval, 2*time.Second); d.Timeout > interval {
		f.d.add("database.timeout", "%s is longer than the interval of %s", d.Timeout, interval)
	}
	if !slices.Contains([]string{"", "read-write", "read-only"}, d.Mode) {
		f.d.add("database.mode", "%q is not read-write or read-only", d.Mode)
	}
	for i, r := range d.Cleared {
		if _, err := subjects.ParseRole(r); err != nil {
			f.d.add(fmt.Sprintf("database.cleared[%d]", i), "%v", err)
		}
	}
}

func (d *Database) fill(f *File) {
	set(&d.Priority, 10)
	set(&d.Mode, "read-write")
	set(&d.Interval, 2*time.Second)
	set(&d.Timeout, min(time.Second, d.Interval))
	f.abs(&d.PasswordFile)
}
