package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
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

// driverConfig makes the database strict about what it is given.
func (b *backend) driverConfig(d location.DSN) *mysql.Config {
	c := driver.Config(d, b.cfg.Timeout, b.cfg.Roots, maxPacket)
	c.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE'",
		"time_zone":                "'+00:00'",
		"innodb_lock_wait_timeout": lockTime,
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
