package subscribers

import (
	"slices"
	"time"

	"thor/overlay/lookup"
	"thor/subjects"
)

// move takes it that the lookup changed from old, nil at first, to next, for the
// keys. It returns whom this node has to tell of which of them. It may be called
// for a part of the keys at a time.
func (s *contents) move(old, next *table, keys []string, now time.Time) map[subjects.NodeID][]string {
	tell := make(map[subjects.NodeID][]string)
	for _, k := range keys {
		e := s.entries[k]
		if e == nil {
			continue
		}
		from, to := old.find(k), next.find(k)
		if from.Same(to) {
			continue
		}
		s.moveEntry(e, from, to, now)
		if e.absent() || giver(next, from) != s.self {
			continue
		}
		for _, n := range newcomers(from, to) {
			tell[n] = append(tell[n], k)
		}
	}
	return tell
}

// moveEntry notes whose e is now. What this node was not told of for a while may
// be old.
func (s *contents) moveEntry(e *entry, from, to lookup.Assignment, now time.Time) {
	mine := to.Holds(s.self)
	if mine && (!from.Holds(s.self) || !e.lost.IsZero()) {
		s.invalidate(e.key)
	}
	s.own(e, mine, now)
	switch {
	case to.Serves(s.self):
		e.serve = time.Time{}
	case from.Serves(s.self):
		e.serve = now.Add(bridge)
	}
}

// giver is who tells the newcomers: the owner before, or else the heir, or who
// else held it, whichever is still there.
func giver(next *table, from lookup.Assignment) subjects.NodeID {
	for _, n := range from.Holders() {
		if next.members[n] {
			return n
		}
	}
	return ""
}

// newcomers are those that hold a key at to and not at from.
func newcomers(from, to lookup.Assignment) []subjects.NodeID {
	return slices.DeleteFunc(to.Holders(), from.Holds)
}
