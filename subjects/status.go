package subjects

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A Member is one (node, role) of the Status.
type Member struct {
	Node      NodeID       `json:"node"`
	Addresses []netip.Addr `json:"addresses"`
	State     State        `json:"state"`  // Up, Suspect or Draining
	Reason    string       `json:"reason"` // why it is not up; of one that is up: what is wrong all the same, such as a duplicate
	Priority  int          `json:"priority"`
	Weight    int          `json:"weight"`
	Since     time.Time    `json:"since"` // of this state, by the manager's clock; for show
	Version   string       `json:"version,omitempty"`
	Plain     bool         `json:"plain,omitempty"` // announces without boot and seq
	Attrs     Attrs        `json:"attrs"`
	// Where it is. Site is what its node's certificate says, or what it announces where the
	// manager trusts that: it counts. AnnouncedSite is only announced: it attracts nothing. At most
	// one is set; Digest covers neither.
	Site          Site `json:"site,omitempty"`
	AnnouncedSite Site `json:"announced_site,omitempty"`
}

// Address is the address to show for m.
func (m *Member) Address() netip.Addr {
	if len(m.Addresses) == 0 {
		return netip.Addr{}
	}
	return m.Addresses[0]
}

// Serves reports whether m is to get new work: it is up or suspect.
func (m *Member) Serves() bool { return m.State != Draining }

// Equal reports whether m and o say the same.
func (m *Member) Equal(o *Member) bool {
	return m.Node == o.Node && m.State == o.State && m.Reason == o.Reason && m.Priority == o.Priority &&
		m.Weight == o.Weight && m.Since.Equal(o.Since) && m.Version == o.Version && m.Plain == o.Plain && m.Site == o.Site && m.AnnouncedSite == o.AnnouncedSite &&
		slices.Equal(m.Addresses, o.Addresses) && maps.Equal(m.Attrs, o.Attrs)
}

// A Departed node has no service any more, or is no member of anything, but its
// host name is still answered until Until: clients hold dialogs with it.
type Departed struct {
	Node      NodeID       `json:"node"`
	Addresses []netip.Addr `json:"addresses"`
	Until     time.Time    `json:"until"`
}

// A Status is the whole view of the network that the active manager publishes:
// the one truth for all who read it. Two statuses with the same Mark are
// the same. A Status that has been published or received is never written to
// again; change a Clone.
type Status struct {
	V          int               `json:"v"`
	Domain     string            `json:"domain"`
	Epoch      uint64            `json:"epoch"`
	Generation uint64            `json:"generation"`
	Manager    NodeID            `json:"manager"`
	Time       time.Time         `json:"time"`  // of this generation, by the manager's clock; for show
	Roles      map[Role][]Member `json:"roles"` // a role without members is absent
	Departed   []Departed        `json:"departed"`
	Lookup     map[Role]Lookup   `json:"lookup"`         // of the roles that have a table
	Only       []Role            `json:"only,omitempty"` // of a Part: the roles that it is limited to, sorted; nil: none is left out
	Losses                       // in EncodeFull only
}

// Mark orders the status among others.
func (s *Status) Mark() Mark { return Mark{s.Epoch, s.Generation} }

// Member finds (node, role), or returns nil, as a nil Status does.
func (s *Status) Member(role Role, node NodeID) *Member {
	if s == nil {
		return nil
	}
	ms := s.Roles[role]
	i, ok := slices.BinarySearchFunc(ms, node, func(m Member, n NodeID) int { return cmp.Compare(m.Node, n) })
	if !ok {
		return nil
	}
	return &ms[i]
}

// RoleNames lists the roles that have members, sorted; a nil Status has none.
func (s *Status) RoleNames() []Role {
	if s == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(s.Roles))
}

// Counts is the number of members of each role that serve.
func (s *Status) Counts() map[Role]int {
	if s == nil {
		return nil
	}
	c := make(map[Role]int, len(s.Roles))
	for r, ms := range s.Roles {
		n := 0
		for i := range ms {
			if ms[i].Serves() {
				n++
			}
		}
		c[r] = n
	}
	return c
}

// Clone is a copy whose maps and lists may be changed. Members' addresses and
// attributes stay shared: they are replaced, never written.
func (s *Status) Clone() *Status {
	c := *s
	c.Roles = make(map[Role][]Member, len(s.Roles))
	for r, ms := range s.Roles {
		c.Roles[r] = slices.Clone(ms)
	}
	c.Departed = slices.Clone(s.Departed)
	c.Lookup = maps.Clone(s.Lookup)
	c.Lost, c.Held = slices.Clone(s.Lost), slices.Clone(s.Held)
	return &c
}

// Put inserts or replaces a member in order.
func (s *Status) Put(role Role, m Member) {
	ms := s.Roles[role]
	i, ok := slices.BinarySearchFunc(ms, m.Node, func(m Member, n NodeID) int { return cmp.Compare(m.Node, n) })
	if ok {
		ms[i] = m
		return
	}
	if s.Roles == nil {
		s.Roles = make(map[Role][]Member)
	}
	s.Roles[role] = slices.Insert(ms, i, m)
}

// Remove takes a member out; the role vanishes with its last member.
func (s *Status) Remove(role Role, node NodeID) {
	ms := slices.DeleteFunc(s.Roles[role], func(m Member) bool { return m.Node == node })
	if len(ms) == 0 {
		delete(s.Roles, role)
		return
	}
	s.Roles[role] = ms
}

// Encode returns the canonical wire form without losses and sites: the same status
// gives the same bytes everywhere. Absent lists are written as empty ones, so that
// scripts need no special case.
func (s *Status) Encode() []byte {
	members := 0
	for _, ms := range s.Roles {
		members += len(ms)
	}
	return appendStatus(make([]byte, 0, 512+256*members), s)
}

func (m *Member) normalise() {
	if m.Attrs == nil {
		m.Attrs = Attrs{}
	}
	if m.Addresses == nil {
		m.Addresses = []netip.Addr{}
	}
}

// Digest names the content of an encoded status: 32 hex digits of its SHA-256.
func Digest(encoded []byte) string {
	h := sha256.Sum256(encoded)
	return hex.EncodeToString(h[:16])
}

// ParseStatus decodes and checks an encoded status.
func ParseStatus(b []byte) (*Status, error) {
	var s Status
	if err := Decode(b, maxStatus, &s); err != nil {
		return nil, err
	}
	return &s, s.Check()
}

// Check returns a BadMessage if s breaks a rule of the wire, order included.
func (s *Status) Check() error {
	if err := CheckVersion(s.V); err != nil {
		return err
	}
	if !s.Mark().Sane() {
		return Bad(CodeRange, "epoch or generation above 2^53")
	}
	if err := CheckText("domain", s.Domain, 253); err != nil {
		return err
	}
	for _, r := range s.RoleNames() {
		if err := checkMembers(r, s.Roles[r]); err != nil {
			return err
		}
	}
	for i := range s.Departed {
		if err := s.Departed[i].check(); err != nil {
			return err
		}
	}
	if err := checkLookups(s.Lookup); err != nil {
		return err
	}
	if err := s.checkOnly(); err != nil {
		return err
	}
	return s.Losses.check()
}

func (d *Departed) check() error {
	if _, err := ParseNodeID(string(d.Node)); err != nil {
		return Bad(CodeName, "%v", err)
	}
	return checkAddresses(d.Addresses)
}

// checkRoleName is not ParseRole: a newer manager may know thor_ roles that we do not.
func checkRoleName(r Role) error {
	if len(r) == 0 || len(r) > 63 || CheckText("role", string(r), 63) != nil {
		return Bad(CodeName, "role %q", clip(string(r)))
	}
	return nil
}

func checkMembers(r Role, ms []Member) error {
	if err := checkRoleName(r); err != nil {
		return err
	}
	for i := range ms {
		if err := ms[i].check(); err != nil {
			return err
		}
		if i > 0 && ms[i-1].Node >= ms[i].Node {
			return Bad(CodeJSON, "members of %s are not sorted by node", r)
		}
	}
	return nil
}

func (m *Member) check() error {
	if _, err := ParseNodeID(string(m.Node)); err != nil {
		return Bad(CodeName, "%v", err)
	}
	if err := checkAddresses(m.Addresses); err != nil {
		return err
	}
	switch m.State {
	case Up, Suspect, Draining:
	default:
		return Bad(CodeState, "state %q", clip(string(m.State)))
	}
	if m.Priority < 0 || m.Priority > 65535 || m.Weight < 0 || m.Weight > 65535 {
		return Bad(CodeRange, "priority and weight are 0 to 65535")
	}
	if err := CheckText("reason", m.Reason, MaxReason); err != nil {
		return err
	}
	if err := CheckText("version", m.Version, 64); err != nil {
		return err
	}
	if err := m.Site.check(); err != nil {
		return err
	}
	if err := m.AnnouncedSite.check(); err != nil {
		return err
	}
	return m.Attrs.check()
}

// A Tick says once a second which status is current. Digest is the Digest of
// the encoded status, LossesDigest that of its losses, empty where the manager
// keeps none, SitesDigest that of its sites, empty where no member has one; Beat is how often members are to beat, in milliseconds, and says that
// all managers understand short beats: 0 stands for 1000 and full ones. Counts are
// the serving members of each role, Lookup is the status's.
type Tick struct {
	V            int             `json:"v"`
	Epoch        uint64          `json:"epoch"`
	Generation   uint64          `json:"generation"`
	Digest       string          `json:"digest"`
	LossesDigest string          `json:"losses_digest,omitempty"`
	SitesDigest  string          `json:"sites_digest,omitempty"`
	Beat         int             `json:"beat,omitempty"`
	Manager      NodeID          `json:"manager"`
	Time         time.Time       `json:"time"`
	Counts       map[Role]int    `json:"counts"`
	Lookup       map[Role]Lookup `json:"lookup,omitempty"`
}

// Mark is the mark of the status that the tick names.
func (t *Tick) Mark() Mark { return Mark{t.Epoch, t.Generation} }

// Encode returns the wire form.
func (t *Tick) Encode() []byte { return Encode(t) }

// ParseTick decodes and checks a tick.
func ParseTick(b []byte) (*Tick, error) {
	var t Tick
	if err := Decode(b, MaxView, &t); err != nil {
		return nil, err
	}
	if err := CheckVersion(t.V); err != nil {
		return nil, err
	}
	if !t.Mark().Sane() {
		return nil, Bad(CodeRange, "epoch or generation above 2^53")
	}
	if err := checkLookups(t.Lookup); err != nil {
		return nil, err
	}
	if err := CheckText("digest", t.Digest, 64); err != nil {
		return nil, err
	}
	if t.Beat < 0 || t.Beat > maxBeat {
		return nil, Bad(CodeRange, "a beat of %d ms", t.Beat)
	}
	if err := CheckText("sites_digest", t.SitesDigest, 64); err != nil {
		return nil, err
	}
	return &t, CheckText("losses_digest", t.LossesDigest, 64)
}

// A RoleView is one role's whole member list, as its bare subject shows it. A list
// that is too big for a message is told in parts: each is a RoleView of its own with
// the members of its part, in order.
type RoleView struct {
	V          int      `json:"v"`
	Domain     string   `json:"domain"`
	Epoch      uint64   `json:"epoch"`
	Generation uint64   `json:"generation"`
	Role       Role     `json:"role"`
	Members    []Member `json:"members"`
	Lookup     *Lookup  `json:"lookup,omitempty"` // absent: the role has no table
	Part       int      `json:"part,omitempty"`   // counted from 1; absent: this is all
	Parts      int      `json:"parts,omitempty"`
}

// View is the RoleView of role in s; Members is empty for an absent role.
func (s *Status) View(role Role) *RoleView {
	ms := slices.Clone(s.Roles[role])
	if ms == nil {
		ms = []Member{}
	}
	for i := range ms {
		ms[i].normalise()
	}
	v := &RoleView{V: Version, Domain: s.Domain, Epoch: s.Epoch, Generation: s.Generation, Role: role, Members: ms}
	if l, ok := s.Lookup[role]; ok {
		v.Lookup = &l
	}
	return v
}

// Encode returns v as one message, however long.
func (v *RoleView) Encode() []byte { return appendView(make([]byte, 0, 512+256*len(v.Members)), v) }

// Messages are the messages that tell v, each at most MaxView bytes.
func (v *RoleView) Messages() [][]byte {
	whole := v.Encode()
	if len(whole) <= MaxView {
		return [][]byte{whole}
	}
	for of := len(whole)/MaxView + 1; ; of++ {
		if parts, ok := v.cut(of); ok {
			return parts
		}
	}
}

// cut tells v in so many parts of as many members each; ok is false if one is too big.
func (v *RoleView) cut(of int) (parts [][]byte, ok bool) {
	for n := range of {
		p := *v
		p.Members = v.Members[n*len(v.Members)/of : (n+1)*len(v.Members)/of]
		p.Part, p.Parts = n+1, of
		b := p.Encode()
		if len(b) > MaxView && len(p.Members) > 1 {
			return nil, false
		}
		parts = append(parts, b)
	}
	return parts, true
}

// ParseRoleView decodes and checks a role view.
func ParseRoleView(b []byte) (*RoleView, error) {
	var v RoleView
	if err := Decode(b, MaxView, &v); err != nil {
		return nil, err
	}
	if err := CheckVersion(v.V); err != nil {
		return nil, err
	}
	if v.Lookup != nil {
		if err := v.Lookup.check(); err != nil {
			return nil, err
		}
	}
	return &v, checkMembers(v.Role, v.Members)
}
