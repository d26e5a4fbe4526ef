// Package plan says which rows PowerDNS' MySQL backend should hold for a zone, and
// which changes lead there from the rows that it holds.
//
// The rows are made of the RRsets of package zone, which the name server answers
// from too: there is no second rule of what a zone has. What this package adds is
// the form of PowerDNS' tables, and how a set is drawn from that is larger than an
// answer.
//
// It does no I/O and knows no clock.
package plan
