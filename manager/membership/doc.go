// Package membership decides who is a member. It turns what members announce,
// what brokers report about their connections, and the passing of time into
// the roles and departed nodes of the status.
//
// # The invariant
//
// A member that beats is never taken out, except at its own request (leave, or a
// failed check while others are up), by the loss of the connection it beats
// through, or by revocation. A role is never emptied by failure, only by
// leaving or revocation (but for thor_monitor, on which nothing depends). The
// same calls give the same bytes: there is no
// clock, no randomness and no I/O in here, and map order never shows.
//
// # How a member is judged
//
// A member is one (node, role); its instance is told by the boot. What it is in
// the status follows from three things:
//
//	intent    up, draining or leave       leave takes it out at once, even as the last of its role
//	health    down means a failed check   out while another member of the role is up, else suspect
//	liveness  silence, or DISCONNECT      as health, but silence is subject to the guards
//
// A member whose first announcement is "down" joins only a role that has no member at
// all, as suspect: a wrong address lets a client retry, no address is cached.
// A draining member that fails stays draining: the operator's wish outranks.
//
// # What a member may claim
//
// With Config.Identities, addresses, weight and priority are held against what
// brokers say of certificates. A new or wider claim waits for such a message; a
// member in the status keeps what it has there for want of one. A revoked
// certificate takes its members out, dead ones too.
//
// # The guards
//
// Silence usually is the observer's fault or the network's, so it is doubted
// (the numbers are those of the project's reliability rules):
//
//	G2 last_member  a role's last members stay as suspect, whatever they died of
//	G3 panic        many nodes of a role, or of all, silent at once: wait, then let them go one by one
//	G4 observer     this observer was paused, cut off or just began: silence proves nothing yet
//	G5 broker       all members on one broker are silent: they get time to reconnect elsewhere
//	G6 damping      who keeps leaving and joining re-enters only after a time of steady beats
//
// DISCONNECT from a living broker is proof and passes all guards but G2. What
// came through that connection and is taken in later counts for nothing, and the
// silence of a node after it is no cause for G3: a client that brokers cut off
// must not hold back the removal of others.
//
// # What it is not
//
// It does not publish, number generations, or elect. It trusts that an
// announcement came on its own subject and passed Check. A Table is not safe
// for concurrent use: one loop owns it. That loop must ask Next after each call
// and call Advance then. Next is at most a second ahead: a gap of more than two
// is taken for a pause of the loop (G4).
package membership
