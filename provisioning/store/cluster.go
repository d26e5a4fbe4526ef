package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
	"thor/dbagent/location/driver"
	"thor/dbagent/location/galera"
)

// Where the database in use is one of a cluster, it is looked at, and another one is
// used when it fails: a host that is cut off takes up to 15 s to leave the network's
// status, and its locator with it. Two looks in a row must fail, so that a node that is
// cut off is left after at most lookEvery + 2 × lookTime + lookAgain.
const (
	lookEvery = time.Second
	lookTime  = time.Second
	lookAgain = 250 * time.Millisecond // after one that failed
	lookFails = 2
)

// settleTime bounds the wait of a node that is to be used for what the cluster had
// committed before. One that lags further behind is not used.
const settleTime = 5 * time.Second

// guard looks at the database in use until ctx ends, and has the source avoid one
// that fails.
func (s *Store) guard(ctx context.Context) {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	failed, looked := 0, time.Time{}
	var at *database
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.doubted:
			if rest := lookAgain - time.Since(looked); rest > 0 {
				timer.Reset(rest)
				continue
			}
		case <-timer.C:
		}
		s.mu.Lock()
		d := s.current
		s.mu.Unlock()
		if d != at {
			at, failed = d, 0
		}
		if d == nil || !s.cluster.Others() {
			timer.Reset(lookEvery)
			continue
		}
		looked = time.Now()
		err := s.ask(ctx, d.dsn)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			failed = 0
			timer.Reset(lookEvery)
			continue
		}
		failed++
		timer.Reset(lookAgain)
		if failed >= lookFails && s.cluster.Avoid(d.dsn) {
			s.log.Warn().Object("database", d.dsn).Str("err", describe(err)).Str("event", "database_avoided").Msg("database fails, another one of its cluster is used")
			failed = 0
			timer.Reset(lookEvery)
		}
	}
}

// ask asks a database once whether it takes writes.
func (b *backend) ask(ctx context.Context, d location.DSN) error {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	k, err := mysql.NewConnector(driver.Config(d, lookTime, b.cfg.Roots, maxPacket))
	if err != nil {
		return err
	}
	db := sql.OpenDB(k)
	defer func() { _ = db.Close() }() // what was asked has been answered
	vars, err := driver.Variables(ctx, db)
	if err != nil {
		return err
	}
	return usable(vars)
}

// usable tells why a server with these variables must not be written to.
func usable(vars map[string]string) error {
	if v := galera.Judge(vars, galera.Writes); v.Reason != "" {
		return fmt.Errorf("%s: %s", v.Reason, v.Detail)
	}
	if err := driver.Writable(vars); err != nil {
		return fmt.Errorf("%s: %w", driver.ReadOnly, err)
	}
	return nil
}

// settle waits until a node of a Galera cluster has all that the cluster had committed
// before, as what another node acknowledged to us.
func settle(ctx context.Context, c *sql.Conn) error {
	vars, err := driver.Variables(ctx, c)
	if err != nil {
		return err
	}
	if !galera.Member(vars) {
		return nil
	}
	if err := usable(vars); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	_, err = c.ExecContext(ctx, "SET SESSION wsrep_sync_wait = 1") // of this connection, which is not kept
	if err == nil {
		var one int
		err = c.QueryRowContext(ctx, "SELECT 1").Scan(&one)
	}
	if err != nil {
		return fmt.Errorf("wait for the changes of the cluster: %w", err)
	}
	return nil
}

// awaitOther is the database that takes the place of d, which fails, once it is in use.
// nil if there is none before ctx ends. The caller releases it.
func (b *backend) awaitOther(ctx context.Context, d *database) *database {
	if b.cluster == nil || !b.cluster.Others() {
		return nil
	}
	for {
		b.mu.Lock()
		current, moved := b.current, b.moved
		if current != nil && current != d {
			current.users++
			b.mu.Unlock()
			return current
		}
		b.mu.Unlock()
		select {
		case b.doubted <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return nil
		}
	}
}
