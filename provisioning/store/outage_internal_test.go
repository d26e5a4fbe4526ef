package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location"
	"thor/provisioning/ngnpro"
)

// What becomes of a call by what its transaction or its COMMIT was answered: tried again
// at the same server, done by another node of the cluster, or told as what it is.
func TestOutcomes(t *testing.T) {
	server := func(n uint16) error { return fmt.Errorf("exec: %w", &mysql.MySQLError{Number: n}) }
	refusedDial := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		name             string
		err              error
		commit           bool // it answered COMMIT
		again, elsewhere bool
		fault            *ngnpro.Fault
	}{
		{name: "deadlock", err: server(1213), again: true, fault: ngnpro.ErrUnavailable},
		{name: "lock not had in time", err: server(1205), again: true, fault: ngnpro.ErrUnavailable},
		{name: "statement forgotten", err: server(1243), again: true, fault: ngnpro.ErrUnavailable},
		{name: "connection lost", err: driver.ErrBadConn, again: true, elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "connection broke in a statement", err: mysql.ErrInvalidConn, again: true, elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "nothing listens", err: refusedDial, elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "Galera node without its cluster", err: server(1047), elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "server ends", err: server(1053), elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "full", err: server(1040), elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "read-only", err: server(1290), elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "syntax", err: server(1064), fault: ngnpro.ErrUnavailable},
		{name: "time over", err: context.DeadlineExceeded, fault: ngnpro.ErrUnavailable},
		{name: "client's mistake", err: ngnpro.ErrAccountExists, fault: ngnpro.ErrAccountExists},

		{name: "commit: conflict", err: server(1213), commit: true, again: true, fault: ngnpro.ErrUnavailable},
		{name: "commit: conflict in Group Replication", err: server(3101), commit: true, again: true, fault: ngnpro.ErrUnavailable},
		{name: "commit: refused before it began", err: server(1047), commit: true, elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "commit: read-only by now", err: server(1290), commit: true, elsewhere: true, fault: ngnpro.ErrUnavailable},
		{name: "commit: cluster lost meanwhile", err: server(1180), commit: true, fault: errUnconfirmed},
		{name: "commit: hook of Group Replication failed", err: server(3100), commit: true, fault: errUnconfirmed},
		{name: "commit: interrupted", err: server(1317), commit: true, fault: errUnconfirmed},
		{name: "commit: server ends", err: server(1053), commit: true, fault: errUnconfirmed},
		{name: "commit: lock not had in time", err: server(1205), commit: true, fault: errUnconfirmed},
		{name: "commit: connection lost", err: driver.ErrBadConn, commit: true, fault: errUnconfirmed},
		{name: "commit: connection broke", err: mysql.ErrInvalidConn, commit: true, fault: errUnconfirmed},
		{name: "commit: time over", err: context.DeadlineExceeded, commit: true, fault: errUnconfirmed},
	} {
		err := c.err
		if c.commit {
			err = committing(err)
		}
		if transient(err) != c.again {
			t.Errorf("%s: tried again is %v", c.name, !c.again)
		}
		if elsewhere(err) != c.elsewhere {
			t.Errorf("%s: done elsewhere is %v", c.name, !c.elsewhere)
		}
		var got *ngnpro.Fault
		if !errors.As(fail("act", err), &got) || got != c.fault {
			t.Errorf("%s: %v, want %v", c.name, got, c.fault)
		}
	}
	if committing(nil) != nil {
		t.Error("an answered COMMIT is an error")
	}
}

// others is a cluster in which there is another database.
type others struct{ there bool }

func (o others) Others() bool            { return o.there }
func (o others) Avoid(location.DSN) bool { return o.there }

// Where a call is tried again, and what it is told in the end.
func TestCallsMoveOnlyIfNothingWasDone(t *testing.T) {
	server := func(n uint16) error { return &mysql.MySQLError{Number: n} }
	conflict, notReady := committing(server(1213)), server(1047)
	for _, c := range []struct {
		name    string
		cluster bool
		answers []error // of the transaction, one after the other; then nil
		want    error
		moved   bool
	}{
		{name: "well"},
		{name: "conflict, then well", answers: []error{conflict}},
		{name: "refused", answers: []error{notReady}, want: ngnpro.ErrUnavailable},
		{name: "refused, another node", cluster: true, answers: []error{notReady}, moved: true},
		{name: "connection lost and nothing listens, another node", cluster: true, answers: []error{driver.ErrBadConn, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}, moved: true},
		{name: "commit not answered", cluster: true, answers: []error{committing(driver.ErrBadConn)}, want: errUnconfirmed},
		{name: "commit open", cluster: true, answers: []error{committing(server(1180))}, want: errUnconfirmed},
		{name: "conflict, then the node works no more", cluster: true, answers: []error{conflict, notReady}, want: errUnconfirmed},
		{name: "conflict, another node, conflict", cluster: true, answers: []error{notReady, conflict}, moved: true},
		{name: "a mistake of the client's", cluster: true, answers: []error{ngnpro.ErrAccountExists}, want: ngnpro.ErrAccountExists},
	} {
		first, second := &database{db: &sql.DB{}}, &database{db: &sql.DB{}}
		b := &backend{cfg: Config{Timeout: time.Minute}, again: make(chan struct{}, 1), doubted: make(chan struct{}, 1), moved: make(chan struct{}), current: first}
		b.cluster = others{c.cluster}
		done := make(chan struct{})
		go func() { // as Run does once a call doubts the database
			defer close(done)
			if _, doubted := <-b.doubted; doubted {
				b.mu.Lock()
				b.current = second
				close(b.moved)
				b.moved = make(chan struct{})
				b.mu.Unlock()
			}
		}()
		n, moved := 0, false
		err := b.do(context.Background(), "act", func(_ context.Context, db *sql.DB) error {
			moved = db == second.db
			if n < len(c.answers) {
				n++
				return c.answers[n-1]
			}
			return nil
		})
		close(b.doubted)
		<-done
		var got *ngnpro.Fault
		if c.want == nil && err != nil || c.want != nil && (!errors.As(err, &got) || got != c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if moved != c.moved || n != len(c.answers) {
			t.Errorf("%s: ended at the other node: %v, after %d answers", c.name, moved, n)
		}
		if first.users != 0 || second.users != 0 {
			t.Errorf("%s: %d and %d calls are left", c.name, first.users, second.users)
		}
	}
}
