package subjects

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of what a status says of members that are not in their role.
const (
	MaxLost = 10_000 // entries of Losses.Lost
	maxHeld = 50_000 // entries of Losses.Held
)

// Losses are the (node, role) pairs that failed or are held out. A pair is in its
// role, in Lost, in Held, or in none of them. Both lists are sorted by role and
// node. They have a digest of their own, since members of an earlier version know
// nothing of them: see Status.EncodeFull.
//
// Both lists are nil where the manager does not keep them; a manager that does
// and has none keeps empty ones.
type Losses struct {
	Lost []Lost `json:"lost,omitempty"`
	Held []Held `json:"held,omitempty"`
}

// States of members that are not in their role, for what shows them beside the
// others. No member of a Status has one.
const (
	StateLost State = "lost"
	StateHeld State = "held"
)

// A Lost is a member that was removed because it failed: it crashed, fell silent,
// failed its check or its certificate expired. It stays so until it returns, an
// operator forgets it, or a manager does after three days.
type Lost struct {
	Node      NodeID       `json:"node"`
	Role      Role         `json:"role"`
	Addresses []netip.Addr `json:"addresses"` // as announced last; none: not known to the manager
	Since     time.Time    `json:"since"`     // by the clock of Status.Time
	Reason    string       `json:"reason"`
}

// A Held is a member that announces itself and is kept out of its role for a
// while, since it left and came back too often.
type Held struct {
	Node   NodeID    `json:"node"`
	Role   Role      `json:"role"`
	Until  time.Time `json:"until"` // when it returns if it stays well, by the clock of Status.Time
	Reason string    `json:"reason"`
}

// A Pair names one node in one role.
type Pair struct {
	Node NodeID `json:"node"`
	Role Role   `json:"role"`
}

// Compare orders pairs by role, then by node.
func (p Pair) Compare(q Pair) int {
	return cmp.Or(cmp.Compare(p.Role, q.Role), cmp.Compare(p.Node, q.Node))
}

// Pair is the (node, role) of l.
func (l Lost) Pair() Pair { return Pair{l.Node, l.Role} }

// Pair is the (node, role) of h.
func (h Held) Pair() Pair { return Pair{h.Node, h.Role} }

func (l Lost) equal(o Lost) bool {
	return l.Pair() == o.Pair() && l.Since.Equal(o.Since) && l.Reason == o.Reason && slices.Equal(l.Addresses, o.Addresses)
}

func (h Held) equal(o Held) bool {
	return h.Pair() == o.Pair() && h.Until.Equal(o.Until) && h.Reason == o.Reason
}

// An outsider is an entry of Losses.
type outsider[T any] interface {
	Pair() Pair
	equal(T) bool
}

// LossesKnown reports whether the manager keeps losses.
func (l *Losses) LossesKnown() bool { return l.Lost != nil && l.Held != nil }

// ClearLosses makes l say that nothing is lost or held.
func (l *Losses) ClearLosses() { l.Lost, l.Held = []Lost{}, []Held{} }

// FindLost finds (node, role) among the lost, or returns nil.
func (l *Losses) FindLost(role Role, node NodeID) *Lost { return findPair(l.Lost, Pair{node, role}) }

// FindHeld finds (node, role) among the held, or returns nil.
func (l *Losses) FindHeld(role Role, node NodeID) *Held { return findPair(l.Held, Pair{node, role}) }

func findPair[T outsider[T]](list []T, p Pair) *T {
	i, ok := slices.BinarySearchFunc(list, p, func(x T, p Pair) int { return x.Pair().Compare(p) })
	if !ok {
		return nil
	}
	return &list[i]
}

// NoLossesDigest is the digest of Losses that are known to be empty.
var NoLossesDigest = func() string {
	var l Losses
	l.ClearLosses()
	return l.LossesDigest()
}()

// LossesDigest names the content of l as Digest does that of a status; "" if l is not
// known.
func (l *Losses) LossesDigest() string {
	if !l.LossesKnown() {
		return ""
	}
	return Digest(l.encode())
}

// encode is the JSON object that LossesDigest is made of.
func (l *Losses) encode() []byte {
	return Encode(struct {
		Lost []Lost `json:"lost"`
		Held []Held `json:"held"`
	}{withAddresses(l.Lost), l.Held})
}

// The digest of the losses follows the status proper in a full encoding.
const lossesMark = `,"losses_digest":"`

// EncodeFull is the status with its losses and sites, in the form of a snapshot for
// those who asked for both, of the key-value store and of the disk. encoded is what
// Encode returns for s.
func (s *Status) EncodeFull(encoded []byte) []byte { return s.EncodeLosses(s.insertSites(encoded)) }

// EncodeLosses is the status with its losses, for those who asked for these only: members
// of an earlier version. encoded is what Encode returns for s: it is the beginning, and
// its digest names the status.
// What follows is losses_digest, lost and held; it is absent where the losses are
// not known.
func (s *Status) EncodeLosses(encoded []byte) []byte {
	if !s.LossesKnown() {
		return encoded
	}
	losses := s.Losses.encode()
	out := make([]byte, 0, len(encoded)+len(losses)+64)
	out = append(out, encoded[:len(encoded)-1]...)
	out = append(out, lossesMark...)
	out = append(out, Digest(losses)...)
	out = append(out, `",`...)
	return append(out, losses[1:]...)
}

// SplitFull takes a full encoding apart into what Encode returned and the digest
// of the losses, which is "" if b has none.
func SplitFull(b []byte) (encoded []byte, losses string) {
	head, losses := splitLosses(b)
	return removeSites(head), losses
}

func splitLosses(b []byte) (head []byte, losses string) {
	at := bytes.LastIndex(b, []byte(lossesMark))
	if at < 0 {
		return b, ""
	}
	digest, rest, ok := bytes.Cut(b[at+len(lossesMark):], []byte(`",`))
	// The mark may also be an attribute of a member: then this is no object with its digest.
	object := append([]byte{'{'}, rest...)
	if !ok || Digest(object) != string(digest) || !json.Valid(object) {
		return b, ""
	}
	return append(slices.Clone(b[:at]), '}'), string(digest)
}

// A LossesChange is how one list of Losses differs between two statuses.
type LossesChange[T any] struct {
	Set  []T    `json:"set"`  // new or different entries
	Gone []Pair `json:"gone"` // entries that are no more
}

// diffLosses is the change from a to b, both sorted; nil if they are equal.
func diffLosses[T outsider[T]](a, b []T) *LossesChange[T] {
	c := &LossesChange[T]{Set: []T{}, Gone: []Pair{}}
	for len(a) > 0 || len(b) > 0 {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = a[0].Pair().Compare(b[0].Pair())
		}
		switch {
		case order < 0:
			c.Gone = append(c.Gone, a[0].Pair())
			a = a[1:]
		case order > 0:
			c.Set = append(c.Set, b[0])
			b = b[1:]
		default:
			if !a[0].equal(b[0]) {
				c.Set = append(c.Set, b[0])
			}
			a, b = a[1:], b[1:]
		}
	}
	if len(c.Set) == 0 && len(c.Gone) == 0 {
		return nil
	}
	return c
}

// apply is list with c made to it, in a slice of its own.
func (c *LossesChange[T]) apply(list []T, pair func(T) Pair) []T {
	out := make([]T, 0, len(list)+len(c.Set))
	changed := make(map[Pair]bool, len(c.Set)+len(c.Gone))
	for _, x := range c.Set {
		changed[pair(x)] = true
	}
	for _, p := range c.Gone {
		changed[p] = true
	}
	for _, x := range list {
		if !changed[pair(x)] {
			out = append(out, x)
		}
	}
	out = append(out, c.Set...)
	slices.SortFunc(out, func(x, y T) int { return pair(x).Compare(pair(y)) })
	return out
}

// applyLosses makes changes, nil for none, to l, whose lists stay as they are.
func (l *Losses) applyLosses(lost *LossesChange[Lost], held *LossesChange[Held]) {
	if lost == nil && held == nil {
		return
	}
	if !l.LossesKnown() {
		l.ClearLosses()
	}
	if lost != nil {
		l.Lost = lost.apply(l.Lost, Lost.Pair)
	}
	if held != nil {
		l.Held = held.apply(l.Held, Held.Pair)
	}
}

func (l *Losses) check() error {
	if len(l.Lost) > MaxLost || len(l.Held) > maxHeld {
		return Bad(CodeRange, "%d lost and %d held members, %d and %d allowed", len(l.Lost), len(l.Held), MaxLost, maxHeld)
	}
	for i, x := range l.Lost {
		if err := x.check(); err != nil {
			return err
		}
		if i > 0 && l.Lost[i-1].Pair().Compare(x.Pair()) >= 0 {
			return Bad(CodeJSON, "lost members are not sorted by role and node")
		}
	}
	for i, x := range l.Held {
		if err := x.check(); err != nil {
			return err
		}
		if i > 0 && l.Held[i-1].Pair().Compare(x.Pair()) >= 0 {
			return Bad(CodeJSON, "held members are not sorted by role and node")
		}
	}
	return nil
}

func checkLossesChanges(lost *LossesChange[Lost], held *LossesChange[Held]) error {
	if c := lost; c != nil {
		for _, x := range c.Set {
			if err := x.check(); err != nil {
				return err
			}
		}
	}
	if c := held; c != nil {
		for _, x := range c.Set {
			if err := x.check(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l Lost) check() error {
	if err := l.Pair().check(); err != nil {
		return err
	}
	if len(l.Addresses) > 0 {
		if err := checkAddresses(l.Addresses); err != nil {
			return err
		}
	}
	return CheckText("reason", l.Reason, MaxReason)
}

func (h Held) check() error {
	if err := h.Pair().check(); err != nil {
		return err
	}
	return CheckText("reason", h.Reason, MaxReason)
}

func (p Pair) check() error {
	if err := checkRoleName(p.Role); err != nil {
		return err
	}
	if _, err := ParseNodeID(string(p.Node)); err != nil {
		return Bad(CodeName, "%v", err)
	}
	return nil
}

// AttrExpect is the attribute in which a manager announces how many members its
// configuration expects in which role: "media_relay=2 sip_proxy=3".
const AttrExpect = "expect"

// FormatExpected is the value of AttrExpect; "" for none.
func FormatExpected(n map[Role]int) string {
	var b strings.Builder
	for _, r := range slices.Sorted(maps.Keys(n)) {
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%s=%d", r, n[r])
	}
	return b.String()
}

// Expected is how many members the active manager expects at least in which role.
// What is malformed in its attribute is passed over.
func (s *Status) Expected() map[Role]int {
	if s == nil {
		return nil
	}
	m := s.Member(Manager, s.Manager)
	if m == nil {
		return nil
	}
	out := make(map[Role]int)
	for _, x := range strings.Fields(m.Attrs[AttrExpect]) {
		name, count, _ := strings.Cut(x, "=")
		r, err := ParseRole(name)
		if n, e := strconv.Atoi(count); err == nil && e == nil && n > 0 {
			out[r] = n
		}
	}
	return out
}

// LossRoles are the roles of which members are lost, held or expected, sorted.
func (s *Status) LossRoles() []Role {
	if s == nil {
		return nil
	}
	roles := slices.Collect(maps.Keys(s.Expected()))
	for i := range s.Lost {
		roles = append(roles, s.Lost[i].Role)
	}
	for i := range s.Held {
		roles = append(roles, s.Held[i].Role)
	}
	slices.Sort(roles)
	return slices.Compact(roles)
}

// AllRoles are the roles that have members and those of LossRoles, sorted.
func (s *Status) AllRoles() []Role {
	roles := append(s.RoleNames(), s.LossRoles()...)
	slices.Sort(roles)
	return slices.Compact(roles)
}
