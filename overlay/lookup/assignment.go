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

// Remote is the first in rank of the nodes that stand in another site than the
// owner: the heir, if it does. With the owner's site lost the slot is the heir's or
// the remote's, unless both were in it; "" if the members stand in fewer than
// two sites.
func (a Assignment) Remote() subjects.NodeID {
	if a.table == nil || a.table.remote == nil {
		return ""
	}
	return a.table.active.members[a.table.remote.of[a.slot]].node
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

// Heirs are the nodes that hold the state of the keys for the case that the owner
// is lost, in the order in which they are asked then: the heir and, if it is another
// one, the remote.
func (a Assignment) Heirs() []subjects.NodeID {
	out := []subjects.NodeID{a.Heir(), a.Remote()}
	return slices.DeleteFunc(slices.Compact(out), func(n subjects.NodeID) bool { return n == "" })
}

// Inherits reports whether n is one of the Heirs.
func (a Assignment) Inherits(n subjects.NodeID) bool {
	return n != "" && (n == a.Heir() || n == a.Remote())
}

// Holds reports whether n holds the state of the keys: it serves them, or it is
// the heir or the remote.
func (a Assignment) Holds(n subjects.NodeID) bool { return a.Serves(n) || a.Inherits(n) }

// Holders are the nodes for which Holds is true, the owner first.
func (a Assignment) Holders() []subjects.NodeID {
	var out []subjects.NodeID
	for _, n := range [...]subjects.NodeID{a.Owner(), a.Heir(), a.Remote(), a.Previous()} {
		if n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// Same reports whether a and o, perhaps of two tables, name the same nodes.
func (a Assignment) Same(o Assignment) bool {
	return a.Owner() == o.Owner() && a.Heir() == o.Heir() && a.Remote() == o.Remote() && a.Previous() == o.Previous()
}
