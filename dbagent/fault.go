package dbagent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// A fault is why a check failed. Its text becomes the reason in the network
// status: the same for the same fault, and nothing that the server says in its
// own words. The cause is for the debug log; it never holds the password, which
// the driver's errors do not repeat.
type fault struct {
	text  string
	cause error
}

func (f *fault) Error() string { return f.text }
func (f *fault) Unwrap() error { return f.cause }

// explain finds the fault in an error of the driver.
func explain(err error) *fault {
	var f *fault
	if errors.As(err, &f) {
		return f
	}
	var server *mysql.MySQLError
	if errors.As(err, &server) {
		return &fault{text: serverFault(server.Number), cause: err}
	}
	return &fault{text: netFault(err), cause: err}
}

// serverFault names the answers of a server that an operator will meet (MySQL
// 8.0 and MariaDB error reference; the numbers agree).
func serverFault(n uint16) string {
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
		return notReadyText
	case 1053:
		return "shutting down"
	case 1142, 1143:
		return "no permission to write"
	case 1146:
		return "no such table"
	case 1290, 1792, 1836:
		return readOnlyText
	case 1205, 1213:
		return "locked"
	case 1021, 1114:
		return "full"
	}
	return fmt.Sprintf("server error %d", n)
}

const (
	readOnlyText = "takes no writes"
	notReadyText = "not ready for work" // a Galera node outside the primary component
)

// netFault names what comes between us and the server.
func netFault(err error) string {
	var (
		dns      *net.DNSError
		timeout  net.Error
		verify   *tls.CertificateVerificationError
		hostname x509.HostnameError
		remote   *net.OpError
	)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "host not found"
	case errors.As(err, &dns):
		return "host could not be looked up"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	case errors.Is(err, mysql.ErrNoTLS):
		return "does not speak TLS"
	case errors.As(err, &hostname):
		return "certificate for another name"
	case errors.As(err, &verify):
		return "certificate not valid"
	case errors.As(err, &remote) && remote.Op == "remote error":
		return "TLS handshake refused"
	case errors.Is(err, mysql.ErrMalformPkt), errors.Is(err, mysql.ErrPktSync), errors.Is(err, mysql.ErrPktSyncMul),
		errors.Is(err, mysql.ErrPktTooLarge), errors.Is(err, mysql.ErrOldProtocol):
		return notMySQL
	case errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword),
		errors.Is(err, mysql.ErrNativePassword):
		return "asks for the password in a way that is not allowed"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection broken"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return passwordText
	}
	return "failed"
}

const (
	passwordText = "the password cannot be read"
	notMySQL     = "does not speak MySQL"
)
