package check

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// A Fault is why a probe failed. Its text becomes the reason in the network status, so
// the same fault has the same text on every probe: no port that changes, no time,
// nothing that the service says in its own words, no secret. The cause is for the
// debug log; it holds no secret either.
type Fault struct {
	Text  string
	Cause error
}

func (f *Fault) Error() string { return f.Text }
func (f *Fault) Unwrap() error { return f.Cause }

// NoAnswer is the text of the fault that a timeout is.
const NoAnswer = "no answer"

// Explain finds the fault in an error: the one it wraps, or that of an error of the
// net, tls and os packages.
func Explain(err error) *Fault {
	var f *Fault
	if errors.As(err, &f) {
		return f
	}
	return &Fault{Text: faultText(err), Cause: err}
}

func faultText(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "unreachable"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EINVAL):
		return "address not usable from here"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "out of file descriptors"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "host not found"
	case errors.As(err, &dns):
		return "host could not be looked up"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return NoAnswer
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection closed without an answer"
	case errors.Is(err, fs.ErrNotExist):
		return "not found"
	case errors.Is(err, fs.ErrPermission):
		return "not permitted"
	}
	return tlsFaultText(err)
}

// tlsFaultText tells the faults of TLS apart. The texts of the standard library hold
// the time of day.
func tlsFaultText(err error) string {
	var (
		unknownCA x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		remote    *net.OpError
		verify    *tls.CertificateVerificationError
	)
	switch {
	case errors.As(err, &unknownCA):
		return "certificate of an unknown authority"
	case errors.As(err, &hostname):
		return "certificate for another name"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "certificate not valid at this time"
	case errors.As(err, &invalid), errors.As(err, &verify):
		return "certificate not valid"
	case errors.As(err, &record):
		return "does not speak TLS"
	case errors.As(err, &remote) && remote.Op == "remote error": // an alert, says crypto/tls
		return "TLS handshake refused"
	}
	return "failed"
}
