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
// # The states of a member
//
// A member is one (node, role); its process is told by the boot. What happens
// leads from state to state (a dot: it stays; -: it cannot happen). A test reads
// this table:
//
//	state      in the status  beat  beat "down"  connection ended  its grace over  silent for Dead  leave  adopted: listed  adopted: not listed
//	none       no             up    failing      .                 -               -                .      inherited        .
//	up         yes            .     failing      closing           lost            silent           left   .                .
//	inherited  yes            up    failing      .                 -               silent           left   .                dropped
//	closing    yes            up    failing      .                 lost            lost             left   .                .
//	failing    held or no     up    .            .                 lost            silent           left   .                .
//	lost       held or no     up    failing      .                 -               .                left   .                .
//	silent     held or no     up    failing      .                 lost            .                left   inherited        .
//	held down  no             .     failing      closing           lost            silent           left   up               .
//	left       no             up    failing      .                 -               .                .      .                .
//	revoked    no             .     .            .                 -               .                .      .                .
//	dropped    no             up    failing      .                 .               .                left   inherited        .
//
// Who is held is shown as suspect, or as draining where an operator drains it.
// A beat leads to held down instead of up when guard G6 says so. Through the same
// connection it does not end closing: it may have been on its way. "Grace over"
// proves nothing where the broker gave the connection up and doubt remains (see
// unsure): then silence decides. A lost, silent or leaving process hands over to
// one that it had replaced and that still announces (see contender). A certificate
// that is revoked leads from everywhere to revoked. The end of a connection that the
// process had said it leaves (Moves) leads nowhere: its silence decides. The columns of an adopted status
// are those of a table that has heard all itself; one that missed something takes
// over more (see adopt, dropUnlisted).
//
// A broker that another one names, which is heard, does not fall silent, and comes back from
// silent and dropped: a route is cut, not the broker (see named, hearsay).
//
// # The verdict
//
// Failing, lost and silent members are judged with their role, by one function,
// judge: each goes now or is held by a guard until it is judged again. A failure
// is proven if the member said so or its connection ended, and this observer heard
// all since; silence never is. The guards, in the order in which they are asked:
//
//	guard        raised when                                        holds                 ends
//	last_member  G2: no member of the role is up                    all that failed       when one is up; for what is not proven Dead later
//	checks       more than half of the role, three at least, fail   failing ones          under half for 30 s
//	             their checks within a minute
//	hold         an operator says so                                failing, silent ones  when none fails, or after a day
//	observer     G4: this observer was paused, cut off or began     what is not proven    Dead and 2 s later
//	panic        G3: many nodes of a role, or of all, silent at     what is not proven    after 30 s one goes each 10 s while the others
//	             once                                                                     are well and half of the role stays
//
// Before that, silence alone does not count while
//
//	observer     G4, as above
//	broker       G5: all members on one broker are silent           theirs                when they had Dead and 1.5 s to reconnect
//	site         all nodes of one site are silent, and of each      theirs, also instead  Dead and 5 s after the last beat of the site, if
//	             other site half are heard                          of panic              no other manager hears it; with the first beat
//
// And out of the status, though it beats, is held by
//
//	damping      G6: it left and came back too often                one member            after a time of steady beats
//
// An operator's Confirm passes all but G2. G1 (an observer keeps the last status),
// G7 (a term fences), G8 (no clock of two hosts is compared) and G9 (jitter) are
// rules elsewhere, without a state here.
//
// G3 counts machines, by the addresses of the status: one whose nodes are all silent is one
// loss, and one whose nodes all beat could be one. Of a machine in part silent each node counts.
//
// A site is one failure (ADR 71): its members go in one call, their loss and return is no
// flap (G6), and they count to no mass silence (G3). Only sites count that certificates
// name, or that the configuration trusts.
//
// What came through an ended connection and is taken in later counts for nothing, and the
// silence of a node after it is no cause for G3: a client that brokers cut off
// must not hold back the removal of others.
//
// A member whose first announcement is "down" joins only a role that has no member at
// all, as suspect: a wrong address lets a client retry, no address is cached.
//
// # What a member may claim
//
// With Config.Identities, addresses, weight and priority are held against what
// brokers say of certificates. A new or wider claim waits for such a message; a
// member in the status keeps what it has there for want of one. A revoked
// certificate takes its members out, dead ones too.
//
// # What it is not
//
// It does not publish, number generations, or elect. It trusts that an
// announcement came on its own subject and passed Check. A Table is not safe
// for concurrent use: one loop owns it. That loop must ask Next after each call
// and call Advance then. Next is at most a second ahead: a gap of more than two
// is taken for a pause of the loop (G4).
package membership
