package picture

import (
	"cmp"
	"slices"
	"time"

	"thor/overlay/lookup"
	"thor/subjects"
)

// A Ring is how the subscribers of a role are spread over its nodes.
type Ring struct {
	Bits   int     `json:"bits"`
	Slots  int     `json:"slots"`
	Digest string  `json:"digest"`
	Shares []Share `json:"shares"`          // by node
	Moved  *Moved  `json:"moved,omitempty"` // what the last change moved; nil: none was seen
}

// A Share is what one node serves.
type Share struct {
	Node   string `json:"node"`
	Slots  int    `json:"slots"`
	Gained int    `json:"gained,omitempty"` // of these, by the last change
}

// Moved is what the last change of a table moved.
type Moved struct {
	At    time.Time `json:"at"` // when it was seen here
	Slots int       `json:"slots"`
	Moves []Move    `json:"moves"` // the largest first; at most MaxMoves
	Pairs int       `json:"pairs"` // how many there are
}

// A Move is from one node to another; empty: from or to none.
type Move struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Slots int    `json:"slots"`
}

// MaxMoves is how many moves a picture names.
const MaxMoves = 40

// NewRing is the ring of t. moved is what led to it; nil: not known.
func NewRing(t *lookup.Table, moved *Moved, gained map[subjects.NodeID]int) *Ring {
	r := &Ring{Bits: t.Bits(), Slots: 1 << t.Bits(), Digest: t.Digest(), Shares: []Share{}, Moved: moved}
	for _, x := range t.Shares() {
		r.Shares = append(r.Shares, Share{Node: name(x.Node), Slots: x.Slots, Gained: gained[x.Node]})
	}
	return r
}

// Change is what moves from one table to the next, and how many slots each node
// gains by it. Nothing moves, or the tables have other numbers of slots: nil.
func Change(from, to *lookup.Table, at time.Time) (*Moved, map[subjects.NodeID]int) {
	if from == nil || from.Bits() != to.Bits() {
		return nil, nil
	}
	type pair struct{ from, to subjects.NodeID }
	pairs, gained := make(map[pair]int), make(map[subjects.NodeID]int)
	m := &Moved{At: at, Moves: []Move{}}
	for x := range from.Moves(to) {
		pairs[pair{x.From, x.To}]++
		gained[x.To]++
		m.Slots++
	}
	if m.Slots == 0 {
		return nil, nil
	}
	for p, n := range pairs {
		m.Moves = append(m.Moves, Move{name(p.from), name(p.to), n})
	}
	slices.SortFunc(m.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	m.Pairs = len(m.Moves)
	m.Moves = m.Moves[:min(len(m.Moves), MaxMoves)]
	return m, gained
}
