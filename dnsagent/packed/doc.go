// Package packed answers the usual questions about a zone by copying bytes: what
// an answer holds is packed once, when the zone is built, and only the header, the
// question and the draw are made for each query. Nothing is allocated for an
// answer.
//
// # The invariant
//
// A reply made here says what the general path of package dnsagent says to the
// same request, with the same draw. What is not usual is not answered here but
// left to that path: other opcodes and classes, more than one OPT record,
// transfers, ANY, CNAMEs, names that a zone makes when they are asked for, any
// EDNS option but one cookie, whatever does not fit the client's size without
// its glue, and in a signed zone what has no signature yet and names that do not exist.
//
// # Names
//
// Every packed record begins with a pointer to the question. Names behind it
// point into the question too, or to the target of an SRV record before them:
// their places depend on the length of the asked name alone, which one name of the
// zone always has, in whatever case it is asked.
//
// # What it is not
//
// It knows no sockets and no clock. A [Zone] is immutable and safe for concurrent
// use; a [Writer] is of one goroutine.
package packed
