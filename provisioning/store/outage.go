package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/go-sql-driver/mysql"

	"thor/provisioning/ngnpro"
)

// An outage is what the database did not do. To a client it is the fault; the
// cause is for the log.
type outage struct {
	act   string
	fault *ngnpro.Fault
	cause error
}

// errUnconfirmed is an ngnpro.ErrUnavailable of a change that may be there.
var errUnconfirmed = ngnpro.ErrUnavailable.With("the database did not confirm the change, which is made as a whole or not at all: look, and try again")

func (o *outage) Error() string { return o.act + ": " + describe(o.cause) }

func (o *outage) Unwrap() []error { return []error{o.fault, o.cause} }

// plain are the server's errors whose texts name no values. Those of others may
// repeat what is in a row or in a statement.
var plain = []uint16{
	1040, 1044, 1045, errNotReady, 1049, errShutdown, 1129, 1130, 1142, 1143, 1146, 1180, 1203, errLocked, errDeadlock, 1226, errReadOnly,
	1665, 1698, errTxReadOnly, errROMode, 3100, errGroup,
}

// describe is the text of err without anything that was bound or stored.
func describe(err error) string {
	var e *mysql.MySQLError
	if !errors.As(err, &e) || slices.Contains(plain, e.Number) {
		return err.Error()
	}
	return fmt.Sprintf("error %d (%s) of the database", e.Number, e.SQLState[:])
}

// errno is the number of the server's error in err, 0 if there is none.
func errno(err error) uint16 {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// The server's errors on which a decision depends (MySQL 8.0 and MariaDB 10.11).
const (
	errLocked     = 1205 // waited too long for a row
	errDeadlock   = 1213 // and what fails certification in a Galera cluster
	errChanged    = 1020
	errReprepare  = 1615
	errUnknown    = 1243 // prepared statement
	errNotReady   = 1047 // a Galera node that refuses all work: nothing was begun
	errShutdown   = 1053
	errGroup      = 3101 // what fails certification in MySQL's Group Replication
	errReadOnly   = 1290
	errTxReadOnly = 1792
	errROMode     = 1836
)

// transient reports whether the transaction was rolled back and may do better
// when it is tried again.
func transient(err error) bool {
	var u *uncertain
	if errors.As(err, &u) {
		return false
	}
	return slices.Contains([]uint16{errLocked, errDeadlock, errChanged, errReprepare, errUnknown, errGroup}, errno(err)) || broken(err)
}

func broken(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

// refused reports whether the server does not let us in or takes no writes any
// more: another one may, or another password.
func refused(err error) bool {
	return slices.Contains([]uint16{1044, 1045, 1049, errReadOnly, 1698, errTxReadOnly, errROMode}, errno(err))
}

// elsewhere reports whether nothing was done, for sure, and another node of the same
// cluster may do it.
func elsewhere(err error) bool {
	var u *uncertain
	var dial *net.OpError
	if errors.As(err, &u) {
		return false
	}
	full := []uint16{1040, 1203}
	return slices.Contains(append(full, errNotReady, errShutdown, errReadOnly, errTxReadOnly, errROMode), errno(err)) || broken(err) || errors.As(err, &dial)
}

// An uncertain error came instead of the answer to COMMIT, or is an answer that
// leaves open what became of the transaction.
type uncertain struct{ cause error }

func (u *uncertain) Error() string { return "commit: " + u.cause.Error() }
func (u *uncertain) Unwrap() error { return u.cause }

// A conflict is the answer to COMMIT that the transaction lost against another one and
// was rolled back. In a Galera cluster it is also what a node answers that loses its
// cluster while it resolves a conflict (wsrep-lib, transaction::certify_commit): then
// the others may have committed. So it is tried again at the same node only, which
// answers nothing but errNotReady in that case.
type conflict struct{ cause error }

func (c *conflict) Error() string { return "commit: " + c.cause.Error() }
func (c *conflict) Unwrap() error { return c.cause }

// committing is the error of a transaction whose COMMIT was answered by err, nil or
// not. A Galera node that loses its cluster answers 1180 while the others may have the
// transaction or not; so do other errors leave it open unless they are known to come
// before the commit.
func committing(err error) error {
	switch errno(err) {
	case errDeadlock, errGroup:
		return &conflict{err}
	case errNotReady, errReadOnly, errTxReadOnly, errROMode:
		return err
	}
	if err == nil {
		return nil
	}
	return &uncertain{err}
}

// fail makes the error of a method out of what its transaction returned.
func fail(act string, err error) error {
	var f *ngnpro.Fault
	if errors.As(err, &f) {
		return err
	}
	f = ngnpro.ErrUnavailable
	var u *uncertain
	if errors.As(err, &u) {
		f = errUnconfirmed
	}
	return &outage{act: act, fault: f, cause: err}
}

// duplicate reports whether a row with that key is there already.
func duplicate(err error) bool {
	return errno(err) == 1062
}
