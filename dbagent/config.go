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
	"thor/subjects"
)

// A Config says which databases to check and who may know their passwords.
type Config struct {
	// Overlay is the connection to the network. The caller runs it.
	Overlay *overlay.Node
	// Databases are at least one. With the same priority the earlier is preferred.
	Databases []Database
	// Cleared are the roles whose members get the password on request. Empty:
	// none.
	Cleared []subjects.Role
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
	// DSN is where it is. Its password may be in it, or come from PasswordFile or
	// PasswordEnv instead; without any, none is used. Without tls=true a host that
	// poses as the server can learn the password: leave it out on loopback only.
	DSN location.DSN
	// PasswordFile holds the password alone, and a line feed if need be. Only its
	// owner may read it. It is read again for every connection, so that a new
	// password needs no restart.
	PasswordFile string
	// PasswordEnv names the environment variable that holds the password.
	PasswordEnv string
	// Roots verify the server's certificate when the DSN says tls=true; nil: the
	// system's.
	Roots *x509.CertPool
	// Mode is location.ReadWrite (or empty): the server must take writes; or
	// location.ReadOnly: it need not.
	Mode location.Mode
	// Probe is a table with a column "id" of type BIGINT or CHAR(20). A row is
	// inserted and rolled back, which shows that writes work and not only that
	// they are allowed. Empty: what the server says of itself is believed. Needs
	// ReadWrite.
	Probe string
	// Addresses to announce must be in the certificate; empty: see overlay.Member.
	Addresses []netip.Addr
	// Priority is 1 to 65535, lower is preferred; 0: none, which comes last.
	Priority int
	check.Timing
}

func (d Database) withDefaults() Database {
	if d.Mode == "" {
		d.Mode = location.ReadWrite
	}
	d.Timing = d.Timing.WithDefaults()
	return d
}

// faults are what is wrong with d, after withDefaults, a line each without the
// password. The certificate is asked unless it is nil.
func (d *Database) faults(id *identity.Identity) (texts []string) {
	fail := func(format string, args ...any) { texts = append(texts, fmt.Sprintf(format, args...)) }
	if d.DSN.IsZero() {
		fail("no location")
	}
	sources := 0
	for _, has := range []bool{d.DSN.HasPassword(), d.PasswordFile != "", d.PasswordEnv != ""} {
		if has {
			sources++
		}
	}
	if sources > 1 {
		fail("the password is to come from the URI, a file or the environment, not from several")
	}
	if d.Mode != location.ReadWrite && d.Mode != location.ReadOnly {
		fail("mode %q is neither %s nor %s", d.Mode, location.ReadWrite, location.ReadOnly)
	}
	if d.Probe != "" && d.Mode != location.ReadWrite {
		fail("a probe that writes makes no sense for a %s database", d.Mode)
	}
	if len(d.Probe) > 64 || strings.Trim(strings.ToLower(d.Probe), "abcdefghijklmnopqrstuvwxyz0123456789_") != "" {
		fail("probe %q is not the name of a table", d.Probe)
	}
	if d.Roots != nil && !d.DSN.TLS() {
		fail("an authority to trust, but the location does not say tls=true")
	}
	if d.Priority < 0 || d.Priority > 65535 {
		fail("priority %d is not 1 to 65535", d.Priority)
	}
	texts = append(texts, d.Timing.Problems()...)
	for _, a := range d.Addresses {
		if id != nil && !id.MayUse(a) {
			fail("address %s is not in the certificate of %s, which holds %v", a, id.Node, id.Addresses)
		}
	}
	return texts
}

// A Problem is one thing wrong with a Config, at its place.
type Problem struct {
	Database int // index in Config.Databases; -1 is the Config itself
	Text     string
}

// Validate lists everything that is wrong with the databases and roles of cfg,
// a line each without a password; nothing if New takes them. id is the
// certificate that must allow them; nil leaves that out. It does no I/O.
func (cfg *Config) Validate(id *identity.Identity) (ps []Problem) {
	fail := func(i int, format string, args ...any) { ps = append(ps, Problem{i, fmt.Sprintf(format, args...)}) }
	if id != nil && !id.Has(subjects.Database) {
		fail(-1, "role %s: not in the certificate of %s, which holds %v", subjects.Database, id.Node, id.Roles)
	}
	if len(cfg.Databases) == 0 {
		fail(-1, "no databases")
	}
	seen := make(map[string]int)
	for i, d := range cfg.Databases {
		d = d.withDefaults()
		for _, text := range d.faults(id) {
			fail(i, "%s", text)
		}
		key := d.label() + " " + string(d.Mode) // the same may be there again as read-only
		if j, twice := seen[key]; twice && !d.DSN.IsZero() {
			fail(i, "%s is database %d already", d.label(), j+1)
		}
		seen[key] = i
	}
	for _, r := range cfg.Cleared {
		if _, err := subjects.ParseRole(string(r)); err != nil {
			fail(-1, "cleared: %v", err)
		}
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
	if p.Database < 0 {
		return fmt.Errorf("dbagent: %s", p.Text)
	}
	return fmt.Errorf("dbagent: database %d: %s", p.Database+1, p.Text)
}

// byPreference are the databases with their defaults, the most preferred first.
func (cfg *Config) byPreference() []Database {
	dbs := make([]Database, len(cfg.Databases))
	for i, d := range cfg.Databases {
		dbs[i] = d.withDefaults()
	}
	const none = 1 << 16 // above every priority
	slices.SortStableFunc(dbs, func(a, b Database) int { return cmp.Compare(cmp.Or(a.Priority, none), cmp.Or(b.Priority, none)) })
	return dbs
}
