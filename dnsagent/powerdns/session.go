package powerdns

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
	"thor/dnsagent/zone"
	"thor/identity"
)

const (
	connectTimeout = 3 * time.Second
	maxPacket      = 4 << 20 // bytes of one packet either way
	maxPassword    = 4 << 10
)

// A session is one connection to the database. The lock belongs to it: what it
// writes, it writes as the holder, and both end together.
type session struct {
	pool   *sql.DB
	conn   *sql.Conn
	locked bool   // what is written is a transaction then, until COMMIT
	name   string // of the lock
	step   int64  // between ids that the server gives to rows of one statement
	known  *rows  // of the last pass; nil: they have to be read

	zone     *zone.Zone // that was written last
	compared time.Time  // with all rows
}

// errHostile is a server that makes the driver panic.
var errHostile = errors.New("does not speak MySQL")

// open connects and looks at the tables. idle is how long the server keeps the
// session of an agent that says nothing: a host that is cut off must not keep the
// lock.
func open(ctx context.Context, cfg *Config, idle time.Duration) (s *session, err error) {
	d, err := withPassword(cfg.DSN, cfg.PasswordFile)
	if err != nil {
		return nil, err
	}
	dc := driver.Config(d, connectTimeout, cfg.Roots, maxPacket)
	dc.ReadTimeout, dc.WriteTimeout = 2*passTimeout, 2*passTimeout // the contexts of calls end them before
	// Statements are sent together, with their values in them: texts of ours, names and
	// numbers.
	dc.InterpolateParams, dc.MultiStatements = true, true
	if d.Charset() != "" {
		if err := dc.Apply(mysql.Charset(d.Charset(), "")); err != nil {
			return nil, err
		}
	}
	var dialled net.Conn
	dc.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		dialled = c
		return c, err
	}
	connector, err := mysql.NewConnector(dc)
	if err != nil {
		return nil, err
	}
	s = &session{pool: sql.OpenDB(connector), name: lockName(cfg)}
	defer func() {
		// A challenge that is too short makes the driver (1.10.1) panic.
		if r := recover(); r != nil {
			if dialled != nil {
				_ = dialled.Close()
			}
			s, err = nil, fmt.Errorf("%w: the driver panicked: %v", errHostile, r)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if s.conn, err = s.pool.Conn(ctx); err == nil {
		err = s.setUp(ctx, idle)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// setUp makes the session strict, and checks what there is.
func (s *session) setUp(ctx context.Context, idle time.Duration) error {
	set := fmt.Sprintf("SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', wait_timeout = %d, innodb_lock_wait_timeout = %d, autocommit = 1",
		int(idle/time.Second), int(lockWait/time.Second))
	for _, text := range []string{set, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ"} {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	if err := s.conn.QueryRowContext(ctx, "SELECT @@SESSION.auto_increment_increment").Scan(&s.step); err != nil {
		return err
	}
	cols, engines, err := readSchema(ctx, s.conn)
	if err != nil {
		return err
	}
	return checkSchema(cols, engines)
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = s.pool.Close() // the server ends what was open
}

// lock takes the lock if no other agent has it.
func (s *session) lock(ctx context.Context) error {
	if s.locked {
		return nil
	}
	var got sql.NullInt64
	if err := s.conn.QueryRowContext(ctx, "SELECT GET_LOCK(?, 0)", s.name).Scan(&got); err != nil {
		return err
	}
	if got.Int64 != 1 {
		return nil
	}
	s.locked = true
	_, err := s.conn.ExecContext(ctx, "SET SESSION autocommit = 0")
	return err
}

// unlock lets another agent have the lock.
func (s *session) unlock(ctx context.Context) error {
	s.locked, s.known = false, nil
	for _, text := range []string{"SET SESSION autocommit = 1", "DO RELEASE_LOCK('" + s.name + "')"} {
		if _, err := s.conn.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// lockName is that of the zone in this database: names of locks belong to the
// server, not to a database, and are at most 64 characters long.
func lockName(cfg *Config) string {
	sum := sha256.Sum256([]byte(cfg.DSN.Name() + "/" + cfg.Domain))
	return "thor-dns:" + hex.EncodeToString(sum[:16])
}

// withPassword completes a location. The file is read for each connection.
func withPassword(d location.DSN, file string) (location.DSN, error) {
	if file == "" {
		return d, nil
	}
	secret, err := identity.ReadPassword(file, maxPassword)
	if err != nil {
		return d, fmt.Errorf("%w: %w", errPassword, err)
	}
	full, err := d.WithPassword(secret)
	if err != nil {
		return d, fmt.Errorf("%w: %s: %w", errPassword, file, err)
	}
	return full, nil
}

var errPassword = errors.New("the password cannot be read")

// written is the mark of the status that the rows of a zone are of, and the content
// of its SOA row; both are empty without a zone.
func (s *session) written(ctx context.Context, domain string) (mark, soa string, err error) {
	err = query(ctx, s.conn, func(scan func(...any) error) error {
		var m, c sql.NullString
		err := scan(&m, &c)
		mark, soa = m.String, c.String
		return err
	}, "SELECT m.content, r.content FROM domains d LEFT JOIN domainmetadata m ON m.domain_id = d.id AND m.kind = ? "+
		"LEFT JOIN records r ON r.domain_id = d.id AND r.name = d.name AND r.type = 'SOA' WHERE d.name = ?", kindMark, domain)
	return mark, soa, err
}
