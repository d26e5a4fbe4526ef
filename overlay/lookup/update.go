package lookup

import (
	"cmp"
	"slices"
)

// A turnover is what differs between two sets of candidates.
type turnover struct {
	moved   []int  // by old index: the new index, none if it is gone
	worse   []bool // by old index: it is gone or lost weight
	better  []bool // by old index: it gained weight
	rising  []int  // new indices of those that joined or gained weight
	falling int    // how many are worse
	same    bool   // no old index is another one now
}

func compare(old, now []candidate) *turnover {
	t := &turnover{moved: make([]int, len(old)), worse: make([]bool, len(old)), better: make([]bool, len(old)), same: true}
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		switch c := order(old[i:], now[j:]); {
		case c < 0:
			t.moved[i], t.worse[i] = none, true
			t.falling++
			t.same = t.same && i == len(old)-1
			i++
		case c > 0:
			t.rising = append(t.rising, j)
			t.same = t.same && i == len(old)
			j++
		default:
			t.moved[i] = j
			if now[j].weight < old[i].weight {
				t.worse[i] = true
				t.falling++
			} else if now[j].weight > old[i].weight {
				t.better[i] = true
				t.rising = append(t.rising, j)
			}
			i, j = i+1, j+1
		}
	}
	return t
}

// order compares the first of two sorted lists; an empty one comes last.
func order(a, b []candidate) int {
	switch {
	case len(b) == 0:
		return -1
	case len(a) == 0:
		return 1
	}
	return cmp.Compare(a[0].node, b[0].node)
}

// cost is about how many draws an update takes, by slot.
func (t *turnover) cost(old, now int) int { return 2 + len(t.rising) + 2*t.falling*now/max(old, 1) }

// update is newGrid(members) made from g: only slots whose owner or heir got
// worse are evaluated anew; for the others it is enough to see whether one that
// got better beats the heir. g is left as it is.
func (g *grid) update(members []candidate, slots int) *grid {
	if slices.Equal(g.members, members) {
		return g
	}
	t := compare(g.members, members)
	if len(g.members) < 2 || len(members) < 2 || t.cost(len(g.members), len(members)) >= len(members) {
		return newGrid(members, slots)
	}
	n := &grid{members: members, pairs: slices.Clone(g.pairs)}
	var e *evaluator
	for s, p := range n.pairs {
		owner, heir := split(p)
		switch {
		case t.worse[owner] || t.worse[heir]:
			if e == nil {
				e = newEvaluator(members)
			}
			n.pairs[s] = e.slot(slotHash(uint32(s)))
		case len(t.rising) > 0:
			n.pairs[s] = t.challenge(members, owner, heir, slotHash(uint32(s)))
		case !t.same:
			n.pairs[s] = pair(t.moved[owner], t.moved[heir])
		}
	}
	return n
}

// challenge is the pair of a slot whose owner and heir, by old index, did not
// get worse, with the rising members as challengers.
func (t *turnover) challenge(members []candidate, owner, heir int, m uint64) uint32 {
	o, h := t.moved[owner], t.moved[heir]
	hx, hw := mix64(members[h].hash^m), members[h].weight
	var hl uint64 // negLog2(hx), once it is wanted
	known := false
	open := t.better[owner] || t.better[heir]
	for _, r := range t.rising {
		if open {
			break
		}
		c := &members[r]
		x := mix64(c.hash ^ m)
		if c.weight == hw {
			open = x >= hx
			continue
		}
		if !known {
			hl, known = negLog2(hx), true
		}
		// Clearly worse: its score is higher by one at least, rounding included.
		// Both products are below 2^63.
		a, b := negLog2Floor(x)*hw, hl*c.weight
		open = a <= b || a-b <= hw*c.weight>>16
	}
	if !open {
		return pair(o, h)
	}
	return t.duel(members, o, h, m)
}

// duel is the exact form of challenge. o and h are new indices.
func (t *turnover) duel(members []candidate, o, h int, m uint64) uint32 {
	at := func(i int) draw {
		x := mix64(members[i].hash ^ m)
		return draw{score(x, members[i].weight), x, i}
	}
	best, second := at(o), at(h)
	if second.beats(&best) {
		best, second = second, best
	}
	for _, r := range t.rising {
		if r == o || r == h {
			continue
		}
		switch d := at(r); {
		case d.beats(&best):
			best, second = d, best
		case d.beats(&second):
			second = d
		}
	}
	return pair(best.index, second.index)
}
