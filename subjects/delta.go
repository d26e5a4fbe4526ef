package subjects

import (
	"maps"
	"slices"
	"time"
)

// A Change is one difference between two statuses.
type Change struct {
	Op     Op      `json:"op"`
	Role   Role    `json:"role"`
	Node   NodeID  `json:"node"`
	Member *Member `json:"member,omitempty"` // absent when it left
}

// An Op is what happened to a member.
type Op string

// The operations of a Change.
const (
	Joined  Op = "join"
	Left    Op = "leave"
	Updated Op = "update"
)

// A Delta leads from the status at Prev to the one at (Epoch, Generation),
// whose encoding has Digest. Reload set means that the change is too big to
// tell: fetch the snapshot.
type Delta struct {
	V          int        `json:"v"`
	Epoch      uint64     `json:"epoch"`
	Generation uint64     `json:"generation"`
	Prev       Mark       `json:"prev"`
	Digest     string     `json:"digest"`
	Manager    NodeID     `json:"manager"`
	Time       time.Time  `json:"time"`
	Changes    []Change   `json:"changes,omitempty"`
	Gone       []Departed `json:"departed,omitempty"` // newly departed, or with a new end
	Forgotten  []NodeID   `json:"forgotten,omitempty"`
	// Lookup are the lookups that differ; null stands for one that is gone.
	Lookup map[Role]*Lookup    `json:"lookup,omitempty"`
	Lost   *LossesChange[Lost] `json:"lost,omitempty"` // Digest does not cover these two
	Held   *LossesChange[Held] `json:"held,omitempty"`
	Reload bool                `json:"reload,omitempty"`
}

// Empty reports whether the delta changes nothing but the mark.
func (d *Delta) Empty() bool {
	return len(d.Changes) == 0 && len(d.Gone) == 0 && len(d.Forgotten) == 0 && len(d.Lookup) == 0 &&
		d.Lost == nil && d.Held == nil && !d.Reload
}

// Mark is the mark of the status the delta leads to.
func (d *Delta) Mark() Mark { return Mark{d.Epoch, d.Generation} }

// Diff is the delta from a to b.
func Diff(a, b *Status) *Delta { return DiffEncoded(a, b, b.Encode()) }

// DiffEncoded is Diff for one who has the encoding of b.
func DiffEncoded(a, b *Status, encoded []byte) *Delta {
	d := &Delta{
		V: Version, Epoch: b.Epoch, Generation: b.Generation, Prev: a.Mark(), Digest: Digest(encoded),
		Manager: b.Manager, Time: b.Time, Changes: Changes(a, b), Lookup: lookupChanges(a.Lookup, b.Lookup),
		Lost: diffLosses(a.Lost, b.Lost), Held: diffLosses(a.Held, b.Held),
	}
	before := make(map[NodeID]*Departed, len(a.Departed))
	for i := range a.Departed {
		before[a.Departed[i].Node] = &a.Departed[i]
	}
	for _, n := range b.Departed {
		o := before[n.Node]
		if o == nil || !o.Until.Equal(n.Until) || !slices.Equal(o.Addresses, n.Addresses) {
			d.Gone = append(d.Gone, n)
		}
		delete(before, n.Node)
	}
	for i := range a.Departed {
		if n := a.Departed[i].Node; before[n] != nil {
			d.Forgotten = append(d.Forgotten, n)
		}
	}
	return d
}

// Changes lists the members that differ from a to b, by role and node.
func Changes(a, b *Status) []Change {
	var out []Change
	roles := append(a.RoleNames(), b.RoleNames()...)
	slices.Sort(roles)
	for _, r := range slices.Compact(roles) {
		as, bs := a.Roles[r], b.Roles[r]
		for len(as) > 0 || len(bs) > 0 {
			switch {
			case len(bs) == 0 || len(as) > 0 && as[0].Node < bs[0].Node:
				out = append(out, Change{Op: Left, Role: r, Node: as[0].Node})
				as = as[1:]
			case len(as) == 0 || bs[0].Node < as[0].Node:
				m := bs[0]
				out = append(out, Change{Op: Joined, Role: r, Node: m.Node, Member: &m})
				bs = bs[1:]
			default:
				if !as[0].Equal(&bs[0]) {
					m := bs[0]
					out = append(out, Change{Op: Updated, Role: r, Node: m.Node, Member: &m})
				}
				as, bs = as[1:], bs[1:]
			}
		}
	}
	return out
}

// Encode returns the plain form: at most MaxDelta bytes, by asking receivers to
// reload when the changes do not fit.
func (d *Delta) Encode() []byte {
	b, _ := d.encode(false)
	return b
}

// Message returns the wire form, with the message headers that it needs (nil:
// none): plain JSON up to MaxDelta bytes, compressed above. Receivers are asked
// to reload when the changes do not fit even so.
func (d *Delta) Message() (data []byte, header map[string]string) { return d.encode(true) }

// encode leaves changes of losses out first that do not fit: who follows them
// finds that by the next tick, and who knows nothing of them has nothing to
// reload.
func (d *Delta) encode(compressed bool) ([]byte, map[string]string) {
	c := *d
	c.Changes = slices.Clone(d.Changes)
	for i := range c.Changes {
		if m := c.Changes[i].Member; m != nil {
			n := *m
			n.normalise()
			c.Changes[i].Member = &n
		}
	}
	b, header, ok := pack(&c, compressed)
	if !ok && (c.Lost != nil || c.Held != nil) {
		c.Lost, c.Held = nil, nil
		b, header, ok = pack(&c, compressed)
	}
	if ok {
		return b, header
	}
	c.Changes, c.Gone = nil, nil
	c.Forgotten, c.Lookup = nil, nil
	c.Reload = true
	return Encode(&c), nil
}

// pack encodes d, a delta, if it fits.
func pack(d any, compressed bool) (data []byte, header map[string]string, ok bool) {
	b := Encode(d)
	if len(b) <= MaxDelta {
		return b, nil, true
	}
	if !compressed || len(b) > maxBigDelta {
		return nil, nil, false
	}
	z := compress(b)
	return z, map[string]string{headerEncoding: encodingGzip}, len(z) <= MaxView
}

// ReadDelta decodes and checks a delta from its message.
func ReadDelta(header func(string) string, data []byte) (*Delta, error) {
	plain, most, err := unpack(header, data)
	if err != nil {
		return nil, err
	}
	return parseDelta(plain, most)
}

// unpack is the text of a delta's message, and how long it may be.
func unpack(header func(string) string, data []byte) (plain []byte, most int, err error) {
	if header(headerEncoding) != encodingGzip {
		return data, MaxDelta, nil
	}
	if len(data) > MaxView {
		return nil, 0, Bad(CodeTooLarge, "%d bytes, %d allowed", len(data), MaxView)
	}
	plain, err = gunzip(data, maxBigDelta)
	return plain, maxBigDelta, err
}

// ParseDelta decodes and checks a delta that is not compressed.
func ParseDelta(b []byte) (*Delta, error) { return parseDelta(b, MaxDelta) }

func parseDelta(b []byte, most int) (*Delta, error) {
	var d Delta
	if err := Decode(b, most, &d); err != nil {
		return nil, err
	}
	return &d, d.check()
}

func (d *Delta) check() error {
	if err := CheckVersion(d.V); err != nil {
		return err
	}
	if !d.Mark().Sane() || !d.Prev.Sane() {
		return Bad(CodeRange, "epoch or generation above 2^53")
	}
	for _, c := range d.Changes {
		if c.Op != Left && (c.Member == nil || c.Member.Node != c.Node) {
			return Bad(CodeType, "change of %s without its member", clip(string(c.Node)))
		}
		if c.Member != nil {
			if err := checkMembers(c.Role, []Member{*c.Member}); err != nil {
				return err
			}
		}
	}
	for i := range d.Gone {
		if err := d.Gone[i].check(); err != nil {
			return err
		}
	}
	for r, l := range d.Lookup {
		if err := checkRoleName(r); err != nil {
			return err
		}
		if l == nil {
			continue
		}
		if err := l.check(); err != nil {
			return err
		}
	}
	return checkLossesChanges(d.Lost, d.Held)
}

// Apply makes the status that d leads to from s, with its encoding. ok is false
// if d does not start at s, asks for a reload, or the result does not have the
// digest that d promises: then only the snapshot helps.
func (s *Status) Apply(d *Delta) (next *Status, encoded []byte, ok bool) {
	return s.ApplyEncoded(nil, d)
}

// ApplyEncoded is Apply for one who has the encoding of s: of thousands of members
// few change, and the bytes of the others are copied. Another text than that encoding,
// also none, is no error, but takes longer.
func (s *Status) ApplyEncoded(had []byte, d *Delta) (next *Status, encoded []byte, ok bool) {
	if d.Reload || d.Prev != s.Mark() {
		return nil, nil, false
	}
	n := s.cloneFor(d.Changes)
	n.V = Version
	n.Epoch, n.Generation = d.Epoch, d.Generation
	n.Manager, n.Time = d.Manager, d.Time
	for _, c := range d.Changes {
		if c.Op == Left {
			n.Remove(c.Role, c.Node)
		} else {
			n.Put(c.Role, *c.Member)
		}
	}
	other := make(map[NodeID]bool, len(d.Forgotten)+len(d.Gone))
	for _, id := range d.Forgotten {
		other[id] = true
	}
	for i := range d.Gone {
		other[d.Gone[i].Node] = true
	}
	n.Departed = slices.DeleteFunc(n.Departed, func(x Departed) bool { return other[x.Node] })
	n.Departed = append(n.Departed, d.Gone...)
	slices.SortFunc(n.Departed, func(a, b Departed) int { return cmpNode(a.Node, b.Node) })
	for r, l := range d.Lookup {
		if l == nil {
			delete(n.Lookup, r)
			continue
		}
		if n.Lookup == nil {
			n.Lookup = make(map[Role]Lookup)
		}
		n.Lookup[r] = *l
	}
	n.applyLosses(d.Lost, d.Held)
	if encoded, ok = splice(had, s, n, d.Changes); ok && Digest(encoded) == d.Digest {
		return n, encoded, true
	}
	encoded = n.Encode()
	if Digest(encoded) != d.Digest {
		return nil, nil, false
	}
	return n, encoded, true
}

// cloneFor is a Clone for these changes: what it shares of the lists of members, they
// leave alone.
func (s *Status) cloneFor(changes []Change) *Status {
	c := *s
	c.Roles = maps.Clone(s.Roles)
	if c.Roles == nil {
		c.Roles = make(map[Role][]Member)
	}
	for i, x := range changes {
		if i == 0 || x.Role != changes[i-1].Role {
			c.Roles[x.Role] = slices.Clone(s.Roles[x.Role])
		}
	}
	c.Departed = slices.Clone(s.Departed)
	c.Lookup = maps.Clone(s.Lookup)
	c.Lost, c.Held = slices.Clone(s.Lost), slices.Clone(s.Held)
	return &c
}

func cmpNode(a, b NodeID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
