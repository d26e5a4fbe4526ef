// Package core decides what one manager of the network does: it takes in what
// members, brokers and other managers report, and says what is to be published,
// stored and logged. It has no goroutine, no channel, no connection, no file and
// no clock: the same calls give the same outputs. Package manager is its shell.
//
// # Inputs
//
// Each input is a method of [Manager], most with a value and the time at which it is
// taken in, by the manager's own clock, which must not go back:
//
//	Announce, Disconnect, Revoked, Cut, Identity,   what members and brokers report
//	RevokeCertificates, BrokerAlone, Refuse
//	Follow, Confirm                                 the status that this process's tracker holds; that it is the current one
//	Heard                                           what another manager hears, when it was asked
//	Stored, Told                                    what the store and other managers hold, when they were asked
//	Asked, Forget, ConfirmFailed, HoldFailed        what operators ask of members, and decide
//	FactsStored                                     the disk has what StoreFacts told
//	Lead, Finish                                    a term that was won; the end of this manager
//	Online, Missed                                  the connection; input that was lost
//	Step                                            time has passed
//
// After each input the caller takes the outputs with [Manager.Outputs] and does
// what they say, in their order; it calls Step after it has given all inputs that
// are there, and again at [Manager.Next] at the latest.
//
// # Outputs
//
// An [Output] is a value; its type says what to do with it. [Led] reports whether
// it may leave the manager only while the lease is valid: the shell asks the term
// with a fresh reading of the clock for each of them, and drops it otherwise.
//
// # State that others read
//
// [Manager.Holding] is what requests for the snapshot are answered from,
// [Manager.Known] the greatest mark for the election, [Manager.MayLead] and
// [OrderIn] and [Handicap] whether and how soon to campaign. They are values: a shell hands
// them to other goroutines.
//
// # What it is not
//
// It neither elects (manager/election) nor judges who is a member
// (manager/membership): it joins the two.
package core
