// Package dnssec signs the answers of a zone when they are asked for (RFC 4035), and
// denies names and types by compact denial of existence (RFC 9824).
//
// # What is signed when
//
// Nothing is signed before it is asked for by a client that wants signatures. A
// signature of a whole set is kept as long as its [Zone]. A set of which answers hold a
// slice has too many slices to sign, so it has a pool of them: each place of the pool
// holds one slice, drawn and signed when it is first asked for, and drawn anew after
// the set's TTL. A client that asks again later than that so gets another draw.
//
// A name that does not exist is denied by a record made for that name, which cannot be
// kept.
//
// # The invariant
//
// A signature is never sent that ends within two days, and none that began less than
// three hours ago: clocks may differ by that much. Keys are not changed here.
//
// # What it is not
//
// It knows no messages and no files, and it reads no clock. A [Zone] is safe for
// concurrent use.
package dnssec
