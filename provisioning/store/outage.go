package store

import (
	"database/sql/driver"
	"errors"
	"fmt"
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
var plain = []uint16{1040, 1044, 1045, 1049, 1129, 1130, 1142, 1143, 1146, 1203, 1205, 1213, 1226, 1290, 1665, 1698, 1792, 1836}

// describe is the text of err without anything that was bound or stored.
func describe(err error) string {
	var e *mysql.MySQLError
	if !errors.As(err, &e) || slices.Contains(plain, e.Number) {
		return err.Error()
	}
	return fmt.Sprintf("error %d (%s) of the database", e.Number, e.SQLState[:])
}

// transient reports whether the transaction was rolled back and may do better
// when it is tried again.
func transient(err error) bool {
	const locked, deadlock, changed, reprepare, unknown = 1205, 1213, 1020, 1615, 1243
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return slices.Contains([]uint16{locked, deadlock, changed, reprepare, unknown}, e.Number)
	}
	var u *uncertain
	return !errors.As(err, &u) && (errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn))
}

// refused reports whether the server does not let us in or takes no writes any
// more: another one may, or another password.
func refused(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && slices.Contains([]uint16{1044, 1045, 1049, 1290, 1698, 1792, 1836}, e.Number)
}

// An uncertain error came instead of the answer to COMMIT.
type uncertain struct{ cause error }

func (u *uncertain) Error() string { return "commit: " + u.cause.Error() }
func (u *uncertain) Unwrap() error { return u.cause }

// fail makes the error of a method out of what its transaction returned.
func fail(act string, err error) error {
	var f *ngnpro.Fault
	if errors.As(err, &f) {
		return err
	}
	f = ngnpro.ErrUnavailable
	var u *uncertain
	var e *mysql.MySQLError
	if errors.As(err, &u) && !errors.As(err, &e) {
		f = errUnconfirmed
	}
	return &outage{act: act, fault: f, cause: err}
}

// duplicate reports whether a row with that key is there already.
func duplicate(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && e.Number == 1062
}
