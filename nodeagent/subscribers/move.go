package subscribers

import (
	"time"

	"thor/subjects"
)

// move takes it that the lookup changed from old, nil at first, to next, for the
// keys. It returns whom this node has to tell of which of them. It may be called
// for a part of the keys at a time.
func (s *shelf) move(old, next *table, keys []string, now time.Time) map[subjects.NodeID][]string {
	tell := make(map[subjects.NodeID][]string)
	for _, k := range keys {
		e := s.entries[k]
		if e == nil {
			continue
		}
		from, to := old.find(k), next.find(k)
		if from == to {
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
func (s *shelf) moveEntry(e *entry, from, to Place, now time.Time) {
	mine := to.holds(s.self)
	if mine && (!from.holds(s.self) || !e.lost.IsZero()) {
		s.suspect(e.key)
	}
	s.own(e, mine, now)
	switch {
	case to.serves(s.self):
		e.serve = time.Time{}
	case from.serves(s.self):
		e.serve = now.Add(bridge)
	}
}

// giver is who tells the newcomers: the owner before, or else the heir, or who
// else held it, whichever is still there.
func giver(next *table, from Place) subjects.NodeID {
	for _, n := range []subjects.NodeID{from.Owner, from.Heir, from.Residence} {
		if n != "" && next.members[n] {
			return n
		}
	}
	return ""
}

// newcomers are those that hold a key at to and not at from.
func newcomers(from, to Place) (out []subjects.NodeID) {
	for i, n := range [...]subjects.NodeID{to.Owner, to.Heir, to.Residence} {
		if n != "" && !from.holds(n) && (i < 2 || n != to.Owner && n != to.Heir) {
			out = append(out, n)
		}
	}
	return out
}
