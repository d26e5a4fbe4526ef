// Package subscribers keeps, on a node that serves subscribers, the profiles of
// those it is responsible for, so that its SIP proxy authenticates and routes
// without a database.
//
// A node is responsible for a subscriber whose owner, heir, remote or previous owner it
// is by the lookup. It learns of a change by a notice and pulls the profile from a
// provisioning server; what it was never told of it pulls when it is asked.
// When the lookup changes, the node that leaves a subscriber to another tells
// that one, which pulls it too. Profiles come as answers to requests that name this
// node: from a provisioning server or, while none answers, from the heir or the remote.
//
// # What it keeps
//
// An older revision never replaces a newer one. Once a notice is answered, every
// read here gives that revision or a newer one. What may be old, because this
// node was cut off or the subscriber was another's meanwhile, is asked for anew
// when it is read; if no server answers, it is returned and marked as stale. Profiles
// are bounded in number and on no disk. A supervisor may keep them over a restart of
// the process, see package kept: they then count as what may be old. A change that
// was acknowledged is never undone by that.
//
// # What it is not
//
// It is no store: the central database is. It decides nothing about who serves
// whom, and it holds no subscriber of others for longer than a grace period.
package subscribers
