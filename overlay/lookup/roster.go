package lookup

import (
	"fmt"
	"slices"
	"strings"

	"thor/subjects"
)

// A Roster evaluates the function for single slots, without a table: for those
// who ask seldom, or of many roles. It is immutable and safe for concurrent use.
type Roster struct {
	bits    int
	members []candidate
	siting  *siting // nil: fewer than two sites
}

// NewRoster is New without the table: it takes about 20 ns for each member.
func NewRoster(bits int, members []Member) (*Roster, error) {
	if bits < MinBits || bits > MaxBits {
		return nil, fmt.Errorf("lookup: %d bits of slots are not %d to %d", bits, MinBits, MaxBits)
	}
	c, err := candidates(members, false)
	if err != nil {
		return nil, err
	}
	return &Roster{bits, c, newSiting(members, c)}, nil
}

// Bits is log2 of the number of slots.
func (r *Roster) Bits() int { return r.bits }

// Has reports whether node is one of those that own slots.
func (r *Roster) Has(node subjects.NodeID) bool {
	return slices.ContainsFunc(r.members, func(c candidate) bool { return c.node == node })
}

// At is owner, heir and remote of a slot, as Table.At has them, "" where there is
// none. It takes 2 to 10 ns for each member and allocates nothing. The error is
// ErrNoMembers.
func (r *Roster) At(slot uint32) (owner, heir, remote subjects.NodeID, err error) {
	if len(r.members) == 0 {
		return "", "", "", ErrNoMembers
	}
	p := direct(r.members, slot)
	o, h := split(p)
	owner = r.members[o].node
	if h != none {
		heir = r.members[h].node
	}
	if r.siting != nil {
		remote = r.members[r.remote(p, slot)].node
	}
	return owner, heir, remote, nil
}

// remote is that of a slot of the pair p.
func (r *Roster) remote(p, slot uint32) uint16 {
	if heir, ok := r.siting.heir(p); ok {
		return heir
	}
	b, site := contest{m: slotHash(slot)}, r.siting.number[p&0xffff]
	for i := range r.members {
		if elsewhere(r.siting.number[i], site) {
			b.enter(&r.members[i], i)
		}
	}
	return uint16(b.index)
}

// labelDigits are base32hex (RFC 4648 7) in lower case: in order of value, and
// fit for a host label.
const labelDigits = "0123456789abcdefghijklmnopqrstuv"

// labelSize is the number of digits of a slot's label: 4 for 2^18 slots.
func labelSize(bits int) int { return (bits + 4) / 5 }

// Label is a slot of 2^bits as a DNS label: its number in base32hex, with
// leading zeros.
func Label(bits int, slot uint32) string {
	b := make([]byte, labelSize(bits))
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = labelDigits[slot&31]
		slot >>= 5
	}
	return string(b)
}

// DNSLabel is the label, below the apex of the zone, under which slots have names.
const DNSLabel = "lookup"

// Name is the DNS name of a slot of role's table with 2^bits slots, without the last dot.
func Name(bits int, slot uint32, role subjects.Role, domain string) string {
	return Label(bits, slot) + "." + role.HostLabel() + "." + DNSLabel + "." + domain
}

// ParseLabel is the slot of a label, in lower case. ok is false for what Label
// cannot give.
func ParseLabel(bits int, label string) (slot uint32, ok bool) {
	if len(label) != labelSize(bits) {
		return 0, false
	}
	for i := range len(label) {
		d := strings.IndexByte(labelDigits, label[i])
		if d < 0 {
			return 0, false
		}
		slot = slot<<5 | uint32(d)
	}
	return slot, slot < 1<<bits
}
