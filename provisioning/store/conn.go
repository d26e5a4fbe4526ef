package store

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/go-sql-driver/mysql"
)

// maxStatements is how many prepared statements a connection keeps. There are
// about a hundred fixed ones; lists with filters make the rest.
const maxStatements = 256

// setup is executed once on each connection. Reading committed rows, a
// transaction that waited for a row's lock sees what the other one wrote.
const setup = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

// A connector makes connections that keep their prepared statements, and whose
// transactions end in time.
type connector struct{ driver.Connector }

// mysqlConn is what the driver's connections can do.
type mysqlConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	dc, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	mc, ok := dc.(mysqlConn)
	if !ok {
		return nil, errors.Join(errors.New("store: the driver lacks a part of its interface"), dc.Close())
	}
	if _, err := mc.ExecContext(ctx, setup, nil); err != nil {
		return nil, errors.Join(err, dc.Close())
	}
	return &conn{mysqlConn: mc, stmts: make(map[string]statement)}, nil
}

// A conn is a connection. database/sql uses it from one goroutine at a time.
type conn struct {
	mysqlConn
	stmts map[string]statement
	open  bool // a transaction may be, which did not end as it should
}

// IsValid reports whether the connection may be used again.
func (c *conn) IsValid() bool { return !c.open && c.mysqlConn.IsValid() }

type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// prepared is the statement of query. No rows of another one are being read.
func (c *conn) prepared(ctx context.Context, query string) (statement, error) {
	if st, ok := c.stmts[query]; ok {
		return st, nil
	}
	if len(c.stmts) >= maxStatements {
		for _, st := range c.stmts {
			_ = st.Close() // what is left of it on the server ends with the connection
		}
		clear(c.stmts)
	}
	ds, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	st, ok := ds.(statement)
	if !ok {
		return nil, errors.Join(errors.New("store: the driver lacks a part of its interface"), ds.Close())
	}
	c.stmts[query] = st
	return st, nil
}

// forget drops a statement that the server does not know any more.
func (c *conn) forget(query string, err error) {
	const unknown, changed = 1243, 1615
	var e *mysql.MySQLError
	if errors.As(err, &e) && (e.Number == unknown || e.Number == changed) {
		delete(c.stmts, query)
	}
}

// ExecContext executes a prepared statement.
func (c *conn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	st, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := st.ExecContext(ctx, args)
	c.forget(query, err)
	return r, err
}

// QueryContext executes a prepared statement that returns rows.
func (c *conn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	st, err := c.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	r, err := st.QueryContext(ctx, args)
	c.forget(query, err)
	return r, err
}

// BeginTx begins a transaction that ends with ctx.
func (c *conn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	if _, err := c.mysqlConn.BeginTx(ctx, o); err != nil {
		return nil, err
	}
	return &driverTx{c: c, ctx: ctx}, nil
}

// A driverTx ends by its context: the driver's own would wait for a server that
// hangs. A connection on which it could not be ended is closed, and the server
// rolls back: the next transaction on it would commit what there is.
type driverTx struct {
	c   *conn
	ctx context.Context
}

func (t *driverTx) Commit() error   { return t.end("COMMIT") }
func (t *driverTx) Rollback() error { return t.end("ROLLBACK") }

func (t *driverTx) end(how string) error {
	_, err := t.c.mysqlConn.ExecContext(t.ctx, how, nil)
	t.c.open = err != nil
	return err
}
