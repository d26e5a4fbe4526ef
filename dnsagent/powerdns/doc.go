// Package powerdns keeps the database of a PowerDNS server in step with the zone:
// the second output, besides answers, of what package zone makes of the network's
// status.
//
//	plan        zone, present rows -> changes       pure
//	schema.go   which tables are understood
//	session.go  a connection, and the lock that one agent of several holds
//	pass.go     one comparison and what it changes, in one transaction
//	writer.go   when passes are made; what is told of them
//	server.go   PowerDNS itself: its caches, what it answers
//
// Nothing of this is on the way of an answer of the name server: a zone is offered
// and taken when the database has time. Whatever fails is tried again.
package powerdns
