package zone

import (
	"fmt"
	"iter"
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
	Slice   int   // how many records one answer holds; 0: all
	Draw    *Draw // picks the records of one answer; nil: all
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

// Weights are those by which the records of a set with a slice are drawn, one per record;
// only their proportions mean something.
func (s RRset) Weights() []uint64 {
	if s.Draw == nil {
		return nil
	}
	out := make([]uint64, len(s.Records))
	for i := range out {
		out[i] = s.Draw.weight(i)
	}
	return out
}

// Names lists all names of the zone, those without records included: the apex
// first, then by text. The list must not be changed.
func (z *Zone) Names() []string { return z.sorted }

// sort makes the list of names.
func (z *Zone) sort() {
	z.sorted = append(make([]string, 0, len(z.names)), z.apex)
	for name := range z.names {
		if name != z.apex {
			z.sorted = append(z.sorted, name)
		}
	}
	slices.Sort(z.sorted[1:])
}

// RRsets yields all sets, by name as in Names and then by type, SOA and NS first.
func (z *Zone) RRsets() iter.Seq[RRset] {
	return func(yield func(RRset) bool) {
		for _, name := range z.sorted {
			for s := range z.Sets(name) {
				if !yield(s) {
					return
				}
			}
		}
	}
}

// Sets yields the sets of a name that Names lists, by type, SOA and NS first.
func (z *Zone) Sets(name string) iter.Seq[RRset] {
	return func(yield func(RRset) bool) {
		sets := z.names[name].sets
		if len(sets) > 1 && name == z.apex {
			sets = slices.Clone(sets)
			slices.SortStableFunc(sets, func(a, b *rrset) int { return rank(a.rtype) - rank(b.rtype) })
		}
		for _, s := range sets {
			r := RRset{Name: name, Type: s.rtype, Records: slices.Clip(s.rrs), Draw: s.draw, set: s}
			if s.draw != nil {
				r.Slice = s.draw.limit
			}
			if !yield(r) {
				return
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
			if w := s.Weights(); slices.Max(w) != slices.Min(w) {
				fmt.Fprintf(&b, " by weights %d", w)
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
