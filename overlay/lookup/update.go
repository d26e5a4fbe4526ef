package lookup

import (
	"cmp"
	"slices"
)

// A turnover is what differs between two sets of candidates.
type turnover struct {
	fates   []fate      // by old index
	rising  []challenge // those that joined or gained weight
	falling int         // how many got worse
	same    bool        // no old index is another one now
}

// A fate is what became of an old candidate.
type fate struct {
	to     int32 // its new index, none if it is gone
	worse  bool  // it is gone or lost weight
	better bool  // it gained weight
	candidate
}

// A challenge is by one that may own more than before.
type challenge struct {
	at int // new index
	candidate
}

func compare(old, now []candidate) *turnover {
	t := &turnover{fates: make([]fate, len(old)), same: true}
	i, j := 0, 0
	for i < len(old) || j < len(now) {
		switch c := order(old[i:], now[j:]); {
		case c < 0:
			t.fates[i] = fate{to: none, worse: true}
			t.falling++
			t.same = t.same && i == len(old)-1
			i++
		case c > 0:
			t.rising = append(t.rising, challenge{j, now[j]})
			t.same = t.same && i == len(old)
			j++
		default:
			f := fate{to: int32(j), worse: now[j].weight < old[i].weight, better: now[j].weight > old[i].weight, candidate: now[j]}
			if f.worse {
				t.falling++
			}
			if f.better {
				t.rising = append(t.rising, challenge{j, now[j]})
			}
			t.fates[i] = f
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
func (t *turnover) cost(old, now int) int { return 4 + 2*len(t.rising) + 2*t.falling*now/max(old, 1) }

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
		o, h := split(p)
		owner, heir := &t.fates[o], &t.fates[h]
		switch {
		case owner.worse || heir.worse:
			if e == nil {
				e = newEvaluator(members)
			}
			n.pairs[s] = e.slot(slotHash(uint32(s)))
		case len(t.rising) > 0:
			if m := slotHash(uint32(s)); t.open(owner, heir, m) {
				n.pairs[s] = t.duel(owner, heir, m)
				continue
			}
			fallthrough
		case !t.same:
			n.pairs[s] = pair(int(owner.to), int(heir.to))
		}
	}
	return n
}

// open reports whether the slot whose hash is m may get another owner or heir.
// Both did not get worse. It rules out nearly all slots, and nothing wrongly.
func (t *turnover) open(owner, heir *fate, m uint64) bool {
	if owner.better || heir.better {
		return true
	}
	hx := mix64(heir.hash ^ m)
	var hl uint64 // negLog2(hx), once it is wanted; never 0 then
	for i := range t.rising {
		c := &t.rising[i]
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

// duel is the pair of a slot, exactly, among its owner, its heir and all rising
// members: who is neither did not beat them before and got no better.
func (t *turnover) duel(owner, heir *fate, m uint64) uint32 {
	draws := func(c *candidate, at int) draw {
		x := mix64(c.hash ^ m)
		return draw{score(x, c.weight), x, at}
	}
	best, second := draws(&owner.candidate, int(owner.to)), draws(&heir.candidate, int(heir.to))
	if second.beats(&best) {
		best, second = second, best
	}
	for i := range t.rising {
		c := &t.rising[i]
		if c.at == int(owner.to) || c.at == int(heir.to) {
			continue
		}
		switch d := draws(&c.candidate, c.at); {
		case d.beats(&best):
			best, second = d, best
		case d.beats(&second):
			second = d
		}
	}
	return pair(best.index, second.index)
}
