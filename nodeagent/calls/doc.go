// Package calls tells a proxy what it writes into the Record-Route of a call, so that
// requests within the dialog find their way when the proxy is dead: the name of a slot
// that this proxy owns, and which relay the call's media goes through.
//
// The name never ceases to exist. It leads to the proxy while it serves, with an heir for
// clients that get no answer there, and to the heir afterwards. The relay is chosen by the
// Call-ID from those that serve, so that all proxies choose the same one, and few calls
// another one when relays come and go.
//
// Everything here is a function of the status; nothing is remembered.
package calls
