// Package ngnpro is the contract of the provisioning interface: the records,
// queries and faults that SOAP clients of AG Projects' NGNPro exchange, as far
// as its public clients show them, and what a valid one is.
//
// Each type of record has one Clean, which brings what a client sent into the one
// form that is stored, and refuses what cannot be: names in lower case, texts
// within the widths of the schema, lists sorted where their order means nothing.
// CleanNew is Clean for a record that is to be added; it sets the defaults. Their
// error is ErrInvalid, with a text that names the field and repeats no secret.
// Nothing behind it checks again: the store decides what takes the database to
// know, such as whether a record exists and to whom it belongs.
//
// The package is pure: no I/O, no database, no SOAP.
package ngnpro

// Field tags: `soap:"name"` is the element on the wire; ",ro" marks what the
// server sets and ignores when a client echoes it; rule is what a valid value is
// (see fields). A nil pointer or nil slice is "not given": an update leaves that
// field as it is, and an answer leaves the element nil. Names, ranges and meanings
// come from the public clients of NGNPro; what those do not tell is ours, and said
// so.
