package subjects

import (
	"bytes"
	"cmp"
	"slices"
)

// splice is the encoding of next, which changes lead to from s, whose encoding is had.
// It looks for the members that change in that text, and copies what is between them.
// The caller compares the digest, so that a text of another form does no harm.
// ok is false if had or changes are not in order.
func splice(had []byte, s, next *Status, changes []Change) (encoded []byte, ok bool) {
	lists, ok := spliceLists(had, s)
	if !ok {
		return nil, false
	}
	room := 512 * len(changes)
	b := appendStatusHead(make([]byte, 0, len(had)+room+512), next)
	for i, r := range next.RoleNames() {
		b = append(appendText(comma(b, i), string(r)), ':')
		mine := changesOf(r, changes)
		if b, ok = spliceMembers(b, lists[r], s.Roles[r], mine); !ok {
			return nil, false
		}
	}
	return appendStatusTail(b, next, appendLookup), true
}

// changesOf are those of r, which follow each other.
func changesOf(r Role, changes []Change) []Change {
	i := slices.IndexFunc(changes, func(c Change) bool { return c.Role == r })
	if i < 0 {
		return nil
	}
	n := slices.IndexFunc(changes[i:], func(c Change) bool { return c.Role != r })
	if n < 0 {
		return changes[i:]
	}
	return changes[i : i+n]
}

// spliceLists are the members of each role in had, the encoding of s, without the brackets.
func spliceLists(had []byte, s *Status) (map[Role][]byte, bool) {
	lists := make(map[Role][]byte, len(s.Roles))
	var before Role
	for _, r := range s.RoleNames() {
		key := append(appendText(nil, string(r)), ":["...)
		list, rest, ok := bytes.Cut(had, key)
		if !ok {
			return nil, false
		}
		if before != "" {
			lists[before] = bytes.TrimSuffix(list, []byte("],"))
		}
		before, had = r, rest
	}
	if before == "" {
		return lists, len(had) > 0
	}
	list, _, ok := bytes.Cut(had, []byte("]"+statusDeparted))
	lists[before] = list
	return lists, ok
}

// spliceMembers appends the members that changes lead to from old, whose encoding is rest.
func spliceMembers(b, rest []byte, old []Member, changes []Change) (_ []byte, ok bool) {
	b = append(b, '[')
	none := len(b)
	add := func(members []byte) {
		if len(members) > 0 {
			if len(b) > none {
				b = append(b, ',')
			}
			b = append(b, members...)
		}
	}
	var same []byte
	at := 0 // rest is old[at:]
	for i, c := range changes {
		if i > 0 && c.Node <= changes[i-1].Node {
			return nil, false
		}
		to, found := slices.BinarySearchFunc(old[at:], c.Node, func(m Member, n NodeID) int { return cmp.Compare(m.Node, n) })
		to += at
		if same, rest, ok = spliceCut(rest, old, at, to); !ok {
			return nil, false
		}
		add(same)
		if at = to; found {
			if _, rest, ok = spliceCut(rest, old, to, to+1); !ok {
				return nil, false
			}
			at++
		}
		if c.Op != Left {
			if len(b) > none {
				b = append(b, ',')
			}
			b = appendMember(b, c.Member)
		}
	}
	add(rest)
	return append(b, ']'), true
}

// spliceCut divides rest, the members from old[from] on, before old[to].
func spliceCut(rest []byte, old []Member, from, to int) (members, after []byte, ok bool) {
	if to == from {
		return nil, rest, true
	}
	if to == len(old) {
		return rest, nil, true
	}
	next := append(appendText([]byte(`,{"node":`), string(old[to].Node)), ",\"addresses\":["...)
	i := bytes.Index(rest, next)
	if i < 0 {
		return nil, nil, false
	}
	return rest[:i], rest[i+1:], true
}
