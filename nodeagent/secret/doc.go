// Package secret proves, between the programs of one machine, that a message
// comes from a program that may read the secret's file. The secret itself is
// never sent: a port on loopback may be held by any user of the machine while
// its owner restarts.
//
// Who sends adds the header Thor-Auth: a nonce and a MAC of a kind, the nonce
// and a text.
//
//	Ask      GET of the node agent    the request target, with its query
//	Answer   of the node agent        "STATUS " and the body; the nonce is the question's
//	RPC      POST to Kamailio         the body
//
// The MAC is what Kamailio 5.6 computes with its module pv alone, in lower case
// hexadecimal digits of SHA-256 throughout:
//
//	sha256(SECRET + sha256(SECRET + KIND + " " + NONCE + " " + TEXT))
//
// The nonce begins with the time, SECONDS.MICROSECONDS since 1970, and is not
// used twice.
//
// # What it is not
//
// It hides nothing: an answer can be read by each program that may read the
// connection, which on loopback is root.
package secret
