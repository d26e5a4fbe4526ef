package zone

import (
	"cmp"
	"math/rand/v2"
	"slices"

	"github.com/miekg/dns"

	"thor/subjects"
)

// A Slice is the records of one answer out of a set, by their indices.
type Slice struct {
	Records [MaxSlice]int
	N       int // how many there are
	// Near is how many of the first are of the asker's site, where the rest is to be
	// less preferred; N: all are alike.
	Near int
	// Whole and RestWhole say of the first Near and of the rest that no other records could
	// have been drawn: the client is to draw among them by weight.
	Whole, RestWhole bool
}

// of reports whether the k-th record is less preferred, and whether the client draws
// by weight among its like.
func (s *Slice) of(k int) (rest, whole bool) {
	if k < s.Near {
		return false, s.Whole
	}
	return true, s.RestWhole
}

// A preference has the slices of a set depend on who asks, and on how many members are
// up. Records have positions for it, by their site, those that are never drawn last.
type preference struct {
	order    []int32         // by position: the record
	cum      running         // of the weights by position
	main     int             // positions below are drawn
	sites    []subjects.Site // of members, sorted
	of       []nearby        // the same
	min      int
	priority bool // the rest of a slice is of other sites, at a lower priority
}

// nearby is the records of one site: those at the positions from to to.
type nearby struct {
	from, to int
	enough   bool // so many members are up that others are not needed
}

// otherSites is how much less other sites are preferred, as SRV priority.
const otherSites = 10

// A variation is how the SRV records of answers differ from those of the set: by
// priority where the answer has those of other sites too, by weight where it leaves
// the client the draw that is ours in others.
type variation struct {
	weights []uint16 // by record; nil: those of the records
}

// Varied is what the k-th record of a slice has for priority and weight instead of those
// of the set, of which it is record i.
func (s RRset) Varied(sl *Slice, k, i int, priority, weight uint16) (uint16, uint16) {
	return s.set.vary.of(sl, k, i, priority, weight)
}

// Varies reports whether Varied changes anything.
func (s RRset) Varies() bool { return s.set != nil && s.set.vary != nil }

func (v *variation) of(sl *Slice, k, i int, priority, weight uint16) (uint16, uint16) {
	rest, whole := sl.of(k)
	if rest {
		priority += otherSites
	}
	if whole && v.weights != nil {
		weight = v.weights[i]
	}
	return priority, weight
}

// Record is the k-th record of a slice of s.
func (s RRset) Record(sl *Slice, k int) dns.RR { return s.set.record(sl, k) }

func (s *rrset) record(sl *Slice, k int) dns.RR {
	i := sl.Records[k]
	if s.vary == nil {
		return s.rrs[i]
	}
	rr := s.rrs[i].(*dns.SRV)
	priority, weight := s.vary.of(sl, k, i, rr.Priority, rr.Weight)
	if priority == rr.Priority && weight == rr.Weight {
		return rr
	}
	other := *rr
	other.Priority, other.Weight = priority, weight
	return &other
}

// A standing is what counts of the member behind a record of a set.
type standing struct {
	site  subjects.Site
	spare bool // of tier 2
	up    int  // 1: its member is up, and no other record of the set counts for it
}

// preferring makes the draw of a set, whose records have these weights, depend on their
// standings. It returns d itself if they make no difference.
func (d *Draw) preferring(p Preference, standings []standing, weights []uint64) *Draw {
	x := &preference{order: make([]int32, d.n), main: d.n, min: p.Min, priority: p.By == ByPriority}
	up, spares := 0, 0
	for i, s := range standings {
		x.order[i] = int32(i)
		if s.spare {
			spares++
		} else {
			up += s.up
		}
	}
	without := spares > 0 && up >= p.Min // the spares are not served
	if without {
		x.main -= spares
	}
	site := func(i int32) subjects.Site {
		if p.Prefer != PreferSite {
			return ""
		}
		return standings[i].site
	}
	last := func(i int32) int {
		if without && standings[i].spare {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(x.order, func(a, b int32) int { return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(site(a), site(b))) })
	ups := 0
	for at, i := range x.order[:x.main] {
		s := site(i)
		if s == "" {
			continue
		}
		if n := len(x.sites); n == 0 || x.sites[n-1] != s {
			x.sites, x.of = append(x.sites, s), append(x.of, nearby{from: at})
			ups = 0
		}
		ups += standings[i].up
		x.of[len(x.of)-1].to, x.of[len(x.of)-1].enough = at+1, ups >= p.Min
	}
	if !without && len(x.sites) == 0 {
		return d // nothing to prefer
	}
	ordered := make([]uint64, d.n)
	for at, i := range x.order {
		ordered[at] = weights[i]
	}
	x.cum = runningSums(ordered)
	out := *d
	out.prefer = x
	return &out
}

// Prefers reports whether PickFor differs from Pick.
func (d *Draw) Prefers() bool { return d.prefer != nil }

// Askers is how many kinds of askers there are: those of no site that has members, and
// those of each site.
func (d *Draw) Askers() int {
	if d.prefer == nil {
		return 1
	}
	return 1 + len(d.prefer.sites)
}

// Asker is which kind one at site is, 0 to Askers()-1.
func (d *Draw) Asker(site subjects.Site) int {
	if d.prefer == nil || site == "" {
		return 0
	}
	for i, s := range d.prefer.sites { // few
		if s == site {
			return i + 1
		}
	}
	return 0
}

// Fixed reports whether all slices for an asker have the same records.
func (d *Draw) Fixed(asker int) bool {
	if d.prefer == nil {
		return d.limit == d.n
	}
	if asker > 0 {
		if n := &d.prefer.of[asker-1]; n.enough && !d.prefer.priority {
			return n.to-n.from <= d.limit
		}
	}
	return d.prefer.main <= d.limit
}

// PickFor is Pick for an asker: of its site first, of others while too few of its own
// are up, of spares while too few of the rest are. It allocates nothing.
func (d *Draw) PickFor(rng *rand.Rand, asker int, out *Slice) {
	x := d.prefer
	if x == nil {
		out.N = d.Pick(rng, &out.Records)
		out.Near, out.Whole = out.N, false
		return
	}
	out.N, out.Whole, out.RestWhole = 0, false, false
	all := segment{to: x.main}
	if asker == 0 {
		x.pick(rng, all, d.limit, out)
		out.Near, out.Whole = out.N, x.main <= d.limit
		return
	}
	own := x.of[asker-1]
	near := segment{from: own.from, to: own.to}
	others := segment{to: x.main, hole: own.from, hollow: own.to - own.from}
	k, rest := min(near.size(), d.limit), 0
	switch {
	case x.priority:
		rest = min(others.size(), d.limit-min(k, max(x.min, (d.limit+1)/2)))
		k = min(k, d.limit-rest)
	case !own.enough:
		rest = min(others.size(), d.limit-k)
	}
	x.pick(rng, near, k, out)
	if rest > 0 {
		x.pick(rng, others, rest, out)
	}
	out.Near = out.N
	if x.priority {
		out.Near, out.RestWhole = k, rest == others.size()
	}
	out.Whole = k == near.size() && (x.priority || own.enough || rest == others.size())
}

// pick draws k distinct records of a segment behind those that out has.
func (x *preference) pick(rng *rand.Rand, s segment, k int, out *Slice) {
	part := out.Records[out.N : out.N+min(k, s.size())]
	x.cum.draw(rng, s, part)
	for i, at := range part {
		part[i] = int(x.order[at])
	}
	out.N += len(part)
}

func (x *preference) equal(o *preference) bool {
	if x == nil || o == nil {
		return x == o
	}
	return x.main == o.main && x.min == o.min && x.priority == o.priority && slices.Equal(x.order, o.order) && slices.Equal(x.cum, o.cum) &&
		slices.Equal(x.sites, o.sites) && slices.Equal(x.of, o.of)
}
