package store

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"thor/dbagent/location"
	"thor/overlay/setting"
	"thor/overlay/subscriber"
)

// A Source tells which database to use: a fixed one, or the one that is
// announced in the network.
type Source interface {
	// Locate is the location to use now, with the password.
	Locate(ctx context.Context) (location.DSN, error)
	// Watch yields whenever Locate may tell something else, until ctx ends.
	Watch(ctx context.Context) <-chan struct{}
}

// A Cluster is a Source that knows of several databases of which each has what was
// written to another. Announced is one.
type Cluster interface {
	// Others reports whether there is another one for the database located last.
	Others() bool
	// Avoid has Locate pass over the database at d for a while, and Watch yield, if that is
	// the one located last. It reports whether another one takes its place now.
	Avoid(d location.DSN) bool
}

// Config is how a Store works. Only Source is required.
type Config struct {
	Source Source
	Log    zerolog.Logger
	// Timeout is how long a call may take: clients are promised an answer within 5 s.
	Timeout time.Duration `default:"4500ms" range:"1ms.."`
	// Connections is how many there are at most.
	Connections int `default:"16" range:"1.."`
	// Roots verify a database that is reached by TLS. nil: the system's.
	Roots *x509.CertPool
	// Domain is the network's. It and the names below it are reserved, see
	// allowance.Reserved. Empty: none is.
	Domain string
	// Unserved says why name servers would leave out a record, a line of a zone file,
	// or for its sake another one, of a zone that has the records have; empty if they
	// would serve it. nil: records are not checked.
	Unserved func(have []string, line string) string
	// Proxy whose tables are kept.
	Proxy Proxy `toml:"proxy" oneof:"kamailio opensips" default:"kamailio"`
	// Keep passwords beside their digests. A reseller's property
	// store_clear_text_passwords, "1" or "0", goes before it.
	ForgetPasswords bool `toml:"clear_text_passwords,not"`
	// KeepDeleted is how long a deleted subscriber's revision is known. A node
	// that was cut off for longer forgets all it has.
	KeepDeleted time.Duration `default:"2160h" range:"1h.."`
}

func orDefault[T comparable](v, d T) T {
	var zero T
	if v == zero {
		return d
	}
	return v
}

// Notices are the subscribers whose profile a change concerns.
type Notices = []subscriber.Notice

// A Store is the records that are provisioned, by their kinds. It and they may be
// used by any number of goroutines, before, during and after Run; without a
// database everything fails with ngnpro.ErrUnavailable.
//
// Their errors are the faults of ngnpro; whatever the database itself says becomes
// ngnpro.ErrUnavailable with the cause wrapped for the log, never shown to a
// client. Every method is one transaction. Records that v does not see are "not
// found", except that creating what exists elsewhere tells that it exists.
//
// A change of subscribers' profiles returns its notices (From is empty), which are
// in the database as well, as pushes to be acknowledged.
type Store struct {
	Domains   domains
	Accounts  accounts
	Aliases   aliases
	Screening screening
	Phonebook phonebook
	Peers     peers
	Mailboxes mailboxes
	Ranges    ranges
	Numbers   numbers
	Customers customers
	Zones     zones
	Records   zoneRecords
	Pushes    pushes
	*backend

	started atomic.Bool
	ready   chan struct{}
}

// A backend is the database in use, which all kinds of records share.
type backend struct {
	cfg     Config
	log     zerolog.Logger
	again   chan struct{} // holds one token: the source should be asked
	doubted chan struct{} // holds one token: the database should be looked at
	cluster Cluster       // the source, nil if it is none

	mu      sync.Mutex
	current *database
	reason  error         // why there is none
	moved   chan struct{} // closed when current changes
}

// New checks the configuration. It does no I/O.
func New(cfg Config) (*Store, error) {
	setting.Fill(&cfg)
	ps := setting.Check(&cfg)
	if cfg.Source == nil {
		ps = append(ps, setting.Problem{Text: "no source"})
	}
	if err := setting.Join("store", ps); err != nil {
		return nil, err
	}
	b := &backend{
		cfg: cfg, log: cfg.Log.With().Str("comp", "store").Logger(), reason: errors.New("no database is known yet"),
		again: make(chan struct{}, 1), doubted: make(chan struct{}, 1), moved: make(chan struct{}),
	}
	b.cluster, _ = cfg.Source.(Cluster)
	return &Store{
		Domains: domains{b}, Accounts: accounts{b}, Aliases: aliases{b}, Screening: screening{b}, Phonebook: phonebook{b}, Peers: peers{b},
		Mailboxes: mailboxes{b}, Ranges: ranges{b}, Numbers: numbers{b}, Customers: customers{b}, Zones: zones{b}, Records: zoneRecords{b}, Pushes: pushes{b},
		backend: b, ready: make(chan struct{}),
	}, nil
}

// Ready is closed once there was a database.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// Database is the location that is in use, zero if none is.
func (s *Store) Database() location.DSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return location.DSN{}
	}
	return s.current.dsn
}

func (b *backend) acquire() (*database, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.current == nil {
		return nil, b.reason
	}
	b.current.users++
	return b.current, nil
}

func (b *backend) release(d *database) {
	b.mu.Lock()
	d.users--
	last := d.retired && d.users == 0
	b.mu.Unlock()
	if last {
		b.close(d)
	}
}

// use makes d the current database, nil for none because of reason. The one
// before is closed when its last call has ended.
func (b *backend) use(d *database, reason error) {
	b.mu.Lock()
	old := b.current
	b.current, b.reason = d, reason
	close(b.moved)
	b.moved = make(chan struct{})
	idle := false
	if old != nil {
		old.retired = true
		idle = old.users == 0
	}
	b.mu.Unlock()
	if idle {
		b.close(old)
	}
}

func (b *backend) close(d *database) {
	if err := d.db.Close(); err != nil {
		b.log.Debug().Err(err).Object("database", d.dsn).Msg("close database")
	}
}

// relocate has the source asked again.
func (b *backend) relocate() {
	select {
	case b.again <- struct{}{}:
	default:
	}
}
