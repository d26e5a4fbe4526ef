package zone

import (
	"math/rand/v2"
	"slices"
)

// A Draw picks the records of one answer out of a set that is larger than an
// answer. It is immutable.
type Draw struct {
	limit int
	n     int     // records of the set
	cum   running // of the records' weights

	prefer *preference // nil: all askers have the same slices, of all records
}

// newDraw is for sets with these weights, limit records at a time.
func newDraw(limit int, weights []uint64) *Draw {
	return &Draw{limit: min(limit, MaxSlice, len(weights)), n: len(weights), cum: runningSums(weights)}
}

// Limit is how many records one answer holds.
func (d *Draw) Limit() int { return d.limit }

// weight is that of record i; only the proportions of weights mean something.
func (d *Draw) weight(i int) uint64 {
	if d.cum == nil {
		return 1
	}
	return d.cum[i] - d.cum.before(i)
}

// Pick draws distinct records, as many as the limit or all of a smaller set: each
// next one with a probability proportional to its weight among those not yet
// picked. Equal weights thus give every subset in every order alike. It returns
// how many indices it put into out.
func (d *Draw) Pick(rng *rand.Rand, out *[MaxSlice]int) int {
	d.cum.draw(rng, segment{to: d.n}, out[:d.limit])
	return d.limit
}

// A running has the running sums of weights by position; nil: all are equal. It alone knows
// how positions are drawn.
type running []uint64

// runningSums are those of weights in this order; nil if all are equal.
func runningSums(weights []uint64) running {
	if slices.Min(weights) == slices.Max(weights) {
		return nil
	}
	c := make(running, len(weights))
	var sum uint64
	for i, w := range weights {
		sum += w
		c[i] = sum
	}
	return c
}

// before is the sum of the weights below a position.
func (c running) before(at int) uint64 {
	if at == 0 {
		return 0
	}
	return c[at-1]
}

// A segment is the positions from from to to, without the hollow ones from hole on.
type segment struct{ from, to, hole, hollow int }

func (s segment) size() int { return s.to - s.from - s.hollow }

// at is the position of the j-th of the segment.
func (s segment) at(j int) int {
	if p := s.from + j; s.hollow == 0 || p < s.hole {
		return p
	}
	return s.from + j + s.hollow
}

// draw fills out, which is no longer than s, with distinct positions of s.
func (c running) draw(rng *rand.Rand, s segment, out []int) {
	n := s.size()
	switch {
	case c != nil:
		c.weighted(rng, s, out)
	case n <= fewRecords:
		s.shuffle(rng, n, out)
	default:
		for k := range out {
			at := s.at(rng.IntN(n))
			for slices.Contains(out[:k], at) { // at most every second time
				at = s.at(rng.IntN(n))
			}
			out[k] = at
		}
	}
}

// fewRecords is the size of sets that are shuffled: drawing again for what was
// drawn before takes longer the more of a set was drawn.
const fewRecords = 2 * MaxSlice

// shuffle shuffles as much of the segment as the answer needs (Fisher-Yates).
func (s segment) shuffle(rng *rand.Rand, n int, out []int) {
	var order [fewRecords]uint8
	for i := range n {
		order[i] = uint8(i)
	}
	for k := range out {
		i := k + rng.IntN(n-k)
		out[k] = s.at(int(order[i]))
		order[i] = order[k]
	}
}

// tries bounds the cheap way to draw by weights: more are only needed if what was
// drawn before has most of the weight.
const tries = 8

func (c running) weighted(rng *rand.Rand, s segment, out []int) {
	low, gap := c.before(s.from), uint64(0)
	if s.hollow > 0 {
		gap = c.before(s.hole+s.hollow) - c.before(s.hole)
	}
	total := c.before(s.to) - low - gap
	left := total
	for k := range out {
		at := -1
		for range tries {
			v := rng.Uint64N(total) + low
			if gap > 0 && v >= c.before(s.hole) {
				v += gap
			}
			if p := c.find(s, v); !slices.Contains(out[:k], p) {
				at = p
				break
			}
		}
		if at < 0 {
			at = c.walk(s, out[:k], rng.Uint64N(left))
		}
		out[k] = at
		left -= c[at] - c.before(at)
	}
}

// find is the first position of s whose running sum is above v.
func (c running) find(s segment, v uint64) int {
	low, high := s.from, s.to-1
	for low < high {
		if mid := (low + high) / 2; c[mid] > v {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}

// walk is the position at which the sum of the weights of s without those taken exceeds v:
// the way where the taken ones hold most of the weight.
func (c running) walk(s segment, taken []int, v uint64) int {
	for j := range s.size() {
		p := s.at(j)
		if slices.Contains(taken, p) {
			continue
		}
		w := c[p] - c.before(p)
		if v < w {
			return p
		}
		v -= w
	}
	panic("zone: draw: weights do not add up")
}
