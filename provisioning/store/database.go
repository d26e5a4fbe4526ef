package store

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
)

const (
	maxPacket = 16 << 20        // bytes of one row that a server may make us hold
	idleTime  = 5 * time.Minute // then an idle connection is closed
	lockTime  = "2"             // seconds that a transaction waits for a row
)

// A database is an open one. It is closed when it was retired and the last call
// that uses it has ended.
type database struct {
	db  *sql.DB
	dsn location.DSN

	users   int // under the Store's lock, as retired
	retired bool
}

// driverConfig is for the driver: nothing that a hostile server could turn
// against us, and strict about what it is given.
func (b *backend) driverConfig(d location.DSN) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = d.User(), d.Password(), "tcp", d.Address(), d.Name()
	// The context of a call ends it; these are for what the driver does besides.
	c.Timeout, c.ReadTimeout, c.WriteTimeout = b.cfg.Timeout, 2*b.cfg.Timeout, 2*b.cfg.Timeout
	if t := d.Timeout(); t > 0 {
		c.Timeout = min(t, b.cfg.Timeout)
	}
	c.AllowAllFiles, c.MultiStatements, c.AllowCleartextPasswords, c.AllowOldPasswords = false, false, false, false
	c.AllowFallbackToPlaintext, c.InterpolateParams, c.ParseTime = false, false, false
	c.MaxAllowedPacket = maxPacket
	c.Logger = &mysql.NopLogger{} // it says nothing that its errors do not
	c.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE'",
		"time_zone":                "'+00:00'",
		"innodb_lock_wait_timeout": lockTime,
	}
	if d.TLS() {
		c.TLS = &tls.Config{RootCAs: b.cfg.Roots, ServerName: d.Host(), MinVersion: tls.VersionTLS12}
	}
	return c
}

// open connects and brings the schema up to date.
func (b *backend) open(ctx context.Context, d location.DSN) (*database, error) {
	c := b.driverConfig(d)
	if err := migrate(ctx, c, b.cfg.Proxy); err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	k, err := mysql.NewConnector(c)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", d, err)
	}
	db := sql.OpenDB(connector{k})
	db.SetMaxOpenConns(b.cfg.Connections)
	db.SetMaxIdleConns(b.cfg.Connections)
	db.SetConnMaxIdleTime(idleTime)
	return &database{db: db, dsn: d}, nil
}
