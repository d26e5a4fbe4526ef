package lookup

import (
	"slices"

	"thor/subjects"
)

// An Assignment is which nodes serve a slot of a Table, and with it every key
// that falls into the slot. It is a small value that keeps its table alive; the
// zero value is that of no key, and names no node.
type Assignment struct {
	table *Table
	slot  uint32
	pair  uint32
}

// Slot is the number of the slot.
func (a Assignment) Slot() uint32 { return a.slot }

// Owner is the node that serves the slot.
func (a Assignment) Owner() subjects.NodeID {
	if a.table == nil {
		return ""
	}
	return a.table.active.members[a.pair&0xffff].node
}

// Heir is the node that owns the slot once the owner has left; "" if there is no
// other member.
func (a Assignment) Heir() subjects.NodeID {
	if a.table == nil || a.pair>>16 == none {
		return ""
	}
	return a.table.active.members[a.pair>>16].node
}

// Previous is the draining node that owned the slot before, and may hold state of
// that time; "" if there is none. Ask it second, and first inside existing
// dialogs.
func (a Assignment) Previous() subjects.NodeID {
	if a.table == nil || a.table.all == a.table.active {
		return ""
	}
	owner, _ := split(a.table.all.pairs[a.slot])
	if n := a.table.all.members[owner].node; n != a.Owner() {
		return n
	}
	return ""
}

// Serves reports whether n answers for the keys of the slot: it is the owner, or
// the previous owner that drains.
func (a Assignment) Serves(n subjects.NodeID) bool {
	return n != "" && (n == a.Owner() || n == a.Previous())
}

// Holds reports whether n holds the state of the keys: it serves them, or it is
// the heir.
func (a Assignment) Holds(n subjects.NodeID) bool {
	return a.Serves(n) || n != "" && n == a.Heir()
}

// Holders are the nodes for which Holds is true, the owner first.
func (a Assignment) Holders() []subjects.NodeID {
	return slices.DeleteFunc([]subjects.NodeID{a.Owner(), a.Heir(), a.Previous()}, func(n subjects.NodeID) bool { return n == "" })
}

// Same reports whether a and o, perhaps of two tables, name the same nodes.
func (a Assignment) Same(o Assignment) bool {
	return a.Owner() == o.Owner() && a.Heir() == o.Heir() && a.Previous() == o.Previous()
}
