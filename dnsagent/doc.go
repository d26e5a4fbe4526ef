// Package dnsagent is the authoritative name server of a network: it answers
// DNS questions over UDP and TCP with what package zone makes of the network's
// status.
//
// # The invariant
//
// DNS outlives the network. A zone, once built, is served until a newer status
// replaces it, however stale it grows and whatever dies: brokers, managers, the
// connection, this process (the status is then the last one from disk). Old news
// never replaces newer. Only before the very first status do names of the zone
// get SERVFAIL.
//
// # Layers
//
//	zone       status -> records, question -> slice      pure
//	packed     usual question -> bytes, by copying       pure
//	query.go   bytes -> query, strictly                  pure
//	reply.go   query -> bytes: header bits, EDNS, sizes  pure, given a zone
//	cookie     server cookies                            pure
//	dnssec     signatures, denial, keys                  pure, but for what was signed before
//	limit      answers a second to one network           pure, given a time
//	transfer   zone transfers, TSIG                      pure, given a zone
//	batch      many packets with one call of the system
//	udp.go tcp.go listen.go                              sockets
//	strangers.go secondary.go                            what clients and secondary servers get
//	compare    whether name servers say the same         asks them; what differs is pure
//	peers.go   compares this one with the others
//	tally.go                                             metrics
//	reload.go                                            files of secrets and keys
//	agent.go   follows the status, owns the goroutines
//
// A zone and its packed answers are one immutable value, which is swapped as a
// whole: a reply is of one status. What package packed does not answer goes the
// general path, query.go and reply.go, and so does everything over TCP but transfers (secondary.go). Tests
// compare the two on every type, header bit, form of EDNS and spelling, with signatures and without.
//
// Messages are parsed and judged here, byte by byte, and not by the server type
// of the DNS library, which answers or hides a part of the malformed ones before
// its user sees them; the library packs names and records.
//
// # What it is not
//
// It is no recursive server. It takes no zone from others, no NOTIFY and no updates;
// transfers go out to the secondary servers of its configuration only. It takes part
// in no decision about membership: it never talks to a manager.
package dnsagent
