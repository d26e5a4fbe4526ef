// Package zone makes the DNS zone of a network out of its status: one pure
// function from (configuration, status) to the records of a domain, and the
// look-up that answers one question with a fresh random slice of them.
//
// # The zone of a domain D
//
//	name             type      content                                         drawn
//	D                SOA NS    serial = generation mod 2^32
//	D                NAPTR     one per service that has one, to its SRV name
//	_sip._udp.D …    SRV       the serving members of the service's role       slice
//	proxy.D …        A AAAA    their addresses                                 slice
//	<role>.D         A AAAA    any other role, "_" written "-"                 slice
//	<node>.D         A AAAA    every member's host, and departed ones
//	configured       any       the static records
//	provisioned      any       the records of the provisioning servers, where nothing else is
//	<slot>.<role>.lookup.D     the owner of a slot of the role's lookup table:
//	                 A AAAA    its addresses
//	                 NAPTR     to the SRV names below, as at D
//	_sip._udp.<slot>.<role>.lookup.D …
//	                 SRV       the owner, and heir and remote at higher priority numbers
//
//	<name>.all.D      as <name>.D  all serving members of a role, for monitoring; those after
//	                 the first 100 at <name>.2.all.D, <name>.3.all.D, …
//
// <slot> is the number of a subscriber's slot in base32hex, lower case, with
// leading zeros: 4 digits for 2^18 slots. There are too many of these names to
// write them down, so they and those below all.D are made when asked for, and Names
// has only <role>.lookup.D and all.D.
//
// The slice follows SipThorDescription, "Load sharing": a random, limited part
// of the records of the members that are online, drawn anew for every answer,
// over every transport. At the names that clients use a set is therefore never exposed
// whole when it is larger than its slice: resolvers refuse sets of more than 100
// records, and small SIP clients read eight.
//
// # The invariant
//
// The same configuration and the same status give the same zone, byte for
// byte, everywhere and at any time. Nothing here reads a clock, a file or the
// network; a [Zone] is immutable once built, and safe for concurrent use.
//
// A name that the configuration knows never ceases to exist: a service whose
// role has no serving member answers without records, since clients keep the
// answer "no such name" for up to an hour.
//
// # What it is not
//
// It knows no messages, header bits, sizes or sockets: package dnsagent does.
package zone
