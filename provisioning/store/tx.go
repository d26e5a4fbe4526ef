package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"time"

	"thor/provisioning/ngnpro"
)

// attempts is how often a transaction is tried that others rolled back.
const attempts = 8

// A tx is a transaction, or a single statement, that one method is made of.
type tx struct {
	ctx context.Context
	q   querier
	cfg *Config
}

type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// exec executes a statement.
func (t *tx) exec(query string, args ...any) (sql.Result, error) {
	return t.q.ExecContext(t.ctx, query, args...)
}

// affects executes a statement and tells how many rows it changed.
func (t *tx) affects(query string, args ...any) (int64, error) {
	r, err := t.exec(query, args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// each executes one statement after the other, each with args.
func (t *tx) each(args []any, queries ...string) error {
	for _, q := range queries {
		if _, err := t.exec(q, args...); err != nil {
			return err
		}
	}
	return nil
}

// row reads one row. found is false when there is none.
func (t *tx) row(query string, args, dest []any) (found bool, err error) {
	err = t.q.QueryRowContext(t.ctx, query, args...).Scan(dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// rows reads all rows; scan is called for each.
func (t *tx) rows(query string, args []any, scan func(*sql.Rows) error) error {
	rs, err := t.q.QueryContext(t.ctx, query, args...)
	if err != nil {
		return err
	}
	defer rs.Close()
	for rs.Next() {
		if err := scan(rs); err != nil {
			return err
		}
	}
	return rs.Err()
}

// write makes a change: f is all of its transaction. f may be called more than
// once and begins anew each time.
func (b *backend) write(ctx context.Context, act string, f func(*tx) error) error {
	return b.do(ctx, act, func(ctx context.Context, db *sql.DB) error { return b.transact(ctx, db, nil, f) })
}

// snapshot reads with several statements that see the same state.
func (b *backend) snapshot(ctx context.Context, act string, f func(*tx) error) error {
	o := &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	return b.do(ctx, act, func(ctx context.Context, db *sql.DB) error { return b.transact(ctx, db, o, f) })
}

// look reads with one statement.
func (b *backend) look(ctx context.Context, act string, f func(*tx) error) error {
	return b.do(ctx, act, func(ctx context.Context, db *sql.DB) error { return f(&tx{ctx: ctx, q: db, cfg: &b.cfg}) })
}

// do runs f on the current database, again where that may help, within the
// deadline of a call: on the same database, or on another one of its cluster once that
// is used. Its error is a fault.
func (b *backend) do(ctx context.Context, act string, f func(context.Context, *sql.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.Timeout)
	defer cancel()
	db, err := b.acquire()
	if err != nil {
		return &outage{act: act, fault: ngnpro.ErrUnavailable, cause: err}
	}
	defer func() { b.release(db) }()
	conflicts := false
	for n := 1; ; n++ {
		if err = f(ctx, db.db); err == nil {
			return nil
		}
		var lost *conflict
		conflicts = conflicts || errors.As(err, &lost)
		if n < attempts && transient(err) && pause(ctx, n) {
			continue
		}
		if conflicts || !elsewhere(err) {
			break
		}
		next := b.awaitOther(ctx, db)
		if next == nil {
			break
		}
		b.release(db)
		db, n = next, 0
	}
	if refused(err) {
		b.relocate()
	}
	if conflicts && elsewhere(err) {
		err = &uncertain{err}
	}
	return fail(act, err)
}

// pause waits before attempt n is followed by the next.
func pause(ctx context.Context, n int) bool {
	t := time.NewTimer(rand.N(time.Duration(n) * 10 * time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (b *backend) transact(ctx context.Context, db *sql.DB, o *sql.TxOptions, f func(*tx) error) error {
	c, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	t, err := c.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // after a commit it does nothing
	if err := f(&tx{ctx: ctx, q: t, cfg: &b.cfg}); err != nil {
		return err
	}
	if err = t.Commit(); err != nil {
		discard(c)
	}
	if o != nil && o.ReadOnly {
		return err
	}
	return committing(err)
}

// discard ends a connection whose COMMIT failed. A database that refuses one, as a node of
// a cluster that is cut off does, keeps the transaction open, and the next one on the same
// connection would commit it.
func discard(c *sql.Conn) {
	_ = c.Raw(func(any) error { return driver.ErrBadConn })
}
