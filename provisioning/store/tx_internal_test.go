package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
)

var errCommit = errors.New("commit refused")

// A refusing is a database that refuses to commit. It counts its connections.
type refusing struct{ opened, closed int }

func (r *refusing) Connect(context.Context) (driver.Conn, error) { r.opened++; return r, nil }
func (r *refusing) Driver() driver.Driver                        { return nil }
func (r *refusing) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (r *refusing) Begin() (driver.Tx, error)                    { return r, nil }
func (r *refusing) Commit() error                                { return errCommit }
func (r *refusing) Rollback() error                              { return nil }
func (r *refusing) Close() error                                 { r.closed++; return nil }

// The connection of a COMMIT that is refused holds an open transaction: the next one
// there would commit it.
func TestAConnectionThatRefusedACommitIsNotUsedAgain(t *testing.T) {
	r := &refusing{}
	db := sql.OpenDB(r)
	defer db.Close()
	for n := 1; n <= 2; n++ {
		err := new(backend).transact(t.Context(), db, nil, func(*tx) error { return nil })
		if !errors.Is(err, errCommit) {
			t.Fatal(err)
		}
		if r.opened != n || r.closed != n {
			t.Errorf("after %d refusals %d connections were opened, %d closed", n, r.opened, r.closed)
		}
	}
	fails := errors.New("fails")
	for range 2 {
		if err := new(backend).transact(t.Context(), db, nil, func(*tx) error { return fails }); !errors.Is(err, fails) {
			t.Fatal(err)
		}
	}
	if r.opened != 3 || r.closed != 2 {
		t.Errorf("what was rolled back ended connections: %d opened, %d closed", r.opened, r.closed)
	}
}
