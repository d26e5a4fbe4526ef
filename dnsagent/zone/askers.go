package zone

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"thor/subjects"
)

// Askers tell the site of who asks by address. They are immutable and safe for
// concurrent use; nil knows no sites.
type Askers struct {
	own  subjects.Site // of those in no network of the table
	four ranges
	six  ranges
}

// ranges are all addresses of a family in parts that are as large as they can be with
// one site in each, in order.
type ranges struct {
	from  []uint128 // first address
	parts []part
}

type part struct {
	site  subjects.Site
	known bool // the table has it
	bits  int  // of the prefix
}

type uint128 struct{ high, low uint64 }

func (a uint128) compare(b uint128) int {
	return cmp.Or(cmp.Compare(a.high, b.high), cmp.Compare(a.low, b.low))
}

// Askers is the table of c for a name server at own; "": it is in no site. nil where
// nothing is known.
func (c *Config) Askers(own subjects.Site) *Askers {
	if own == "" && len(c.Sites) == 0 {
		return nil
	}
	a := &Askers{own: own}
	var four, six []entry
	for text, site := range c.Sites {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			continue // Validate tells
		}
		if p.Addr().Is4() {
			four = append(four, entry{p, site})
		} else {
			six = append(six, entry{p, site})
		}
	}
	if len(four) > 0 {
		a.four.split(four, netip.PrefixFrom(netip.IPv4Unspecified(), 0), part{})
	}
	if len(six) > 0 {
		a.six.split(six, netip.PrefixFrom(netip.IPv6Unspecified(), 0), part{})
	}
	return a
}

type entry struct {
	prefix netip.Prefix
	site   subjects.Site
}

// split appends the parts of within, of which inherited holds where no entry does.
func (r *ranges) split(entries []entry, within netip.Prefix, inherited part) {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e entry) bool {
		if e.prefix == within {
			inherited = part{site: e.site, known: true}
		}
		return e.prefix == within
	})
	inherited.bits = within.Bits()
	if len(entries) == 0 {
		r.from, r.parts = append(r.from, number(within.Addr())), append(r.parts, inherited)
		return
	}
	first := len(r.parts)
	for _, half := range halves(within) {
		r.split(slices.DeleteFunc(slices.Clone(entries), func(e entry) bool { return !half.Contains(e.prefix.Addr()) }), half, inherited)
	}
	if len(r.parts) == first+2 && r.parts[first].site == r.parts[first+1].site && r.parts[first].known == r.parts[first+1].known {
		r.from, r.parts = r.from[:first+1], r.parts[:first+1]
		r.parts[first].bits = within.Bits()
	}
}

// halves are the two prefixes that make up p.
func halves(p netip.Prefix) [2]netip.Prefix {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(b) // of the length it had
	return [2]netip.Prefix{netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)}
}

func number(a netip.Addr) uint128 {
	if a.Is4() {
		b := a.As4()
		return uint128{low: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return uint128{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// At is the site of who asks from an address, "" if it is not known, and the bits of the
// greatest network around the address that is all of this site. It allocates nothing.
func (a *Askers) At(from netip.Addr) (site subjects.Site, bits int) {
	if a == nil {
		return "", 0
	}
	r := &a.six
	if from = from.Unmap(); from.Is4() {
		r = &a.four
	}
	if len(r.parts) == 0 {
		return a.own, 0
	}
	n := number(from)
	low, high := 0, len(r.from)-1 // the last that begins at n or before
	for low < high {
		if mid := (low + high + 1) / 2; r.from[mid].compare(n) <= 0 {
			low = mid
		} else {
			high = mid - 1
		}
	}
	p := &r.parts[low]
	if !p.known {
		return a.own, p.bits
	}
	return p.site, p.bits
}
