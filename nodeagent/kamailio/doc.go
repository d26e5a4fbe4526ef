// Package kamailio asks a Kamailio beside the node agent who is registered with
// it, by JSON-RPC over HTTP, and answers the provisioning server's questions
// with that.
//
// It needs Kamailio's modules xhttp, jsonrpcs and usrloc, the last with
// use_domain, since accounts are counted by domain. It changes nothing there.
package kamailio
