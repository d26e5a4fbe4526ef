package powerdns

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/dnsagent/powerdns/plan"
	"thor/overlay/setting"
)

// A Config says which database to keep, and which PowerDNS reads it.
type Config struct {
	// Location "mysql://USER@HOST:PORT/NAME" of the database that PowerDNS reads, with the tables
	// of PowerDNS 4.7. The user needs SELECT, INSERT, UPDATE and DELETE.
	DSN location.DSN `toml:"uri" required:"yes"`
	// File that holds the password alone; only its owner may read it. It is read again
	// for every connection.
	PasswordFile string `toml:"password_file" form:"file" secret:"yes" default:"(none)"`
	// Roots verify the database server's certificate when the DSN says tls=true; nil: the
	// system's.
	Roots *x509.CertPool
	// How answers are drawn from sets that are larger than an answer: "lua" has PowerDNS draw for
	// each answer, by LUA records; "rotate" writes another slice after each TTL, and is used
	// too while PowerDNS turns out not to run them.
	Mode plan.Mode `toml:"mode" oneof:"lua rotate" default:"lua"`
	// Control socket of the PowerDNS on this host, by which its caches are purged. Without it a change
	// takes as long as they keep answers.
	Control string `toml:"control" form:"file" default:"(none)"`
	// Address at which the PowerDNS on this host answers. It is asked whether it has the zone.
	Server netip.AddrPort `toml:"server" default:"(none: it is not asked)"`
	// Type of the zone if it has to be made: MASTER is one that other servers transfer.
	Kind string `toml:"kind" oneof:"NATIVE MASTER" default:"NATIVE"`
	// Time between two comparisons of the database with the zone, which put back what was
	// changed by hand.
	Verify time.Duration `toml:"verify" default:"5s" range:"1s..1h"`

	Domain  string                // apex of the zone
	Log     zerolog.Logger        // zero value: silent
	Metrics prometheus.Registerer // registers thor_dns_powerdns_…; nil: none
}

// Validate lists everything that is wrong with cfg but a missing domain.
func (cfg Config) Validate() []setting.Problem {
	setting.Fill(&cfg)
	ps := setting.Check(&cfg)
	fail := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if cfg.DSN.HasPassword() && cfg.PasswordFile != "" {
		fail("password_file", "stands beside a password in the URI")
	}
	return ps
}

// check is Validate for New.
func (cfg *Config) check() error {
	ps := cfg.Validate()
	err := setting.Join("powerdns", ps)
	if cfg.DSN.IsZero() || cfg.Domain == "" {
		err = errors.Join(err, errors.New("powerdns: no database or no domain"))
	}
	return err
}
