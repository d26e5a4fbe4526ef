package subjects

import (
	"maps"
	"slices"
	"time"
)

// A RoleDelta is the part of a [Delta] that is about one role, for those who follow
// some roles only. Digest is the RoleDigest after it: whoever holds the role as it
// was before gets the status's by it. Reload set means that the change is too big to
// tell.
type RoleDelta struct {
	V          int                 `json:"v"`
	Epoch      uint64              `json:"epoch"`
	Generation uint64              `json:"generation"`
	Role       Role                `json:"role"`
	Digest     string              `json:"digest"`
	Set        []Member            `json:"set,omitempty"` // new or different members
	Gone       []NodeID            `json:"gone,omitempty"`
	Lookup     *Lookup             `json:"lookup,omitempty"` // after the change; absent: the role has no table
	Lost       *LossesChange[Lost] `json:"lost,omitempty"`
	Held       *LossesChange[Held] `json:"held,omitempty"`
	Reload     bool                `json:"reload,omitempty"`
}

// Mark is the mark of the status that the delta is a part of.
func (d *RoleDelta) Mark() Mark { return Mark{d.Epoch, d.Generation} }

// A RoleTick is the Tick for those who follow some roles only: it goes before each.
// Members is how many serve, Roles has the RoleDigest of each role of which the status
// says something; Beat is the Tick's.
type RoleTick struct {
	V          int             `json:"v"`
	Epoch      uint64          `json:"epoch"`
	Generation uint64          `json:"generation"`
	Beat       int             `json:"beat,omitempty"`
	Members    int             `json:"members"`
	Roles      map[Role]string `json:"roles"`
	Manager    NodeID          `json:"manager"`
	Time       time.Time       `json:"time"`
}

// Mark is the mark of the status that the tick names.
func (t *RoleTick) Mark() Mark { return Mark{t.Epoch, t.Generation} }

// Digest is what t says of role.
func (t *RoleTick) Digest(role Role) string {
	if d, ok := t.Roles[role]; ok {
		return d
	}
	return NoRoleDigest
}

// Encode returns the wire form.
func (t *RoleTick) Encode() []byte { return Encode(t) }

// ParseRoleTick decodes and checks a tick of the roles.
func ParseRoleTick(b []byte) (*RoleTick, error) {
	var t RoleTick
	if err := Decode(b, MaxView, &t); err != nil {
		return nil, err
	}
	if err := CheckVersion(t.V); err != nil {
		return nil, err
	}
	if !t.Mark().Sane() {
		return nil, Bad(CodeRange, "epoch or generation above 2^53")
	}
	if t.Beat < 0 || t.Beat > maxBeat || t.Members < 0 {
		return nil, Bad(CodeRange, "a beat of %d ms, %d members", t.Beat, t.Members)
	}
	for r, digest := range t.Roles {
		if err := checkRoleName(r); err != nil {
			return nil, err
		}
		if err := CheckText("digest of a role", digest, 64); err != nil {
			return nil, err
		}
	}
	return &t, nil
}

// ByRole are the parts of d, which leads to next, by role. They have no digest yet.
func (d *Delta) ByRole(next *Status) []*RoleDelta {
	parts := make(map[Role]*RoleDelta)
	of := func(r Role) *RoleDelta {
		p := parts[r]
		if p == nil {
			p = &RoleDelta{V: Version, Epoch: d.Epoch, Generation: d.Generation, Role: r}
			if l, ok := next.Lookup[r]; ok {
				p.Lookup = &l
			}
			parts[r] = p
		}
		return p
	}
	for _, c := range d.Changes {
		p := of(c.Role)
		if c.Op == Left {
			p.Gone = append(p.Gone, c.Node)
		} else {
			p.Set = append(p.Set, *c.Member)
		}
	}
	for r := range d.Lookup {
		of(r)
	}
	shareLosses(d.Lost, func(r Role) **LossesChange[Lost] { return &of(r).Lost })
	shareLosses(d.Held, func(r Role) **LossesChange[Held] { return &of(r).Held })
	out := make([]*RoleDelta, 0, len(parts))
	for _, r := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, parts[r])
	}
	return out
}

// shareLosses puts what c says of each role where of says.
func shareLosses[T outsider[T]](c *LossesChange[T], of func(Role) **LossesChange[T]) {
	if c == nil {
		return
	}
	part := func(r Role) *LossesChange[T] {
		p := of(r)
		if *p == nil {
			*p = &LossesChange[T]{Set: []T{}, Gone: []Pair{}}
		}
		return *p
	}
	for _, x := range c.Set {
		p := part(x.Pair().Role)
		p.Set = append(p.Set, x)
	}
	for _, x := range c.Gone {
		p := part(x.Role)
		p.Gone = append(p.Gone, x)
	}
}

// Message returns the wire form, with the message headers that it needs, as
// [Delta.Message] does.
func (d *RoleDelta) Message() (data []byte, header map[string]string) {
	c := *d
	c.Set = slices.Clone(d.Set)
	for i := range c.Set {
		c.Set[i].normalise()
	}
	if b, header, ok := pack(&c, true); ok {
		return b, header
	}
	return Encode(&RoleDelta{V: d.V, Epoch: d.Epoch, Generation: d.Generation, Role: d.Role, Digest: d.Digest, Reload: true}), nil
}

// ReadRoleDelta decodes and checks a role's delta from its message. role is that of
// the subject.
func ReadRoleDelta(role Role, header func(string) string, data []byte) (*RoleDelta, error) {
	plain, most, err := unpack(header, data)
	if err != nil {
		return nil, err
	}
	var d RoleDelta
	if err := Decode(plain, most, &d); err != nil {
		return nil, err
	}
	if d.Role != role {
		return nil, Bad(CodeForeign, "delta of %s on the subject of %s", clip(string(d.Role)), clip(string(role)))
	}
	return &d, d.check()
}

func (d *RoleDelta) check() error {
	if err := CheckVersion(d.V); err != nil {
		return err
	}
	if !d.Mark().Sane() {
		return Bad(CodeRange, "epoch or generation above 2^53")
	}
	if err := checkMembers(d.Role, d.Set); err != nil {
		return err
	}
	if d.Lookup != nil {
		if err := d.Lookup.check(); err != nil {
			return err
		}
	}
	if err := CheckText("digest", d.Digest, 64); err != nil {
		return err
	}
	if err := checkOfRole(d.Lost, d.Role); err != nil {
		return err
	}
	if err := checkOfRole(d.Held, d.Role); err != nil {
		return err
	}
	return checkLossesChanges(d.Lost, d.Held)
}

// checkOfRole returns a BadMessage if c is about another role.
func checkOfRole[T outsider[T]](c *LossesChange[T], role Role) error {
	if c == nil {
		return nil
	}
	bad := slices.ContainsFunc(c.Set, func(x T) bool { return x.Pair().Role != role }) ||
		slices.ContainsFunc(c.Gone, func(x Pair) bool { return x.Role != role })
	if bad {
		return Bad(CodeForeign, "a delta of %s tells of another role", role)
	}
	return nil
}

// ApplyRole is s, a part that covers the role, with the change of d, under the mark
// of s. ok is false if d asks for a reload, or the role does not get the digest that
// d promises: then d does not start at s.
func (s *Status) ApplyRole(d *RoleDelta) (next *Status, ok bool) {
	if d.Reload {
		return nil, false
	}
	n := *s
	n.Roles, n.Lookup = maps.Clone(s.Roles), maps.Clone(s.Lookup)
	n.Roles[d.Role] = slices.Clone(s.Roles[d.Role])
	for _, id := range d.Gone {
		n.Remove(d.Role, id)
	}
	for _, m := range d.Set {
		n.Put(d.Role, m)
	}
	if len(n.Roles[d.Role]) == 0 {
		delete(n.Roles, d.Role)
	}
	delete(n.Lookup, d.Role)
	if d.Lookup != nil {
		n.Lookup[d.Role] = *d.Lookup
	}
	n.applyLosses(d.Lost, d.Held)
	return &n, n.RoleDigest(d.Role) == d.Digest
}
