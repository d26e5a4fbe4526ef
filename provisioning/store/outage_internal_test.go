package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"

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
