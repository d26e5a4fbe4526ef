// Package control is the control port of a node agent: other nodes tell it there, by
// TLS, what changed of a subscriber, and ask who watches one.
//
// A line `ID COMMAND` is a command, `ID CODE DATA` its answer. The commands, and the
// roles that may give them, are in package subjects. docs/wire.md has examples.
//
// # What it keeps
//
// Only a member of the network, by its certificate and by the status, is obeyed, and
// only in a role that the command's right names; what the lists of revocations say is
// asked for each command. One peer can neither take the connections nor the time of
// another: connections, commands at once and commands a second are bounded for each, and
// what is not understood ends the connection with one line.
//
// # What it is not
//
// It holds nothing of subscribers, and knows no watchers: both are behind its Config.
package control
