// Package whatif tells which share of a role's subscribers would move, and to
// whom, if members left, joined or had other weights. It does no I/O.
package whatif

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"thor/overlay/lookup"
	"thor/subjects"
)

// A Change is what to try.
type Change struct {
	Without []subjects.NodeID // leave
	Sites   []subjects.Site   // all their members leave
	With    []lookup.Member   // join, or have that weight
}

// Parse reads nodes and sites that leave, and NODE:WEIGHT that join.
func Parse(without, sites, with []string) (c Change, err error) {
	for _, name := range without {
		n, err := subjects.ParseNodeID(name)
		if err != nil {
			return Change{}, fmt.Errorf("--without: %w", err)
		}
		c.Without = append(c.Without, n)
	}
	for _, name := range sites {
		s, err := subjects.ParseSite(name)
		if err == nil && s == "" {
			err = subjects.ErrBadSite
		}
		if err != nil {
			return Change{}, fmt.Errorf("--without-site: %w", err)
		}
		c.Sites = append(c.Sites, s)
	}
	for _, s := range with {
		name, weight, ok := strings.Cut(s, ":")
		n, err := subjects.ParseNodeID(name)
		if err != nil {
			return Change{}, fmt.Errorf("--with: %w", err)
		}
		x, err := strconv.Atoi(weight)
		if !ok || err != nil || x < 0 || x > subjects.MaxWeight {
			return Change{}, fmt.Errorf("--with %q: write it as NODE:WEIGHT, weight 0 to %d (100 is usual)", s, subjects.MaxWeight)
		}
		c.With = append(c.With, lookup.Member{Node: n, Weight: x})
	}
	return c, nil
}

// Empty reports whether there is nothing to try.
func (c Change) Empty() bool { return len(c.Without)+len(c.Sites)+len(c.With) == 0 }

// apply is members after the change, of whom in says where they stand. A node that
// is to leave and is not there is an error, and so is a site without members.
func (c Change) apply(members []lookup.Member, in map[subjects.NodeID]subjects.Site) ([]lookup.Member, error) {
	out := slices.Clone(members)
	at := func(n subjects.NodeID) int {
		return slices.IndexFunc(out, func(m lookup.Member) bool { return m.Node == n })
	}
	for _, n := range c.Without {
		i := at(n)
		if i < 0 {
			return nil, fmt.Errorf("--without: %s is not in the role", n)
		}
		out = slices.Delete(out, i, i+1)
	}
	for _, s := range c.Sites {
		n := len(out)
		if out = slices.DeleteFunc(out, func(m lookup.Member) bool { return in[m.Node] == s }); len(out) == n {
			return nil, fmt.Errorf("--without-site: the role has no member in %s", s)
		}
	}
	for _, m := range c.With {
		m.Site = in[m.Node]
		if i := at(m.Node); i >= 0 {
			out[i] = m
		} else {
			out = append(out, m)
		}
	}
	return out, nil
}

// ErrNoTable says that the role has no lookup table.
var ErrNoTable = errors.New("no lookup table for this role")

// A Plan is what would move.
type Plan struct {
	Role       subjects.Role `json:"role"`
	Slots      int           `json:"slots"`
	Moved      int           `json:"moved"` // slots
	Share      float64       `json:"share"` // of all subscribers, 0 to 1
	Held       int           `json:"held"`  // of the slots moved, those whose next owner holds their subscribers already: their heir or remote
	Moves      []Move        `json:"moves"` // greatest first
	Epoch      uint64        `json:"epoch"`
	Generation uint64        `json:"generation"`
}

// A Move is from one node to another; empty is none.
type Move struct {
	From  subjects.NodeID `json:"from"`
	To    subjects.NodeID `json:"to"`
	Slots int             `json:"slots"`
	Share float64         `json:"share"`
}

// New computes what c would move in the role.
func New(role subjects.Role, s *subjects.Status, c Change) (*Plan, error) {
	l, ok := s.Lookup[role]
	if !ok {
		return nil, ErrNoTable
	}
	members, in := lookup.MembersFor(l, s.Roles[role]), make(map[subjects.NodeID]subjects.Site)
	for _, m := range s.Roles[role] {
		in[m.Node] = m.Site
	}
	changed, err := c.apply(members, in)
	if err != nil {
		return nil, err
	}
	now, err := lookup.New(l.Bits, members)
	if err != nil {
		return nil, err
	}
	if now.Name() != l {
		return nil, errors.New("the lookup table computed is not the one that the status names")
	}
	then, err := now.Update(changed)
	if err != nil {
		return nil, err
	}
	p := &Plan{Role: role, Slots: 1 << now.Bits(), Moves: []Move{}, Epoch: s.Epoch, Generation: s.Generation}
	p.count(now, then)
	return p, nil
}

func (p *Plan) count(now, then *lookup.Table) {
	slots := make(map[Move]int)
	for m := range now.Moves(then) {
		slots[Move{From: m.From, To: m.To}]++
		p.Moved++
		if a, err := now.At(m.Slot); err == nil && a.Holds(m.To) {
			p.Held++
		}
	}
	share := func(n int) float64 { return float64(n) / float64(p.Slots) }
	p.Share = share(p.Moved)
	for m, n := range slots {
		m.Slots, m.Share = n, share(n)
		p.Moves = append(p.Moves, m)
	}
	slices.SortFunc(p.Moves, func(a, b Move) int {
		return cmp.Or(cmp.Compare(b.Slots, a.Slots), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
}
