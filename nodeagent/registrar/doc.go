// Package registrar answers what the provisioning server asks of a node: how many
// subscribers are registered with its SIP proxies, and where one is. It owns what a contact
// of a proxy means for the network; how a proxy is asked, packages kamailio and opensips know.
package registrar
