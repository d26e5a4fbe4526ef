package lookup

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"thor/subjects"
)

// remotes are the third node of every slot: the first in rank that stands in
// another site than the owner. A member without a site may stand anywhere, so it is
// the remote of no slot; where it owns one, any member with a site is remote.
// They are immutable.
type remotes struct {
	*siting
	of     []uint16 // by slot: the index of a member
	digest uint64
}

// A siting is where the members of a grid stand: by index, a number for each site
// in the order of their names, from 1 on; 0: no site.
type siting struct {
	names  []subjects.Site // by number; the first is ""
	number []uint16
}

// newSiting is nil if the candidates stand in fewer than two sites.
func newSiting(ms []Member, candidates []candidate) *siting {
	if !slices.ContainsFunc(ms, func(m Member) bool { return m.Site != "" }) {
		return nil // costs nothing more
	}
	site := make(map[subjects.NodeID]subjects.Site, len(ms))
	for i := range ms {
		site[ms[i].Node] = ms[i].Site
	}
	s := &siting{names: []subjects.Site{""}, number: make([]uint16, len(candidates))}
	for i := range candidates {
		s.names = append(s.names, site[candidates[i].node])
	}
	slices.Sort(s.names)
	if s.names = slices.Compact(s.names); len(s.names) < 3 {
		return nil
	}
	for i := range candidates {
		n, _ := slices.BinarySearch(s.names, site[candidates[i].node])
		s.number[i] = uint16(n)
	}
	return s
}

// of is the site of a member; "" also for no siting.
func (s *siting) site(index int) subjects.Site {
	if s == nil {
		return ""
	}
	return s.names[s.number[index]]
}

func (s *siting) equal(o *siting) bool {
	if s == nil || o == nil {
		return s == o
	}
	return slices.Equal(s.names, o.names) && slices.Equal(s.number, o.number)
}

// elsewhere reports whether a member with the number other can be the remote of one
// with the number mine.
func elsewhere(other, mine uint16) bool { return other != 0 && other != mine }

// heirs are the slots' pairs with the members' sites: where the heir is elsewhere
// it is the first in rank there is.
func (s *siting) heir(p uint32) (remote uint16, ok bool) {
	owner, heir := split(p)
	return uint16(heir), heir != none && elsewhere(s.number[heir], s.number[owner])
}

// newRemotes evaluates every slot of g.
func newRemotes(g *grid, s *siting) *remotes {
	r := &remotes{siting: s, of: make([]uint16, len(g.pairs))}
	e := newSiteEvaluator(g.members, s)
	for slot, p := range g.pairs {
		heir, ok := s.heir(p)
		if !ok {
			heir = e.slot(slotHash(uint32(slot)), s.number[p&0xffff])
		}
		r.of[slot] = heir
	}
	return r
}

// remotesOf makes the remotes of g from those of an older grid, which may be nil.
func remotesOf(old *remotes, from, g *grid, s *siting) *remotes {
	switch {
	case s == nil:
		return nil
	case old == nil:
		return newRemotes(g, s)
	case from == g && old.siting.equal(s):
		return old
	}
	d := compare(from.members, g.members)
	numbers, ok := old.renumber(s, d)
	if !ok || d.cost(len(from.members), len(g.members)) >= len(g.members) {
		return newRemotes(g, s)
	}
	r := &remotes{siting: s, of: make([]uint16, len(g.pairs))}
	var e *siteEvaluator
	for slot, p := range g.pairs {
		heir, ok := s.heir(p)
		if ok {
			r.of[slot] = heir
			continue
		}
		site := s.number[p&0xffff]
		owner, _ := split(from.pairs[slot])
		was := &d.changes[old.of[slot]]
		if was.worse || numbers[old.number[owner]] != int(site) {
			if e == nil {
				e = newSiteEvaluator(g.members, s)
			}
			r.of[slot] = e.slot(slotHash(uint32(slot)), site)
			continue
		}
		r.of[slot] = uint16(was.index)
		if len(d.contenders) > 0 {
			r.of[slot] = d.best(was, s, site, slotHash(uint32(slot)))
		}
	}
	return r
}

// renumber are the numbers that the sites of r have in s, −1 for those that are
// gone. ok is false if a member is in another site than before.
func (r *remotes) renumber(s *siting, d *diff) (numbers []int, ok bool) {
	numbers = make([]int, len(r.names))
	for i, name := range r.names {
		n, found := slices.BinarySearch(s.names, name)
		if !found {
			n = -1
		}
		numbers[i] = n
	}
	for i := range d.changes {
		if at := d.changes[i].index; at != none && int(s.number[at]) != numbers[r.number[i]] {
			return nil, false
		}
	}
	return numbers, true
}

// best is the remote of a slot, exactly, from the one before, which did not get
// worse, and all contenders in other sites than that of the owner.
func (d *diff) best(was *change, s *siting, site uint16, m uint64) uint16 {
	b := contest{m: m}
	b.enter(&was.candidate, int(was.index))
	for i := range d.contenders {
		if c := &d.contenders[i]; elsewhere(s.number[c.index], site) {
			b.enter(&c.candidate, c.index)
		}
	}
	return uint16(b.index)
}

// A contest finds the best of some members for one slot, whose hash is m, with as
// few logarithms as it takes.
type contest struct {
	m      uint64
	any    bool
	scored bool
	draw
	weight uint64
}

func (b *contest) enter(c *candidate, index int) { b.draws(mix64(c.hash^b.m), c.weight, index) }

func (b *contest) draws(x, weight uint64, index int) {
	switch {
	case !b.any:
		b.any, b.draw, b.weight = true, draw{x: x, index: index}, weight
	case weight == b.weight: // then the draws decide
		if x > b.x || x == b.x && index < b.index {
			b.scored, b.draw = false, draw{x: x, index: index}
		}
	default:
		if !b.scored {
			b.scored, b.score = true, score(b.x, b.weight)
		}
		if hopeless(x, weight, b.score) {
			return
		}
		if d := (draw{score(x, weight), x, index}); d.beats(&b.draw) {
			b.draw, b.weight = d, weight
		}
	}
}

// A siteEvaluator finds the best of all members outside a site.
type siteEvaluator struct {
	hashes  []uint64 // by weight and site
	indices []int
	groups  []siteGroup
}

type siteGroup struct {
	group
	site uint16
}

func newSiteEvaluator(members []candidate, s *siting) *siteEvaluator {
	e := &siteEvaluator{hashes: make([]uint64, 0, len(members))}
	for i := range members {
		if s.number[i] != 0 {
			e.indices = append(e.indices, i)
		}
	}
	slices.SortStableFunc(e.indices, func(a, b int) int {
		return cmp.Or(cmp.Compare(members[a].weight, members[b].weight), cmp.Compare(s.number[a], s.number[b]))
	})
	for i, at := range e.indices {
		e.hashes = append(e.hashes, members[at].hash)
		g := siteGroup{group{weight: members[at].weight, from: i}, s.number[at]}
		if n := len(e.groups); n == 0 || e.groups[n-1].weight != g.weight || e.groups[n-1].site != g.site {
			e.groups = append(e.groups, g)
		}
		e.groups[len(e.groups)-1].to = i + 1
	}
	return e
}

// slot is the best for the slot whose hash is m outside site.
func (e *siteEvaluator) slot(m uint64, site uint16) uint16 {
	b := contest{m: m, draw: draw{index: none}}
	for i := range e.groups {
		if g := &e.groups[i]; g.site != site {
			x, k := first(e.hashes[g.from:g.to], m)
			b.draws(x, g.weight, e.indices[g.from+k])
		}
	}
	return uint16(b.index)
}

// first is the greatest draw and its position; of equal ones the first wins.
func first(hashes []uint64, m uint64) (x uint64, at int) {
	for i, h := range hashes {
		if y := mix64(h ^ m); y > x || i == 0 {
			x, at = y, i
		}
	}
	return x, at
}

// sum is XXH64 over the version of the function, the digest of the table by version
// 1, the members' sites and all remotes.
func (r *remotes) sum(v1 uint64) uint64 {
	b := append(make([]byte, 0, 4096), "THORLKP2"...)
	b = binary.LittleEndian.AppendUint64(b, v1)
	for _, n := range r.number {
		b = append(b, byte(len(r.names[n])))
		b = append(b, r.names[n]...)
	}
	d := xxhash.New()
	_, _ = d.Write(b) // never fails
	for some := range slices.Chunk(r.of, 1<<MinBits) {
		b = b[:0]
		for _, at := range some {
			b = binary.LittleEndian.AppendUint16(b, at)
		}
		_, _ = d.Write(b)
	}
	return d.Sum64()
}

// RemoteDigest names the sites of the members and the remotes of all slots, as
// Digest names the rest; "" if the members stand in fewer than two sites, and
// there are no remotes.
func (t *Table) RemoteDigest() string {
	if t.remote == nil {
		return ""
	}
	return fmt.Sprintf("%016x", t.remote.digest)
}
