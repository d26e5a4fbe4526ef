package election

import (
	"time"

	"thor/subjects"
)

// Facts are what the manager around a machine knows when it hands in an input.
type Facts struct {
	// Known is the greatest epoch and generation heard of anywhere: status, disk,
	// members.
	Known subjects.Mark
	// Order is this manager's place among the candidates by priority, 0 first.
	Order int
	// MayLead reports whether this manager may campaign now.
	MayLead bool
	// Via is the connection of now, "<broker>#<connection>".
	Via string
	// Wanted is the ceiling that the term in force is to reserve.
	Wanted uint64
}

// An Input is what happens to a machine.
type Input interface{ input() }

// Told is one write to the lease, as JetStream tells everybody; such messages
// may be lost or come late.
type Told struct{ Entry *Entry }

// Fetched is the result of the Read with this ID; no entry and no error: nothing
// is stored.
type Fetched struct {
	ID    uint64
	Entry *Entry
	Err   error
}

// Written is the result of the Write with this ID.
type Written struct {
	ID       uint64
	Revision uint64 // if it was stored
	Outcome  Outcome
	Err      error // unless it was stored
}

// An Outcome is what became of a write.
type Outcome int

// The outcomes of a write.
const (
	Stored   Outcome = iota
	Conflict         // another was first
	Unknown          // perhaps stored, perhaps not
)

// Released is the result of the Release with this ID.
type Released struct {
	ID  uint64
	Err error
}

// Closed tells that the connection Via of the process Boot is no more, as a
// living broker says.
type Closed struct{ Boot, Via string }

// Online tells that there is a new connection to a broker.
type Online struct{}

// StepDown ends the term; without one it has no effect.
type StepDown struct{}

// Woken is the passing of time.
type Woken struct{}

func (Told) input()     {}
func (Fetched) input()  {}
func (Written) input()  {}
func (Released) input() {}
func (Closed) input()   {}
func (Online) input()   {}
func (StepDown) input() {}
func (Woken) input()    {}

// An Action is what a machine wants done.
type Action interface{ action() }

// Read reads what is stored; its result is Fetched.
type Read struct{ ID uint64 }

// Write stores a lease if what is stored has this revision, 0 for nothing; its
// result is Written. With Keep, epoch and ceiling go to the own disk before.
type Write struct {
	ID             uint64
	Epoch, Ceiling uint64
	Via            string
	Revision       uint64
	Keep           bool
}

// Release gives the lease of this revision back; its result is Released.
type Release struct{ ID, Revision uint64 }

// Begin tells that a term has begun.
type Begin struct {
	Epoch, First uint64 // First: generation to begin above
	Ceiling      uint64
	Until        time.Time // the holder may publish before this, by its own monotonic clock
	Revision     uint64
}

// Extend tells that the term in force is longer, or has another ceiling.
type Extend struct {
	Ceiling   uint64
	Until     time.Time
	Rewritten uint64 // not 0: the revision, in a bucket that had lost the lease
}

// Hold tells the holder to publish nothing before Until, or the next Extend: it
// has a new connection, and whether the lease is still its own is being asked.
// Another manager may have heard that the old one ended, and lead by now: until then
// the lease was last known to be the holder's own at Sure.
type Hold struct{ Until, Sure time.Time }

// End tells that the term is over.
type End struct {
	Epoch    uint64
	Reason   string
	Released bool // on purpose: Release follows
}

// Ask asks the broker of the connection Via, of the process Boot, whether it
// exists; if it does not, Closed is the answer.
type Ask struct{ Boot, Via string }

// Absurd tells of a stored lease that cannot be true, once for each. It counts
// for nothing but its time.
type Absurd struct{ Err error }

// Failed tells that the lease could not be read or written, and that the machine
// tries again.
type Failed struct{ Err error }

func (Read) action()    {}
func (Write) action()   {}
func (Release) action() {}
func (Begin) action()   {}
func (Extend) action()  {}
func (Hold) action()    {}
func (End) action()     {}
func (Ask) action()     {}
func (Absurd) action()  {}
func (Failed) action()  {}
