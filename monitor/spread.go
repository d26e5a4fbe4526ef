package monitor

import (
	"thor/monitor/view"
	"thor/overlay/lookup"
	"thor/subjects"
)

// spreads are how the slots of each role are spread, of the status seen last. It is
// used by one goroutine.
type spreads struct {
	of map[subjects.Role]spread
}

// A spread is of one table; the next one is made from it.
type spread struct {
	table *lookup.Table
	names subjects.Lookup // what the status said of it
	shown view.Spread
}

// at is how the slots are spread by s.
func (x *spreads) at(s *subjects.Status) map[subjects.Role]view.Spread {
	next := make(map[subjects.Role]spread, len(s.Lookup))
	out := make(map[subjects.Role]view.Spread, len(s.Lookup))
	for role, names := range s.Lookup {
		now := x.of[role]
		if now.table == nil || now.names != names {
			now = now.become(names, lookup.MembersFor(names, s.Roles[role]))
		}
		next[role], out[role] = now, now.shown
	}
	x.of = next
	return out
}

// become is the spread of members over the slots of names.
func (x spread) become(names subjects.Lookup, members []lookup.Member) spread {
	var table *lookup.Table
	var err error
	if x.table != nil && x.names.Bits == names.Bits {
		table, err = x.table.Update(members)
	} else {
		table, err = lookup.New(names.Bits, members)
	}
	switch {
	case err != nil:
		return spread{names: names, shown: view.Spread{Fault: err.Error()}}
	case table.Name() != names:
		return spread{names: names, shown: view.Spread{Fault: "this program computes another table than the managers"}}
	}
	next := spread{table, names, view.Spread{Slots: 1 << names.Bits}}
	for _, s := range table.Shares() {
		next.shown.Of = append(next.shown.Of, view.Share{Node: s.Node, Weight: s.Weight, Slots: s.Slots, Heir: s.Heir})
	}
	return next
}
