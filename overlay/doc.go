// Package overlay is the SDK of thor: what a process needs to be part of the
// network under one or more roles, and to know who else is.
//
// A [Node] is one process's connection. [Node.Join] announces a [Member] and
// keeps announcing it; [Node.Watch] delivers the network status, kept current
// by changes, repaired when one is missed, and kept on disk so that a restarted
// process knows the network before it reaches it; [Node.Handle] answers
// requests. Every agent of thor stands on this package, and a program that adds
// a new role needs no other. Its exported names are an API for such programs, also
// where no package of thor uses them.
//
// # What it keeps
//
// The (epoch, generation) of the views of one Node never goes back, whatever
// arrives. A view is never emptied when no manager answers: it stays as it is
// and is marked stale. Announcements are sent when they are true and never
// stored to be sent later.
//
// # What it is not
//
// It decides nothing about who is alive: that is the manager's work. It trusts
// the brokers for who may say what, since they enforce it by certificate.
package overlay
