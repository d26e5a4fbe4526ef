package soap

import (
	"fmt"
	"net/http"
)

// A Code is the class of a fault.
type Code string

// The classes of SOAP 1.1.
const (
	Client          Code = "Client"
	Server          Code = "Server"
	VersionMismatch Code = "VersionMismatch"
	MustUnderstand  Code = "MustUnderstand"
)

// A Fault is the answer to a call that did not succeed.
type Fault struct {
	Code   Code
	Name   string // faultstring
	Number int    // errorcode of the detail
	Text   string // errorstring of the detail; without it and Number there is no detail
	Status int    // of HTTP; 0: 500
}

func (f *Fault) Error() string { return fmt.Sprintf("%s: %s: %s", f.Code, f.Name, f.Text) }

// HTTPStatus is Status, or 500, which SOAP 1.1 6.2 asks for.
func (f *Fault) HTTPStatus() int {
	if f.Status == 0 {
		return http.StatusInternalServerError
	}
	return f.Status
}

// malformed is the fault of a message that is none.
func malformed(format string, args ...any) *Fault {
	return &Fault{Code: Client, Name: "MalformedMessage", Text: fmt.Sprintf(format, args...)}
}

// A ValueError says which argument of a call cannot be taken, and why. It
// repeats nothing of the value, which may be a password.
type ValueError struct {
	Path string // "account.timeout"
	Text string
}

func (e *ValueError) Error() string { return e.Path + ": " + e.Text }
