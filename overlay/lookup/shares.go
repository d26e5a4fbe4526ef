package lookup

// A Share is what a member has of a table's slots.
type Share struct {
	Member
	Slots int // that it owns
	Heir  int // that it would own if their owners left
}

// Shares are those of t.Members, in that order.
func (t *Table) Shares() []Share {
	out := make([]Share, 0, t.Len())
	for _, m := range t.Members() {
		out = append(out, Share{Member: m})
	}
	for _, p := range t.active.pairs {
		owner, heir := split(p)
		if owner < len(out) {
			out[owner].Slots++
		}
		if heir < len(out) {
			out[heir].Heir++
		}
	}
	return out
}
