package sets

import (
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"thor/subjects"
)

// An Entry is one member in a set.
type Entry struct {
	// Address is what Kamailio knows it by: a SIP URI, the URL of a relay, an IP address.
	Address string
	// State is what Kamailio can be told alone, in the form of its table; empty where a
	// table has no states.
	State string
	// Rest is the rest of its line.
	Rest string
}

// Sets are the contents of one table of Kamailio, by the numbers of the sets.
type Sets map[int][]Entry

// Len is the number of all entries.
func (s Sets) Len() (n int) {
	for _, es := range s {
		n += len(es)
	}
	return n
}

// Equal reports whether s and o hold the same, in the same order.
func (s Sets) Equal(o Sets) bool { return maps.EqualFunc(s, o, slices.Equal) }

// Clone shares nothing with s.
func (s Sets) Clone() Sets {
	c := make(Sets, len(s))
	for n, es := range s {
		c[n] = slices.Clone(es)
	}
	return c
}

// A rule says who is in one set.
type rule struct {
	number  int
	role    subjects.Role
	entries func([]subjects.Member) []Entry
	each    bool // each member has a set of its own too
}

// ownSets is the least number of a set that one relay has for itself.
const ownSets = 1 << 30

// RelaySet is the number of the set that the relay of node has for itself. It follows from
// the name alone, so that all proxies know it. Two relays have the same one in 1 of 10^9 cases,
// and then share it.
func RelaySet(node subjects.NodeID) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(node)) // never fails
	return ownSets | int(h.Sum32()&(ownSets-1))
}

// addOwn adds to next the sets that members have for themselves. A member that drains is on in
// its set: a script sends it what it has already.
func (r *rule) addOwn(next Sets, ms []subjects.Member) {
	for i := range ms {
		n := RelaySet(ms[i].Node)
		for _, e := range r.entries(ms[i : i+1]) {
			e.State = RelayOn
			next[n] = unique(append(next[n], e))
		}
	}
}

// keepOwn adds to next the sets that members had for themselves before.
func (r *rule) keepOwn(next, before Sets) {
	had := byAddress(before[r.number])
	for n, es := range before {
		if n < ownSets {
			continue
		}
		for _, e := range es {
			if _, ok := had[e.Address]; ok {
				next[n] = unique(append(next[n], e))
			}
		}
	}
}

// Next is what t should hold by the status. before is what it holds: a set stays as it
// is while its role has no members, and is in kept then. Sets that are not configured
// are left out.
func (t *Table) Next(before Sets, s *subjects.Status) (next Sets, kept []subjects.Role) {
	next = make(Sets, len(t.rules))
	for _, r := range t.rules {
		es := unique(r.entries(s.Roles[r.role]))
		empty := len(es) == 0
		if empty {
			kept = append(kept, r.role)
			es = slices.Clone(before[r.number])
		}
		if len(es) > 0 {
			next[r.number] = es
		}
		switch {
		case r.each && empty:
			r.keepOwn(next, before)
		case r.each:
			r.addOwn(next, s.Roles[r.role])
		}
	}
	return next, kept
}

// unique is es without those whose address is there before.
func unique(es []Entry) []Entry {
	seen := make(map[string]bool, len(es))
	return slices.DeleteFunc(es, func(e Entry) bool {
		was := seen[e.Address]
		seen[e.Address] = true
		return was
	})
}

// A StateChange tells Kamailio the state of one entry.
type StateChange struct {
	Number  int
	Address string
	State   string
}

// A Change leads from what Kamailio holds to what it should hold.
type Change struct {
	// Reload says that entries came, went, or differ in more than their state.
	Reload bool
	// States are those that differ; also of entries that went, where t has a state that
	// keeps new work from them.
	States []StateChange
}

// Compare is how old becomes next.
func (t *Table) Compare(old, next Sets) (c Change) {
	numbers := make(map[int]bool)
	for n := range old {
		numbers[n] = true
	}
	for n := range next {
		numbers[n] = true
	}
	on := t.on(next)
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		after := byAddress(next[n])
		for _, e := range old[n] {
			now, ok := after[e.Address]
			delete(after, e.Address)
			if !ok {
				now = Entry{State: t.off}
			}
			if !ok || now.Rest != e.Rest {
				c.Reload = true
			}
			if now.State == t.off && on[e.Address] {
				c.Reload = c.Reload || e.State != t.off // which tells it of this set alone
				continue
			}
			if now.State != "" && now.State != e.State {
				c.States = append(c.States, StateChange{n, e.Address, now.State})
			}
		}
		c.Reload = c.Reload || len(after) > 0
	}
	return c
}

// on are the addresses that may not be told off: Kamailio takes the state of a relay
// for all sets, and one of them wants it on.
func (t *Table) on(s Sets) map[string]bool {
	m := make(map[string]bool)
	if t.off == "" || t.perSet {
		return m
	}
	for _, es := range s {
		for _, e := range es {
			if e.State != t.off {
				m[e.Address] = true
			}
		}
	}
	return m
}

func byAddress(es []Entry) map[string]Entry {
	m := make(map[string]Entry, len(es))
	for _, e := range es {
		m[e.Address] = e
	}
	return m
}

// Apply notes in s that Kamailio was told c.
func (s Sets) Apply(c StateChange) {
	for i := range s[c.Number] {
		if s[c.Number][i].Address == c.Address {
			s[c.Number][i].State = c.State
		}
	}
}

// TakeStates gives the entries the states that they have in o.
func (s Sets) TakeStates(o Sets) {
	for n, es := range s {
		from := byAddress(o[n])
		for i := range es {
			if e, ok := from[es[i].Address]; ok {
				es[i].State = e.State
			}
		}
	}
}

// Missing is how many entries of s are not in o, which may lack their rest.
func (s Sets) Missing(o Sets) (n int) {
	for number, es := range s {
		there := byAddress(o[number])
		for _, e := range es {
			if _, ok := there[e.Address]; !ok {
				n++
			}
		}
	}
	return n
}

// where is the address and port at which m serves; not ok if it has no such address.
func (e *Endpoint) where(m *subjects.Member) (ap netip.AddrPort, ok bool) {
	port := uint16(e.Port)
	if p, err := strconv.ParseUint(m.Attrs[e.PortAttr], 10, 16); err == nil && p != 0 {
		port = uint16(p)
	}
	for _, a := range m.Addresses {
		if a = a.Unmap(); a.IsValid() && (e.Address == "first" || a.Is4() == (e.Address == "ipv4")) {
			return netip.AddrPortFrom(a, port), true
		}
	}
	return ap, false
}
