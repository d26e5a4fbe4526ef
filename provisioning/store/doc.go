// Package store keeps what is provisioned in a MySQL or MariaDB database: a
// Store has one type for each kind of record, all of them on one connection pool.
//
// Each method is one transaction with a deadline: all of it is saved or nothing,
// and a database that is dead or hangs is an ngnpro.ErrUnavailable in time. The
// tables are thor's own model, in the shape that the public clients of SIP
// Thor's database read (sip_accounts, sip_domains, sip_trusted), and beside it a
// projection for Kamailio and OpenSIPS, written in the same transactions and
// never read back.
//
// A change of a subscriber gives its key the next revision as the last thing
// before the commit. Revisions are numbered under the lock of one row, so they
// become visible in their order: a reader of revision N has seen all before.
//
// Statements are constants, or put together from constants; values are bound as
// parameters of prepared statements, always.
package store
