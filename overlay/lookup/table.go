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

// ErrNoMembers says that no member takes new work in the role.
var ErrNoMembers = errors.New("lookup: no members")

// A Table is the lookup of one role: the assignment of every slot. It is
// immutable and safe for concurrent use. One of 2^18 slots weighs 1 MiB, two while
// a member drains, and half of one more where its members stand in several sites.
type Table struct {
	bits   int
	active *grid // of the members that take new work
	all    *grid // of these and the draining ones; active itself when none drains
	digest uint64
	remote *remotes // of active; nil if it stands in fewer than two sites
}

// New makes the table of members, in any order, with 2^bits slots. At 2^18 it
// takes a tenth of a second for 100 members, half a second for 1,000. The error
// is a number out of range or a member that is there twice; no members at all
// is none.
func New(bits int, members []Member) (*Table, error) {
	if bits < MinBits || bits > MaxBits {
		return nil, fmt.Errorf("lookup: %d bits of slots are not %d to %d", bits, MinBits, MaxBits)
	}
	active, all, err := bothCandidates(members)
	if err != nil {
		return nil, err
	}
	t := &Table{bits: bits, active: newGrid(active, 1<<bits)}
	t.all = t.active
	if all != nil {
		t.all = t.active.update(all, 1<<bits)
	}
	t.digest = t.sum()
	t.site(&Table{}, members)
	return t, nil
}

// Update is New with the bits of t, made from what t has: the result is the
// same. One join or leave takes about 3 ms at 2^18. It returns t itself
// if nothing differs.
func (t *Table) Update(members []Member) (*Table, error) {
	active, all, err := bothCandidates(members)
	if err != nil {
		return nil, err
	}
	slots := 1 << t.bits
	n := &Table{bits: t.bits, digest: t.digest}
	n.active = t.nearest(active).update(active, slots)
	n.all = n.active
	if all != nil {
		n.all = t.nearest(all).update(all, slots)
	}
	if n.active != t.active {
		n.digest = n.sum()
	}
	n.site(t, members)
	if n.active == t.active && n.all == t.all && n.remote == t.remote {
		return t, nil
	}
	return n, nil
}

// site gives t its remotes, made from what old has.
func (t *Table) site(old *Table, members []Member) {
	t.remote = remotesOf(old.remote, old.active, t.active, newSiting(members, t.active.members))
	if t.remote != nil && t.remote != old.remote {
		t.remote.digest = t.remote.sum(t.digest)
	}
}

// bothCandidates are those for new work, and those that hold state if they are
// others, nil if not.
func bothCandidates(ms []Member) (active, all []candidate, err error) {
	if active, err = candidates(ms, false); err != nil {
		return nil, nil, err
	}
	if all, err = candidates(ms, true); err != nil || len(all) == len(active) {
		return active, nil, err
	}
	return active, all, nil
}

// nearest is the grid of t from which that of members is made with least work: a
// member that begins to drain leaves the one and the other stays.
func (t *Table) nearest(members []candidate) *grid {
	if t.all == t.active {
		return t.active
	}
	a, b := compare(t.active.members, members), compare(t.all.members, members)
	if b.worse+len(b.contenders) < a.worse+len(a.contenders) {
		return t.all
	}
	return t.active
}

// Bits is log2 of the number of slots.
func (t *Table) Bits() int { return t.bits }

// Len is the number of members that have slots or could have.
func (t *Table) Len() int { return len(t.active.members) }

// Draining reports whether a slot may have a previous owner.
func (t *Table) Draining() bool { return t.all != t.active }

// Members are the members that have slots or could have, by name, each with its
// weight, and its site if there are several.
func (t *Table) Members() []Member {
	out := make([]Member, len(t.active.members))
	for i, c := range t.active.members {
		out[i] = Member{Node: c.node, Weight: int(c.weight)}
		if t.remote != nil {
			out[i].Site = t.remote.site(i)
		}
	}
	return out
}

// Same reports whether members lead to this very table.
func (t *Table) Same(members []Member) bool {
	active, all, err := bothCandidates(members)
	if err != nil || !slices.Equal(active, t.active.members) {
		return false
	}
	var have *siting
	if t.remote != nil {
		have = t.remote.siting
	}
	if !newSiting(members, active).equal(have) {
		return false
	}
	return all == nil && t.all == t.active || all != nil && slices.Equal(all, t.all.members)
}

// Find is the assignment of a subscriber: "user@domain" or a SIP URI. The error
// is ErrBadKey or ErrNoMembers, as for a nil Table. It allocates nothing.
func (t *Table) Find(key string) (Assignment, error) {
	if t == nil {
		return Assignment{}, ErrNoMembers
	}
	h, ok := hashKey(key)
	if !ok {
		return Assignment{}, ErrBadKey
	}
	return t.at(h)
}

// FindRaw is Find for a key that is normalised already, or that is no subscriber
// at all, such as a Call-ID: its bytes are hashed as they are. A role uses
// either Find or FindRaw for its keys, not both. The error is ErrNoMembers.
func (t *Table) FindRaw(key string) (Assignment, error) { return t.at(Hash(key)) }

func (t *Table) at(hash uint64) (Assignment, error) { return t.At(uint32(hash >> (64 - t.bits))) }

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

// At is the assignment of a slot. The error is ErrNoMembers. Slots beyond the
// last one are a mistake of the caller and panic.
func (t *Table) At(slot uint32) (Assignment, error) {
	if len(t.active.pairs) == 0 {
		return Assignment{}, ErrNoMembers
	}
	return Assignment{t, slot, t.active.pairs[slot]}, nil
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
		if t.active == next.active {
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
	if len(t.active.pairs) == 0 {
		return ""
	}
	o, _ := split(t.active.pairs[slot])
	return t.active.members[o].node
}

// Digest names the table, as 16 hex digits: equal members, weights and bits give
// equal digests in every implementation. What drains is not part of it.
func (t *Table) Digest() string { return fmt.Sprintf("%016x", t.digest) }

// Name is what a status says of the table.
func (t *Table) Name() subjects.Lookup {
	return subjects.Lookup{Bits: t.bits, Digest: t.Digest(), RemoteDigest: t.RemoteDigest()}
}

// sum is XXH64 over the version of the function, the number of slots, the
// members with their weights, all owners and all heirs.
func (t *Table) sum() uint64 {
	b := make([]byte, 0, 4096)
	b = append(b, "THORLKP1"...)
	b = binary.LittleEndian.AppendUint32(b, uint32(t.bits))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.active.members)))
	for _, c := range t.active.members {
		b = append(b, byte(len(c.node)))
		b = append(b, c.node...)
		b = binary.LittleEndian.AppendUint16(b, uint16(c.weight))
	}
	d := xxhash.New() // in pieces: the whole is a mebibyte
	_, _ = d.Write(b) // never fails
	pairs := t.active.pairs
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
