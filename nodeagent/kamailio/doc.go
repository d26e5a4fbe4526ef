// Package kamailio speaks to a Kamailio beside the node agent by JSON-RPC over HTTP. It
// asks who is registered there, and answers the provisioning server's questions with
// that; and it has the calls by which package live keeps sets of members there.
//
// It needs Kamailio's modules xhttp and jsonrpcs; for registrations usrloc with
// use_domain, since accounts are counted by domain.
package kamailio
