// Package lookup says which node of a role serves a subscriber: a pure function
// of the members, their weights, the number of slots and the key.
//
// It is weighted rendezvous hashing over a fixed number of slots. A key falls
// into a slot by its hash; for each slot every member draws a number, and the
// best draw, divided by weight, owns the slot. The second best is the heir, who
// owns the slot once the owner has left; the remote is the first in rank in another site
// than the owner, for the loss of a whole site. A [Table] is that function written down
// for all slots, so that a lookup is one hash and one array read.
//
// # What it keeps
//
// Nothing but the arguments counts: no history, no order of joins, no floating
// point, so that every process and language with the same members names
// the same node. A slot moves only to a member that joined or gained weight, or
// away from one that left or lost some: never between two others. The function
// is version 1 and frozen by its test vectors, testdata/vectors-v1.json, and version 2
// with the remotes, which leaves all else as it is (vectors-v2.json); a table has a
// digest for each by which two processes find out that they differ.
//
// # What it is not
//
// It knows no network, clock, log or status history; package overlay does. It
// does not balance by load: weights are for that.
package lookup
