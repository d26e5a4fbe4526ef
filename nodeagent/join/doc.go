// Package join is how a program of this machine becomes a member without speaking NATS,
// and learns who the others are: HTTP on the node agent's Unix socket, with a connection
// that stays open.
//
//	POST /join/ROLE       the connection is the program's presence in the role
//	GET  /members         who is there, and each change, without joining
//	GET  /members/ROLE    the same of one role
//	GET  /database/ROLE   where the central database is, if ROLE is cleared for it
//
// Both directions are lines of JSON. docs/wire.md has them, with examples for curl.
//
// # What it keeps
//
// A role has one program. A program that ends is down at once, one that stands still
// after SilentAfter, and then another one may join. What it says beyond the bounds ends
// its own connection with one line that says why.
//
// # What it is not
//
// It decides nothing: nodeagent announces, the certificate and the manager decide what
// counts. Who may open the socket is decided by package local.
package join
