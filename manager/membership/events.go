package membership

import (
	"thor/subjects"
)

// Events returns what happened since the last call, in order, and forgets it.
// Epoch and Generation are left for the caller to fill in.
func (t *Table) Events() []subjects.Event {
	e := t.events
	t.events = nil
	return e
}

func (t *Table) event(kind subjects.EventKind, r subjects.Role, n subjects.NodeID, detail string) {
	if len(t.events) >= maxEvents {
		t.events = append(t.events[:0], t.events[maxEvents/2:]...)
		t.dropped += maxEvents / 2
	}
	t.events = append(t.events, subjects.Event{
		V: subjects.Version, Time: t.wall, Kind: kind, Role: r, Node: n, Detail: detail,
	})
}

// A Duplicate says that two processes claim the same (node, role): Boots are
// the one that counts and the one it replaced. A process without boot is "".
type Duplicate struct {
	Node  subjects.NodeID
	Role  subjects.Role
	Boots []string
}

// Duplicates returns the duplicates found since the last call and forgets
// them, so that the two can be told. One is repeated each 30 s while it lasts.
func (t *Table) Duplicates() []Duplicate {
	d := t.duplicates
	t.duplicates = nil
	return d
}
