package subjects

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// MaxFollowed is how many roles a status may be limited to.
const MaxFollowed = 32

// Part is s limited to roles: their members, lookups, lost and held. The departed
// are of no role and left out. The lists are shared with s.
func (s *Status) Part(roles []Role) *Status {
	only := SortedRoles(roles)
	p := &Status{
		V: s.V, Domain: s.Domain, Epoch: s.Epoch, Generation: s.Generation, Manager: s.Manager, Time: s.Time,
		Roles: make(map[Role][]Member), Lookup: make(map[Role]Lookup), Only: only,
	}
	if s.LossesKnown() {
		p.ClearLosses()
	}
	for _, r := range only {
		if ms, ok := s.Roles[r]; ok {
			p.Roles[r] = ms
		}
		if l, ok := s.Lookup[r]; ok {
			p.Lookup[r] = l
		}
		p.Lost = append(p.Lost, ofRole(s.Lost, r)...)
		p.Held = append(p.Held, ofRole(s.Held, r)...)
	}
	return p
}

// SortedRoles is roles in order, each once.
func SortedRoles(roles []Role) []Role { return slices.Compact(slices.Sorted(slices.Values(roles))) }

// Covers reports whether s tells all of roles, which are sorted.
func (s *Status) Covers(roles []Role) bool {
	if s.Only == nil {
		return true
	}
	for _, r := range roles {
		if _, ok := slices.BinarySearch(s.Only, r); !ok {
			return false
		}
	}
	return true
}

// ofRole is the part of a sorted list that is of role.
func ofRole[T outsider[T]](list []T, role Role) []T {
	byRole := func(x T, r Role) int { return cmp.Compare(x.Pair().Role, r) }
	from, _ := slices.BinarySearchFunc(list, role, byRole)
	list = list[from:]
	for i, x := range list {
		if x.Pair().Role != role {
			return list[:i]
		}
	}
	return list
}

// RoleDigest names all that s says of role: 16 hex digits of the SHA-256 of the
// object {"members":[…],"lookup":{…},"lost":[…],"held":[…]}, "lookup" being absent if
// the role has no table.
func (s *Status) RoleDigest(role Role) string {
	ms := s.Roles[role]
	if ms == nil {
		ms = []Member{}
	}
	b := appendMembers([]byte(`{"members":`), ms)
	if l, ok := s.Lookup[role]; ok {
		b = appendLookup(append(b, `,"lookup":`...), l)
	}
	losses := Losses{Lost: ofRole(s.Lost, role), Held: append([]Held{}, ofRole(s.Held, role)...)}
	b = append(append(b, ','), losses.encode()[1:]...)
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:8])
}

// NoRoleDigest is the digest of a role of which nothing is said.
var NoRoleDigest = new(Status).RoleDigest("x")

// withAddresses is a copy of list in the form of the wire: it has no null.
func withAddresses(list []Lost) []Lost {
	out := append([]Lost{}, list...)
	for i := range out {
		if out[i].Addresses == nil {
			out[i].Addresses = []netip.Addr{}
		}
	}
	return out
}

// RoleDigests are the digests of all roles of which s says something.
func (s *Status) RoleDigests() map[Role]string {
	out := make(map[Role]string, len(s.Roles))
	add := func(r Role) {
		if _, ok := out[r]; !ok {
			out[r] = s.RoleDigest(r)
		}
	}
	for r := range s.Roles {
		add(r)
	}
	for r := range s.Lookup {
		add(r)
	}
	for _, x := range s.Lost {
		add(x.Role)
	}
	for _, x := range s.Held {
		add(x.Role)
	}
	return out
}

// Moved is s under the mark of a later status that says the same of its roles, with
// its encoding, which is made from that of s.
func (s *Status) Moved(m Mark, manager NodeID, at time.Time, encoded []byte) (*Status, []byte) {
	n := *s
	n.Epoch, n.Generation, n.Manager, n.Time = m.Epoch, m.Generation, manager, at
	body := []byte(`,"roles":`)
	head, _, _ := bytes.Cut((&Status{V: n.V, Domain: n.Domain, Epoch: n.Epoch, Generation: n.Generation, Manager: manager, Time: at}).Encode(), body)
	_, rest, _ := bytes.Cut(encoded, body)
	return &n, slices.Concat(head, body, rest)
}

// checkOnly returns a BadMessage if s tells of roles that it is not limited to.
func (s *Status) checkOnly() error {
	if s.Only == nil {
		return nil
	}
	if err := checkFollowed(s.Only); err != nil {
		return err
	}
	if !slices.IsSorted(s.Only) || len(slices.Compact(slices.Clone(s.Only))) != len(s.Only) {
		return Bad(CodeJSON, "the roles of a part are not sorted")
	}
	told := slices.Concat(slices.Collect(maps.Keys(s.Roles)), slices.Collect(maps.Keys(s.Lookup)))
	for i := range s.Lost {
		told = append(told, s.Lost[i].Role)
	}
	for i := range s.Held {
		told = append(told, s.Held[i].Role)
	}
	slices.Sort(told)
	if !s.Covers(slices.Compact(told)) || len(s.Departed) > 0 {
		return Bad(CodeForeign, "a part tells of other roles, or of departed nodes")
	}
	return nil
}

func checkFollowed(roles []Role) error {
	if len(roles) > MaxFollowed {
		return Bad(CodeRange, "%d roles, %d allowed", len(roles), MaxFollowed)
	}
	for _, r := range roles {
		if err := checkRoleName(r); err != nil {
			return err
		}
	}
	return nil
}
