// Package provisioning is the provisioning server: SOAP clients change domains,
// subscribers, aliases and what belongs to them; each change is saved in the
// central database first and then made known to the node that serves the
// subscriber.
//
// A change is committed in one transaction or not at all, together with the
// note that its nodes have to hear of it. A node that does not hear of it costs
// no change and fails no call: the note stays until the node holds the revision.
//
// Nothing secret is ever published: a node is told which key changed and asks
// for the profile, which only it can hear.
package provisioning
