package lookup

import (
	"cmp"
	"math/bits"
	"slices"
)

// A grid is owner and heir of every slot for one set of candidates. It is
// immutable.
type grid struct {
	members []candidate // sorted by name
	pairs   []uint32    // by slot: the owner's index, and the heir's above it; nil without members
}

func pair(owner, heir int) uint32 { return uint32(owner) | uint32(heir)<<16 }

func split(p uint32) (owner, heir int) { return int(p & 0xffff), int(p >> 16) }

// newGrid evaluates every slot.
func newGrid(members []candidate, slots int) *grid {
	g := &grid{members: members}
	if len(members) == 0 {
		return g
	}
	g.pairs = make([]uint32, slots)
	e := newEvaluator(members)
	for s := range g.pairs {
		g.pairs[s] = e.slot(slotHash(uint32(s)))
	}
	return g
}

// An evaluator finds the two best of all members for a slot. Members of equal
// weight are ordered by their draws alone, so that only two of each weight need
// a logarithm.
type evaluator struct {
	hashes  []uint64 // by weight
	indices []int
	groups  []group
}

type group struct {
	weight   uint64
	from, to int // in hashes
}

func newEvaluator(members []candidate) *evaluator {
	e := &evaluator{hashes: make([]uint64, len(members)), indices: make([]int, len(members))}
	for i := range e.indices {
		e.indices[i] = i
	}
	slices.SortStableFunc(e.indices, func(a, b int) int { return cmp.Compare(members[a].weight, members[b].weight) })
	for i, at := range e.indices {
		e.hashes[i] = members[at].hash
		if w := members[at].weight; i == 0 || e.groups[len(e.groups)-1].weight != w {
			e.groups = append(e.groups, group{weight: w, from: i})
		}
		e.groups[len(e.groups)-1].to = i + 1
	}
	return e
}

// slot is the pair of the slot whose hash is m.
func (e *evaluator) slot(m uint64) uint32 {
	if len(e.groups) == 1 { // no scores needed
		i, j := greatest(e.hashes, m)
		if j < 0 {
			return pair(e.indices[i], none)
		}
		return pair(e.indices[i], e.indices[j])
	}
	best, second := draw{index: none}, draw{index: none}
	for _, g := range e.groups {
		i, j := greatest(e.hashes[g.from:g.to], m)
		for _, k := range [2]int{i, j} {
			if k < 0 {
				break
			}
			x := mix64(e.hashes[g.from+k] ^ m)
			if second.index != none && hopeless(x, g.weight, second.score) {
				break
			}
			d := draw{score(x, g.weight), x, e.indices[g.from+k]}
			switch {
			case best.index == none || d.beats(&best):
				best, second = d, best
			case second.index == none || d.beats(&second):
				second = d
			}
		}
	}
	return pair(best.index, second.index)
}

// greatest are the positions of the greatest and the second greatest draw, −1 if
// there is none. Of equal ones the first wins.
func greatest(hashes []uint64, m uint64) (first, second int) {
	first, second = 0, -1
	var x2 uint64
	x1 := mix64(hashes[0] ^ m)
	for i := 1; i < len(hashes); i++ {
		x := mix64(hashes[i] ^ m)
		lower, at := min(x, x1), i
		if x > x1 {
			at = first
			first = i
		}
		x1 = max(x, x1)
		if lower > x2 || second < 0 {
			second = at
		}
		x2 = max(x2, lower)
	}
	return first, second
}

// hopeless reports, without a logarithm, that a draw x of weight w has a worse
// score than limit.
func hopeless(x, w, limit uint64) bool {
	hi, need := bits.Mul64(limit+1, w)
	return hi == 0 && negLog2Floor(x)<<16 >= need
}

// direct is slot without an evaluator: for a few slots of a set that has no grid.
func direct(members []candidate, s uint32) uint32 {
	m := slotHash(s)
	best, second := draw{index: none}, draw{index: none}
	for i := range members {
		x := mix64(members[i].hash ^ m)
		if second.index != none && hopeless(x, members[i].weight, second.score) {
			continue
		}
		d := draw{score(x, members[i].weight), x, i}
		switch {
		case best.index == none || d.beats(&best):
			best, second = d, best
		case second.index == none || d.beats(&second):
			second = d
		}
	}
	return pair(best.index, second.index)
}
