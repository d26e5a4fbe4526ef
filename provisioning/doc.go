// Package provisioning is the provisioning server: SOAP clients change domains,
// subscribers, aliases and what belongs to them; each change is saved in the
// central database first and then pushed to the nodes that hold the subscriber.
//
// A change is committed in one transaction or not at all, together with the note
// that its push is outstanding. A node that cannot be reached costs no change and
// fails no call: the note stays until the node holds the revision.
//
// The operations are a table, one row each: newPorts. The WSDL, the dispatcher
// and the audit log are made of it.
package provisioning
