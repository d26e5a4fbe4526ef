package zone

import (
	"math/rand/v2"
	"slices"
)

// A Draw picks the records of one answer out of a set that is larger than an
// answer. It is immutable.
type Draw struct {
	limit int
	n     int      // records of the set
	cum   []uint64 // running sums of the records' weights; nil: all weights are equal

	prefer *preference // nil: all askers have the same slices, of all records
}

// newDraw is for sets with these weights, limit records at a time.
func newDraw(limit int, weights []uint64) *Draw {
	d := &Draw{limit: min(limit, MaxSlice, len(weights)), n: len(weights)}
	if slices.Min(weights) == slices.Max(weights) {
		return d
	}
	d.cum = make([]uint64, len(weights))
	var sum uint64
	for i, w := range weights {
		sum += w
		d.cum[i] = sum
	}
	return d
}

// Limit is how many records one answer holds.
func (d *Draw) Limit() int { return d.limit }

// weight is that of record i; only the proportions of weights mean something.
func (d *Draw) weight(i int) uint64 {
	switch {
	case d.cum == nil:
		return 1
	case i == 0:
		return d.cum[0]
	}
	return d.cum[i] - d.cum[i-1]
}

// Pick draws distinct records, as many as the limit or all of a smaller set: each
// next one with a probability proportional to its weight among those not yet
// picked. Equal weights thus give every subset in every order alike. It returns
// how many indices it put into out.
func (d *Draw) Pick(rng *rand.Rand, out *[MaxSlice]int) int {
	switch {
	case d.cum != nil:
		d.weighted(rng, out)
	case d.n <= fewRecords:
		d.shuffle(rng, out)
	default:
		for k := range d.limit {
			i := rng.IntN(d.n)
			for slices.Contains(out[:k], i) { // at most every second time
				i = rng.IntN(d.n)
			}
			out[k] = i
		}
	}
	return d.limit
}

// fewRecords is the size of sets that are shuffled: drawing again for what was
// drawn before takes longer the more of a set was drawn.
const fewRecords = 2 * MaxSlice

// shuffle shuffles as much of the set as the answer needs (Fisher-Yates).
func (d *Draw) shuffle(rng *rand.Rand, out *[MaxSlice]int) {
	var order [fewRecords]uint8
	for i := range d.n {
		order[i] = uint8(i)
	}
	for k := range d.limit {
		i := k + rng.IntN(d.n-k)
		out[k] = int(order[i])
		order[i] = order[k]
	}
}

// tries bounds the cheap way to draw by weights: more are only needed if what was
// drawn before has most of the weight.
const tries = 8

func (d *Draw) weighted(rng *rand.Rand, out *[MaxSlice]int) {
	left := d.cum[d.n-1]
	for k := range d.limit {
		i := d.pick(rng, out[:k], left)
		out[k] = i
		left -= d.weight(i)
	}
}

// pick draws one record not in taken; left is the weight of those.
func (d *Draw) pick(rng *rand.Rand, taken []int, left uint64) int {
	total := d.cum[d.n-1]
	for range tries {
		if i := d.at(rng.Uint64N(total)); !slices.Contains(taken, i) {
			return i
		}
	}
	// The taken ones hold most of the weight: walk through the rest.
	at := rng.Uint64N(left)
	for i := range d.cum {
		if slices.Contains(taken, i) {
			continue
		}
		if w := d.weight(i); at >= w {
			at -= w
			continue
		}
		return i
	}
	panic("zone: draw: weights do not add up")
}

// at is the first record whose running sum is above v.
func (d *Draw) at(v uint64) int {
	low, high := 0, d.n-1
	for low < high {
		if mid := (low + high) / 2; d.cum[mid] > v {
			high = mid
		} else {
			low = mid + 1
		}
	}
	return low
}
