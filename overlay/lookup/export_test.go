package lookup

// What the vectors speak of, beside the exported function.
var (
	Mix64        = mix64
	SlotHash     = slotHash
	NegLog2      = negLog2
	NegLog2Floor = negLog2Floor
	Score        = score
	IsWhole      = func(k string) bool { p, ok := parseKey(k); return ok && p.whole() }
)

// Log2Table is T.
func Log2Table() [4097]uint64 { return log2Table }

// Indices are the owners and heirs of the first n slots, by member index.
func Indices(t *Table, n int) (owners, heirs []int) {
	for s := range n {
		o, h := none, none
		if t.active.pairs != nil {
			o, h = split(t.active.pairs[s])
		}
		owners, heirs = append(owners, o), append(heirs, h)
	}
	return owners, heirs
}

// DrawsOrder is whether draw a of weight wa comes before draw b.
func DrawsOrder(xa, wa uint64, ia int, xb, wb uint64, ib int) bool {
	a, b := draw{score(xa, wa), xa, ia}, draw{score(xb, wb), xb, ib}
	return a.beats(&b)
}

// Owners are the owner indices of all slots.
func Owners(t *Table) []uint32 {
	out := make([]uint32, len(t.active.pairs))
	for s, p := range t.active.pairs {
		out[s] = p & 0xffff
	}
	return out
}
