package driver

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"thor/dbagent/location/galera"
)

// What a server or the way to it is found to be.
const (
	ReadOnly = "takes no writes"
	NotReady = galera.NotReady // what a Galera node answers that refuses to work
	NotMySQL = "does not speak MySQL"
)

// FaultText names the fault in an error of the driver, as a client of a database sees
// it: "" for those that package check explains. The driver's errors do not repeat the
// password.
func FaultText(err error) string {
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return ServerFault(server.Number)
	}
	return driverFault(err)
}

// ServerFault names the answers of a server that an operator will meet (MySQL
// 8.0 and MariaDB error reference; the numbers agree).
func ServerFault(n uint16) string {
	switch n {
	case 1044:
		return "no access to this database"
	case 1045, 1698:
		return "user or password refused"
	case 1049:
		return "no such database"
	case 1040, 1203, 1226:
		return "too many connections"
	case 1129, 1130:
		return "this host is not allowed to connect"
	case 1047:
		return NotReady
	case 1053:
		return "shutting down"
	case 1142, 1143:
		return "no permission to write"
	case 1146:
		return "no such table"
	case 1290, 1792, 1836:
		return ReadOnly
	case 1205, 1213:
		return "locked"
	case 1021, 1114:
		return "full"
	}
	return fmt.Sprintf("server error %d", n)
}

// driverFault names what comes between us and the server, as a client of a database
// sees it; "" for what check.Explain names.
func driverFault(err error) string {
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return "does not speak TLS"
	case errors.Is(err, mysql.ErrMalformPkt), errors.Is(err, mysql.ErrPktSync), errors.Is(err, mysql.ErrPktSyncMul),
		errors.Is(err, mysql.ErrPktTooLarge), errors.Is(err, mysql.ErrOldProtocol):
		return NotMySQL
	case errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword),
		errors.Is(err, mysql.ErrNativePassword):
		return "asks for the password in a way that is not allowed"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection broken"
	}
	return ""
}
