// Package sets decides what the sets of a Kamailio or an OpenSIPS should hold, from the network
// status: the groups of its module dispatcher, the sets of its module rtpengine and
// the groups of addresses of its module permissions. It is pure: package live writes
// the files and calls Kamailio.
//
// # What it keeps
//
// A set is never emptied: of a role without members it stays as it is. A role loses
// its last member by mistakes of its checks, or by an operator who knows; in neither
// case does an empty set help a call.
//
// An entry of a set has an address, a state that Kamailio can be told alone, and the
// rest of its line. Where only states differ, Kamailio need not reload.
package sets
