// Package local is what a node tells the programs of its own machine: a SIP
// proxy's routing script, a provisioning tool, an operator with curl or telnet.
//
//	HTTP     GET /lookup/ROLE/KEY           JSON, or two lines of text for scripts
//	HTTP     GET /online/ROLE/ADDRESS       {"online":true}, or Yes or No
//	line     lookup ROLE for KEY            the owner's address
//	line     is_online ADDRESS as ROLE      Yes or No
//	bus      thor.node.<node>._.lookup      JSON, for operators
//
// The line service is the one that SIP Thor had on TCP port 9500. Further HTTP
// pages are added by Config.Pages.
//
// # What it keeps
//
// Every answer comes from memory, whatever becomes of the network. It listens on
// loopback unless told otherwise, since it asks for no password. A port
// that cannot be opened is tried again: the node stays a member meanwhile.
//
// # What it is not
//
// It decides nothing: package overlay does the lookup.
package local
