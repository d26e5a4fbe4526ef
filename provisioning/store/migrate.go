package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

const (
	migrationsTable = "provisioning_migrations"
	migrationTime   = 2 * time.Minute // including the wait for another server
)

// migrate brings the schema up to date. Of several servers that start at once,
// one does it and the others wait. A migration that is cut off begins anew with
// the next start: MySQL commits each statement of it by itself, so all of them
// may be repeated.
func migrate(ctx context.Context, c *mysql.Config, p Proxy) (err error) {
	ctx, cancel := context.WithTimeout(ctx, migrationTime)
	defer cancel()
	c = c.Clone()
	c.ParseTime, c.ReadTimeout = true, 0
	k, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	db := sql.OpenDB(k)
	defer func() { err = errors.Join(err, db.Close()) }()
	lock, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer lock.Close() // the lock is released with the connection
	if err := settle(ctx, lock); err != nil {
		return err
	}
	if err := take(ctx, lock, c.DBName); err != nil {
		return err
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	g, err := goose.NewProvider(goose.DialectMySQL, db, files, goose.WithTableName(migrationsTable), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	if _, err := g.Up(ctx); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	return p.declare(ctx, db)
}

// take waits for the lock that only one server has while it migrates the schema. In a
// Galera cluster it holds on one node; two servers that use two nodes at that moment
// both migrate, in the cluster's one order of such statements.
func take(ctx context.Context, c *sql.Conn, schema string) error {
	sum := sha256.Sum256([]byte(schema)) // a lock's name may have 64 characters
	var got sql.NullInt64
	err := c.QueryRowContext(ctx, "SELECT GET_LOCK(?, ?)", "thor_provisioning."+hex.EncodeToString(sum[:8]), int(migrationTime.Seconds())).Scan(&got)
	if err != nil {
		return err
	}
	if got.Int64 != 1 {
		return errors.New("another server has been migrating the schema for too long")
	}
	return nil
}

// A Proxy is a SIP proxy that reads the projected tables.
type Proxy string

// The proxies. The empty Proxy is Kamailio.
const (
	Kamailio Proxy = "kamailio" // 5.6
	OpenSIPS Proxy = "opensips" // 3.x
)

// versions are the table versions that the modules check before they start.
var versions = map[Proxy]map[string]int{
	Kamailio: {"version": 1, "subscriber": 7, "dbaliases": 1, "domain": 2, "domain_attrs": 1, "grp": 2, "address": 6, "trusted": 6},
	OpenSIPS: {"version": 1, "subscriber": 8, "dbaliases": 2, "domain": 3, "grp": 3, "address": 5},
}

// declare writes the rows that let p start.
func (p Proxy) declare(ctx context.Context, db *sql.DB) error {
	for table, v := range versions[p] {
		const q = "INSERT INTO version (table_name, table_version) VALUES (?, ?) ON DUPLICATE KEY UPDATE table_version = ?"
		if _, err := db.ExecContext(ctx, q, table, v, v); err != nil {
			return fmt.Errorf("declare table versions: %w", err)
		}
	}
	return nil
}
