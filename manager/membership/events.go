package membership

import (
	"cmp"
	"maps"
	"slices"
	"time"

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

// The guards, as Guard.Name, in events and as metric labels.
const (
	GuardLast     = "last_member" // G2
	GuardPanic    = "panic"       // G3
	GuardObserver = "observer"    // G4
	GuardBroker   = "broker"      // G5
	GuardDamping  = "damping"     // G6
)

// A Guard holds removals back, or one member out.
type Guard struct {
	Name   string
	Role   subjects.Role   // empty: all roles
	Node   subjects.NodeID // the damped member, or the suspected broker
	Detail string
	Since  time.Time
}

type guardKey struct {
	name string
	role subjects.Role
	node subjects.NodeID
}

// Guards lists the guards that are active, sorted by name, role and node.
func (t *Table) Guards() []Guard {
	keys := slices.SortedFunc(maps.Keys(t.guards), func(a, b guardKey) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.role, b.role), cmp.Compare(a.node, b.node))
	})
	out := make([]Guard, len(keys))
	for i, k := range keys {
		out[i] = *t.guards[k]
	}
	return out
}

// raise makes a guard active, once.
func (t *Table) raise(k guardKey, detail string) {
	if t.guards[k] != nil {
		return
	}
	t.guards[k] = &Guard{Name: k.name, Role: k.role, Node: k.node, Detail: detail, Since: t.wall}
	t.event(subjects.EventGuard, k.role, k.node, k.name+": "+detail)
}

// lower ends a guard if it is active.
func (t *Table) lower(k guardKey) {
	if t.guards[k] == nil {
		return
	}
	delete(t.guards, k)
	t.event(subjects.EventGuardEnd, k.role, k.node, k.name)
}
