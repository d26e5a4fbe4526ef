package zone

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// An RRset is all records of one name and type, whole, for other outputs than
// answers. Its records are the zone's own and must not be changed.
type RRset struct {
	Name    string
	Type    uint16
	Records []dns.RR
	Slice   int      // how many records one answer holds; 0: all
	Weights []uint64 // of a set with a slice, one per record; only their proportions mean something
	Draw    *Draw    // picks the records of one answer; nil: all
	set     *rrset
}

// Glue are the addresses of the host that record i names, set by set; none of a
// host of another zone.
func (s RRset) Glue(i int) iter.Seq[[]dns.RR] {
	return func(yield func([]dns.RR) bool) {
		if s.set.glue == nil {
			return
		}
		for _, g := range s.set.glue[i] {
			if !yield(g.rrs) {
				return
			}
		}
	}
}

// Names lists all names of the zone, those without records included: the apex
// first, then by text.
func (z *Zone) Names() []string {
	names := slices.Sorted(maps.Keys(z.names))
	slices.SortStableFunc(names, func(a, b string) int {
		switch {
		case a == b:
			return 0
		case a == z.apex:
			return -1
		case b == z.apex:
			return 1
		}
		return 0
	})
	return names
}

// RRsets yields all sets, by name as in Names and then by type, SOA and NS first.
func (z *Zone) RRsets() iter.Seq[RRset] {
	return func(yield func(RRset) bool) {
		for _, name := range z.Names() {
			sets := slices.Clone(z.names[name].sets)
			slices.SortStableFunc(sets, func(a, b *rrset) int { return rank(a.rtype) - rank(b.rtype) })
			for _, s := range sets {
				r := RRset{Name: name, Type: s.rtype, Records: slices.Clone(s.rrs), Draw: s.draw, set: s}
				if s.draw != nil {
					r.Slice = s.draw.limit
					for i := range s.rrs {
						r.Weights = append(r.Weights, s.draw.weight(i))
					}
				}
				if !yield(r) {
					return
				}
			}
		}
	}
}

func rank(rtype uint16) int {
	switch rtype {
	case dns.TypeSOA:
		return -2
	case dns.TypeNS:
		return -1
	}
	return int(rtype)
}

// Text is the whole zone as a zone file: equal zones have equal texts. What a
// zone file cannot say, the slices, stands in comments.
func (z *Zone) Text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "; %s epoch %d generation %d configuration %s\n", z.apex, z.mark.Epoch, z.mark.Generation, z.digest)
	for s := range z.RRsets() {
		if s.Slice > 0 {
			fmt.Fprintf(&b, "; %d of %d", min(s.Slice, len(s.Records)), len(s.Records))
			if slices.Max(s.Weights) != slices.Min(s.Weights) {
				fmt.Fprintf(&b, " by weights %d", s.Weights)
			}
			b.WriteString(":\n")
		}
		for _, rr := range s.Records {
			b.WriteString(rr.String())
			b.WriteByte('\n')
		}
	}
	return b.String()
}
