package lookup

import "math/bits"

// fractionBits are those of a logarithm: L is a multiple of 2^-40.
const fractionBits = 40

// log2Table holds floor(2^40 · log2(1 + i/4096)). It is made at start, in about
// a third of a millisecond, by integers only.
var log2Table = makeLog2Table()

// makeLog2Table squares y = 1 + i/4096 forty times: each time y reaches 2, the
// next bit of its logarithm is 1.
func makeLog2Table() (t [4097]uint64) {
	for i := range 4096 {
		y := uint64(4096+i) << 51 // 63 fraction bits
		for range fractionBits {
			q, _ := bits.Mul64(y, y)
			t[i] <<= 1
			if q >= 1<<63 {
				t[i]++
				y = q
			} else {
				y = q << 1
			}
		}
	}
	t[4096] = 1 << fractionBits
	return t
}

// negLog2 is −log2((x|1) / 2^64) with 40 fraction bits, 1 to 2^46, by linear
// interpolation with 32 bits. It never rises when x does.
func negLog2(x uint64) uint64 {
	y := x | 1
	z := bits.LeadingZeros64(y)
	m := y << z << 1 // two shifts: the leading one drops out
	i, f := m>>52, m>>20&0xffffffff
	lo, hi := log2Table[i], log2Table[i+1]
	return uint64(z+1)<<fractionBits - (lo + (hi-lo)*f>>32)
}

// negLog2Floor is at most negLog2(x), and cheap: the chord lies below the curve.
func negLog2Floor(x uint64) uint64 { return ^x >> 24 }

// score is what a member of weight w, 1 to 65535, has with draw x: the lowest
// owns the slot.
func score(x, w uint64) uint64 { return negLog2(x) << 16 / w }

// A draw is one member's number for one slot.
type draw struct {
	score, x uint64
	index    int // of the member; members are sorted by name
}

// beats is the order of the candidates of a slot. Of two equal scores the
// greater x wins, so that members of equal weight are ordered by x alone; equal
// x are two names with one hash.
func (d *draw) beats(o *draw) bool {
	switch {
	case d.score != o.score:
		return d.score < o.score
	case d.x != o.x:
		return d.x > o.x
	}
	return d.index < o.index
}
