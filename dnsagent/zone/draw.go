package zone

import (
	"math/rand/v2"
	"slices"
	"sort"
)

// tries bounds the cheap way to draw: with equal weights a set of n > MaxSlice
// needs more only if nearly all of it was drawn already.
const tries = 8

// draw picks distinct records, as many as the set's limit or all of a smaller
// set: each next one with a probability proportional to its weight among those
// not yet picked. Equal weights thus give every subset in every order alike. It
// returns how many indices it put into out.
func (s *rrset) draw(rng *rand.Rand, out *[MaxSlice]int) int {
	n := min(s.limit, len(s.rrs))
	left := s.cum[len(s.cum)-1]
	for k := range n {
		i := s.pick(rng, out[:k], left)
		out[k] = i
		left -= s.weight(i)
	}
	return n
}

// pick draws one record not in taken; left is the weight of those.
func (s *rrset) pick(rng *rand.Rand, taken []int, left uint64) int {
	total := s.cum[len(s.cum)-1]
	for range tries {
		at := rng.Uint64N(total)
		i := sort.Search(len(s.cum), func(i int) bool { return s.cum[i] > at })
		if !slices.Contains(taken, i) {
			return i
		}
	}
	// The taken ones hold most of the weight: walk through the rest.
	at := rng.Uint64N(left)
	for i := range s.cum {
		if slices.Contains(taken, i) {
			continue
		}
		if w := s.weight(i); at >= w {
			at -= w
			continue
		}
		return i
	}
	panic("zone: draw: weights do not add up")
}
