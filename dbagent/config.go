package dbagent

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/identity"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/check"
	"thor/overlay/setting"
	"thor/subjects"
)

// A Config says which databases to check and who may know their passwords.
type Config struct {
	// Overlay is the connection to the network. The caller runs it.
	Overlay *overlay.Node
	// Databases are at least one. With the same priority the earlier is preferred.
	Databases []Database
	// Roles whose members are given the password when they ask.
	Cleared []subjects.Role `toml:"cleared" reload:"yes" default:"(none)"`
	// Log receives each change of a database and each password given away. The
	// zero value is silent.
	Log zerolog.Logger
	// Audit receives who got the password, and who was refused; nil: none.
	Audit *audit.Log
	// Metrics registers thor_dbagent_…; nil: none.
	Metrics prometheus.Registerer
}

// A Database is one candidate.
type Database struct {
	// Location "mysql://USER@HOST:PORT/NAME". Without ?tls=true a host that
	// poses as the server can learn the password: leave it out on loopback only.
	//
	// The password may be in it, or come from PasswordFile or PasswordEnv; without any,
	// none is used.
	DSN location.DSN `toml:"uri" reload:"yes" default:"(none, required without [[database.candidate]])"`
	// File that holds the password alone; only its owner may read it. It is read again
	// for every connection.
	PasswordFile string `toml:"password_file" form:"file" secret:"yes" reload:"yes" default:"(none)"`
	// PasswordEnv names the environment variable that holds the password.
	PasswordEnv string
	// Roots verify the server's certificate when the DSN says tls=true; nil: the
	// system's.
	Roots *x509.CertPool
	// Whether the server must take writes.
	Mode location.Mode `toml:"mode" oneof:"read-write read-only" default:"read-write" reload:"yes"`
	// Table with a column "id" of type BIGINT or CHAR(20), of a database that takes
	// writes. A row is inserted and rolled back, which proves that writes work and not
	// only that they are allowed.
	Probe string `toml:"probe" default:"(none: what the server says of itself is believed)" reload:"yes"`
	// Addresses to announce. They must be in the certificate.
	//
	// Empty: see overlay.Member.
	Addresses []netip.Addr `toml:"addresses" reload:"yes" default:"(those of the certificate)"`
	// Priority of the database.
	Priority int `toml:"priority" unit:"lower is preferred" range:"1..65535" default:"10" reload:"yes"`
	check.Timing
}

func (d Database) withDefaults() Database {
	setting.Fill(&d)
	return d
}

// faults are what is wrong with d, after withDefaults, without the password. The
// certificate is asked unless it is nil.
func (d *Database) faults(id *identity.Identity) []setting.Problem {
	ps := setting.Check(d)
	fail := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if d.DSN.IsZero() {
		fail("uri", "is missing")
	}
	sources := 0
	for _, has := range []bool{d.DSN.HasPassword(), d.PasswordFile != "", d.PasswordEnv != ""} {
		if has {
			sources++
		}
	}
	if sources > 1 {
		fail("", "the password is to come from the URI, a file or the environment, not from several")
	}
	if d.Probe != "" && d.Mode != location.ReadWrite {
		fail("probe", "makes no sense for a %s database", d.Mode)
	}
	if len(d.Probe) > 64 || strings.Trim(strings.ToLower(d.Probe), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		fail("probe", "%q is not the name of a table", d.Probe)
	}
	if d.Roots != nil && !d.DSN.TLS() {
		fail("", "an authority to trust, but the location does not say tls=true")
	}
	for _, a := range d.Addresses {
		if id != nil && !id.MayUse(a) {
			fail("", "address %s is not in the certificate of %s, which holds %v", a, id.Node, id.Addresses)
		}
	}
	return ps
}

// A Problem is one thing wrong with a Config, at its place.
type Problem struct {
	Database int    // index in Config.Databases; -1 is the Config itself
	Key      string // of the database or the Config; empty: it as a whole
	Text     string // one line
}

// Validate lists everything that is wrong with the databases and roles of cfg,
// a line each without a password; nothing if New takes them. id is the
// certificate that must allow them; nil leaves that out. It does no I/O.
func (cfg *Config) Validate(id *identity.Identity) (ps []Problem) {
	fail := func(i int, format string, args ...any) { ps = append(ps, Problem{i, "", fmt.Sprintf(format, args...)}) }
	if id != nil && !id.Has(subjects.Database) {
		fail(-1, "role %s: not in the certificate of %s, which holds %v", subjects.Database, id.Node, id.Roles)
	}
	if len(cfg.Databases) == 0 {
		fail(-1, "no databases")
	}
	seen := make(map[string]int)
	for i, d := range cfg.Databases {
		d = d.withDefaults()
		for _, p := range d.faults(id) {
			ps = append(ps, Problem{i, p.Key, p.Text})
		}
		key := d.label() + " " + string(d.Mode) // the same may be there again as read-only
		if j, twice := seen[key]; twice && !d.DSN.IsZero() {
			fail(i, "%s is database %d already", d.label(), j+1)
		}
		seen[key] = i
	}
	for _, p := range setting.Check(cfg) {
		ps = append(ps, Problem{-1, p.Key, p.Text})
	}
	return ps
}

// check is Validate as one error, a line for each problem.
func (cfg *Config) check(id *identity.Identity) error {
	var errs []error
	for _, p := range cfg.Validate(id) {
		errs = append(errs, p.text())
	}
	return errors.Join(errs...)
}

// label names d in logs and metrics.
func (d *Database) label() string { return d.DSN.Address() + "/" + d.DSN.Name() }

// text is p as one line of an error.
func (p Problem) text() error {
	what := setting.Problem{Key: p.Key, Text: p.Text}
	if p.Database < 0 {
		return fmt.Errorf("dbagent: %w", what)
	}
	return fmt.Errorf("dbagent: database %d: %w", p.Database+1, what)
}

// byPreference are the databases with their defaults, the most preferred first.
func (cfg *Config) byPreference() []Database {
	dbs := make([]Database, len(cfg.Databases))
	for i, d := range cfg.Databases {
		dbs[i] = d.withDefaults()
	}
	slices.SortStableFunc(dbs, func(a, b Database) int { return cmp.Compare(a.Priority, b.Priority) })
	return dbs
}
