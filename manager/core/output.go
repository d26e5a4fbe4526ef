package core

import (
	"thor/manager/membership"
	"thor/subjects"
)

// An Output is one thing to do, one of the types below.
type Output interface{ output() }

// Led reports whether o may leave the manager only while its lease is valid.
func Led(o Output) bool {
	switch o.(type) {
	case Tick, RoleTick, Delta, RoleDelta, View, Snapshot, Event, Duplicate:
		return true
	}
	return false
}

type (
	// Tick, RoleTick, Delta, RoleDelta, View and Event are to be published.
	Tick      struct{ *subjects.Tick }
	RoleTick  struct{ *subjects.RoleTick }
	Delta     struct{ *subjects.Delta }
	RoleDelta struct{ *subjects.RoleDelta }
	View      struct{ *subjects.RoleView }
	Event     struct{ subjects.Event }
	// Duplicate is to be told to both processes that claim one (node, role).
	Duplicate struct{ membership.Duplicate }
	// Snapshot is to be written to the key-value store, unless a newer one waits.
	Snapshot struct{ *Held }

	// Stand is what this manager announces of itself from now on.
	Stand struct{ Standing }
	// StepDown gives the lease back.
	StepDown struct{}
	// AskIdentities asks brokers for all that they know of certificates.
	AskIdentities struct{}
	// ReadStore reads the status in the key-value store; the result is for Stored.
	ReadStore struct{}
	// AskManager asks a manager for what it holds; the result is for Told.
	AskManager struct{ Node subjects.NodeID }
	// AskHearing asks a manager what it hears; the result is for Heard.
	AskHearing struct{ Node subjects.NodeID }
	// AskAnnouncement asks a node for its full announcements.
	AskAnnouncement struct{ Node subjects.NodeID }
	// StoreFacts is to be kept on disk; what is stored later than that is told by FactsStored.
	StoreFacts struct{ Identities []*subjects.Identity }
	// Rejected counts a message that was dropped.
	Rejected struct{ Code subjects.Code }
	// Note is worth a line in the log.
	Note struct {
		Level  Level
		Text   string
		Event  string // the key event, "" if it is none
		Fields []Field
	}
)

// A Level is how much a Note matters.
type Level int

// The levels: an operator should know, or should act.
const (
	Warn Level = iota
	Error
)

// A Field is a fact of a Note: a string, an integer or an error.
type Field struct {
	Key   string
	Value any
}

func (Tick) output()            {}
func (RoleTick) output()        {}
func (Delta) output()           {}
func (RoleDelta) output()       {}
func (View) output()            {}
func (Event) output()           {}
func (Duplicate) output()       {}
func (Snapshot) output()        {}
func (Stand) output()           {}
func (StepDown) output()        {}
func (AskIdentities) output()   {}
func (ReadStore) output()       {}
func (AskManager) output()      {}
func (AskHearing) output()      {}
func (AskAnnouncement) output() {}
func (StoreFacts) output()      {}
func (Rejected) output()        {}
func (Note) output()            {}
