// Package live keeps the sets of the SIP proxies beside the node agent in step with the
// network status, as package sets decides: it writes files and calls the proxy by
// JSON-RPC.
//
// # What it keeps
//
// Only a status that an active manager confirms is acted on: with none, one of an
// earlier run or a stale one everything stays as it is. The file is written before
// Kamailio is told, so that a Kamailio that starts has what it would be told. Each table
// of each Kamailio has a goroutine of its own: one that refuses or hangs holds up no other.
package live
