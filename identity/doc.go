// Package identity is the one place that knows what a node's certificate looks
// like: it issues, parses, verifies and revokes certificates, and makes the TLS
// configurations of every connection between nodes.
//
// # The form of a certificate
//
//	URI SAN   exactly one: spiffe://<domain>/node/<node>
//	O         exactly one: <domain>
//	OU        one relative distinguished name of its own per role, 1 to 16
//	IP SANs   the addresses the node may announce
//	DNS SANs  the host names of a broker; of no meaning on other nodes
//	EKU       clientAuth, and serverAuth too with the role thor_eventserver
//	CA        FALSE
//
// Any authority that can set these will do. [Authority] is a built-in one.
//
// # The invariant
//
// An [Identity] comes from the leaf of a verified chain only, and only if the
// whole leaf is in form: what cannot be read in exactly one way is refused, with
// an error of its own. Nothing is ever taken from an intermediate certificate.
// No TLS configuration made here speaks less than TLS 1.3, resumes a session,
// or lets a peer in whose certificate was revoked.
//
// # What it is not
//
// It grants nothing: which subjects a role may use is the broker's table. It
// sends nothing: the revocation list travels by means of others. It reads no
// clock but the system's, and knows neither NATS nor logs.
package identity
