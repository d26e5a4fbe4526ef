package lookup

import (
	"cmp"
	"slices"
)

// A diff is what changed from one set of candidates to the next.
type diff struct {
	changes    []change    // by old index
	contenders []contender // those that joined or gained weight
	worse      int         // how many left or lost weight
	sameIndex  bool        // no candidate that is in both has another index now
}

// A change is what became of an old candidate.
type change struct {
	index     int32 // its new one, none if it left
	worse     bool  // it left or lost weight
	better    bool  // it gained weight
	candidate       // with its new weight
}

// A contender may own more slots than before.
type contender struct {
	index int
	candidate
}

func compare(old, now []candidate) *diff {
	d := &diff{changes: make([]change, len(old)), sameIndex: true}
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		switch c := compareFirst(old[i:], now[j:]); {
		case c < 0:
			d.changes[i] = change{index: none, worse: true}
			d.worse++
			d.sameIndex = d.sameIndex && i == len(old)-1
			i++
		case c > 0:
			d.contenders = append(d.contenders, contender{j, now[j]})
			d.sameIndex = d.sameIndex && i == len(old)
			j++
		default:
			c := change{index: int32(j), worse: now[j].weight < old[i].weight, better: now[j].weight > old[i].weight, candidate: now[j]}
			if c.worse {
				d.worse++
			}
			if c.better {
				d.contenders = append(d.contenders, contender{j, now[j]})
			}
			d.changes[i] = c
			i, j = i+1, j+1
		}
	}
	return d
}

// compareFirst orders the first names of two sorted lists; an empty one comes last.
func compareFirst(a, b []candidate) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return cmp.Compare(a[0].node, b[0].node)
}

// cost is about how many draws an update takes, by slot.
func (d *diff) cost(old, now int) int { return 4 + 2*len(d.contenders) + 2*d.worse*now/max(old, 1) }

// update is newGrid(members) made from g: only slots whose owner or heir got
// worse are evaluated anew; for the others it is enough to see whether a
// contender beats the heir. g is left as it is.
func (g *grid) update(members []candidate, slots int) *grid {
	if slices.Equal(g.members, members) {
		return g
	}
	d := compare(g.members, members)
	if len(g.members) < 2 || len(members) < 2 || d.cost(len(g.members), len(members)) >= len(members) {
		return newGrid(members, slots)
	}
	n := &grid{members: members, pairs: slices.Clone(g.pairs)}
	var e *evaluator
	for s, p := range n.pairs {
		o, h := split(p)
		owner, heir := &d.changes[o], &d.changes[h]
		switch {
		case owner.worse || heir.worse:
			if e == nil {
				e = newEvaluator(members)
			}
			n.pairs[s] = e.slot(slotHash(uint32(s)))
		case len(d.contenders) > 0:
			if m := slotHash(uint32(s)); d.contested(owner, heir, m) {
				n.pairs[s] = d.resolve(owner, heir, m)
				continue
			}
			fallthrough
		case !d.sameIndex:
			n.pairs[s] = pair(int(owner.index), int(heir.index))
		}
	}
	return n
}

// contested reports whether the slot whose hash is m may get another owner or
// heir. Both did not get worse. It rules out nearly all slots, and none wrongly.
func (d *diff) contested(owner, heir *change, m uint64) bool {
	if owner.better || heir.better {
		return true
	}
	hx := mix64(heir.hash ^ m)
	var hl uint64 // negLog2(hx), which is never 0, once it is needed
	for i := range d.contenders {
		c := &d.contenders[i]
		x := mix64(c.hash ^ m)
		if c.weight == heir.weight { // then the draws decide
			if x >= hx {
				return true
			}
			continue
		}
		if hl == 0 {
			hl = negLog2(hx)
		}
		// Clearly worse: its score is higher by one at least, rounding included.
		// Both products are below 2^63.
		a, b := negLog2Floor(x)*heir.weight, hl*c.weight
		if a <= b || a-b <= heir.weight*c.weight>>16 {
			return true
		}
	}
	return false
}

// resolve is the pair of a slot, exactly, from its owner, its heir and all
// contenders: any other member did not beat the heir before and got no better.
func (d *diff) resolve(owner, heir *change, m uint64) uint32 {
	drawOf := func(c *candidate, index int) draw {
		x := mix64(c.hash ^ m)
		return draw{score(x, c.weight), x, index}
	}
	best, second := drawOf(&owner.candidate, int(owner.index)), drawOf(&heir.candidate, int(heir.index))
	if second.beats(&best) {
		best, second = second, best
	}
	for i := range d.contenders {
		c := &d.contenders[i]
		if c.index == int(owner.index) || c.index == int(heir.index) {
			continue
		}
		switch x := drawOf(&c.candidate, c.index); {
		case x.beats(&best):
			best, second = x, best
		case x.beats(&second):
			second = x
		}
	}
	return pair(best.index, second.index)
}
