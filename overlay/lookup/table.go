package lookup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/cespare/xxhash/v2"

	"thor/subjects"
)

// The range of a table's slots: 2^MinBits to 2^MaxBits. At 2^18 the most loaded
// of 1,000 equal nodes has about 1.2 times its share, at 2^20 1.1 times.
const (
	MinBits     = 10
	MaxBits     = 24
	DefaultBits = 18
)

// ErrNoMembers says that nobody takes new work in the role.
var ErrNoMembers = errors.New("lookup: no members")

// A Table is the lookup of one role: owner, heir and residence of every slot. It
// is immutable and safe for concurrent use. One of 2^18 slots weighs 1 MiB, two
// while a member drains.
type Table struct {
	bits   int
	place  *grid // who serves new work
	stay   *grid // the same with the draining members; place itself when there are none
	digest uint64
}

// A Place is one slot of a Table, and who serves it. It is a small value that
// keeps its table alive; the zero value is nowhere.
type Place struct {
	table *Table
	slot  uint32
	pair  uint32
}

// Slot is the number of the slot.
func (p Place) Slot() uint32 { return p.slot }

// Owner is who serves the slot; "" only for the zero value.
func (p Place) Owner() subjects.NodeID {
	if p.table == nil {
		return ""
	}
	return p.table.place.members[p.pair&0xffff].node
}

// Heir is who owns the slot once the owner has left; "" if there is nobody else.
func (p Place) Heir() subjects.NodeID {
	if p.table == nil || p.pair>>16 == none {
		return ""
	}
	return p.table.place.members[p.pair>>16].node
}

// Residence is who may hold state that was made before: the owner, or a draining
// node to which the slot belonged.
func (p Place) Residence() subjects.NodeID {
	if p.table == nil || p.table.stay == p.table.place {
		return p.Owner()
	}
	owner, _ := split(p.table.stay.pairs[p.slot])
	return p.table.stay.members[owner].node
}

// New makes the table of members, in any order, with 2^bits slots. At 2^18 it
// takes a tenth of a second for 100 members, half a second for 1,000. The error
// is a number out of range or a member that is there twice; no members at all
// is none.
func New(bits int, members []Member) (*Table, error) {
	if bits < MinBits || bits > MaxBits {
		return nil, fmt.Errorf("lookup: %d bits of slots are not %d to %d", bits, MinBits, MaxBits)
	}
	place, stay, err := bothCandidates(members)
	if err != nil {
		return nil, err
	}
	t := &Table{bits: bits, place: newGrid(place, 1<<bits)}
	t.stay = t.place
	if stay != nil {
		t.stay = t.place.update(stay, 1<<bits)
	}
	t.digest = t.sum()
	return t, nil
}

// Update is New with the bits of t, made from what t has: the result is the
// same. One join or leave takes about 3 ms at 2^18. It returns t itself
// if nothing differs.
func (t *Table) Update(members []Member) (*Table, error) {
	place, stay, err := bothCandidates(members)
	if err != nil {
		return nil, err
	}
	slots := 1 << t.bits
	n := &Table{bits: t.bits, digest: t.digest}
	n.place = t.nearest(place).update(place, slots)
	n.stay = n.place
	if stay != nil {
		n.stay = t.nearest(stay).update(stay, slots)
	}
	if n.place == t.place && n.stay == t.stay {
		return t, nil
	}
	if n.place != t.place {
		n.digest = n.sum()
	}
	return n, nil
}

// bothCandidates are those for new work, and those that hold state if they are
// others, nil if not.
func bothCandidates(ms []Member) (place, stay []candidate, err error) {
	if place, err = candidates(ms, false); err != nil {
		return nil, nil, err
	}
	if stay, err = candidates(ms, true); err != nil || len(stay) == len(place) {
		return place, nil, err
	}
	return place, stay, nil
}

// nearest is the grid of t from which that of members is made with least work: a
// member that begins to drain leaves the one and the other stays.
func (t *Table) nearest(members []candidate) *grid {
	if t.stay == t.place {
		return t.place
	}
	a, b := compare(t.place.members, members), compare(t.stay.members, members)
	if b.falling+len(b.rising) < a.falling+len(a.rising) {
		return t.stay
	}
	return t.place
}

// Bits is log2 of the number of slots.
func (t *Table) Bits() int { return t.bits }

// Len is the number of members that have slots or could have.
func (t *Table) Len() int { return len(t.place.members) }

// Draining reports whether the residence of a slot may not be its owner.
func (t *Table) Draining() bool { return t.stay != t.place }

// Members are the members that have slots or could have, by name, each with its
// weight.
func (t *Table) Members() []Member {
	out := make([]Member, len(t.place.members))
	for i, c := range t.place.members {
		out[i] = Member{Node: c.node, Weight: int(c.weight)}
	}
	return out
}

// Same reports whether members lead to this very table.
func (t *Table) Same(members []Member) bool {
	place, stay, err := bothCandidates(members)
	if err != nil || !slices.Equal(place, t.place.members) {
		return false
	}
	return stay == nil && t.stay == t.place || stay != nil && slices.Equal(stay, t.stay.members)
}

// Find is the place of a subscriber: "user@domain" or a SIP URI. The error is
// ErrBadKey or ErrNoMembers. It allocates nothing.
func (t *Table) Find(key string) (Place, error) {
	h, ok := hashKey(key)
	if !ok {
		return Place{}, ErrBadKey
	}
	return t.at(h)
}

// FindRaw is Find for a key that is normalised already, or that is no subscriber
// at all, such as a Call-ID: its bytes are hashed as they are. A role uses
// either Find or FindRaw for its keys, not both. The error is ErrNoMembers.
func (t *Table) FindRaw(key string) (Place, error) { return t.at(Hash(key)) }

func (t *Table) at(hash uint64) (Place, error) { return t.At(uint32(hash >> (64 - t.bits))) }

// Slot is the slot of a subscriber; the error is ErrBadKey.
func (t *Table) Slot(key string) (uint32, error) { return Slot(t.bits, key) }

// Slot is the slot of a subscriber among 2^bits; the error is ErrBadKey.
func Slot(bits int, key string) (uint32, error) {
	h, ok := hashKey(key)
	if !ok {
		return 0, ErrBadKey
	}
	return uint32(h >> (64 - bits)), nil
}

// At is the place of a slot. The error is ErrNoMembers. Slots beyond the last
// one are a mistake of the caller and panic.
func (t *Table) At(slot uint32) (Place, error) {
	if len(t.place.pairs) == 0 {
		return Place{}, ErrNoMembers
	}
	return Place{t, slot, t.place.pairs[slot]}, nil
}

// A Move is a slot that changed its owner. From or To is "" where there is none.
type Move struct {
	Slot     uint32
	From, To subjects.NodeID
}

// Moves are the slots whose owner in t is another one in next, in order. The
// tables have equally many slots.
func (t *Table) Moves(next *Table) iter.Seq[Move] {
	return func(yield func(Move) bool) {
		if t.place == next.place {
			return
		}
		for s := range uint32(1) << t.bits {
			from, to := t.owner(s), next.owner(s)
			if from != to && !yield(Move{s, from, to}) {
				return
			}
		}
	}
}

func (t *Table) owner(slot uint32) subjects.NodeID {
	if len(t.place.pairs) == 0 {
		return ""
	}
	o, _ := split(t.place.pairs[slot])
	return t.place.members[o].node
}

// Digest names the table, as 16 hex digits: equal members, weights and bits give
// equal digests in every implementation. What drains is not part of it.
func (t *Table) Digest() string { return fmt.Sprintf("%016x", t.digest) }

// sum is XXH64 over the version of the function, the number of slots, the
// members with their weights, all owners and all heirs.
func (t *Table) sum() uint64 {
	b := make([]byte, 0, 4096)
	b = append(b, "THORLKP1"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.bits))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.place.members)))
	for _, c := range t.place.members {
		b = append(b, byte(len(c.node)))
		b = append(b, c.node...)
		b = binary.LittleEndian.AppendUint16(b, uint16(c.weight))
	}
	d := xxhash.New() // in pieces: the whole is a mebibyte
	_, _ = d.Write(b) // never fails
	pairs := t.place.pairs
	if pairs == nil {
		pairs = slices.Repeat([]uint32{pair(none, none)}, 1<<t.bits)
	}
	for shift := 0; shift <= 16; shift += 16 { // the owners, then the heirs
		at := func(p uint32) uint64 { return uint64(p >> shift & none) }
		for some := range slices.Chunk(pairs, 1<<MinBits) {
			b = b[:0]
			for ; len(some) >= 4; some = some[4:] { // four slots are a word
				b = binary.LittleEndian.AppendUint64(b, at(some[0])|at(some[1])<<16|at(some[2])<<32|at(some[3])<<48)
			}
			_, _ = d.Write(b)
		}
	}
	return d.Sum64()
}
