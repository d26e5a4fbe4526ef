package zone

import (
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"

	"thor/subjects"
)

// What two zones have alike they share, if one was built after the other: few names
// change with a member, and what was made of the others, packed answers and signatures,
// is good for both.

// Shares reports whether z and other, of which one was built after the other, share a
// name with all its sets and the addresses beside them.
func (z *Zone) Shares(name string, other *Zone) bool {
	n := z.names[name]
	return n != nil && other.node(name) == n
}

// Shared reports whether s and other are one set, of two zones of which one was built
// after the other.
func (s RRset) Shared(other RRset) bool { return s.set == other.set }

// node is that of name; nil if there is none, or no zone.
func (z *Zone) node(name string) *node {
	if z == nil {
		return nil
	}
	return z.names[name]
}

// alike is the set of z at name that has the records and the draw of s, or s if there is none such.
func (z *Zone) alike(name string, s *rrset) *rrset {
	if n := z.node(name); n != nil {
		if old := n.set(s.rtype); old != nil && old.equal(s) {
			return old
		}
	}
	return s
}

// ties reports whether s, of an earlier zone, has the addresses of z beside its records.
func (z *Zone) ties(s *rrset) bool {
	for i, rr := range s.rrs {
		if !slices.Equal(s.glue[i], z.glueOf(rr)) {
			return false
		}
	}
	return true
}

// equal reports whether two sets of one name and type have the same records, drawn alike.
func (s *rrset) equal(o *rrset) bool {
	return s.draw.equal(o.draw) && s.vary.equal(o.vary) && slices.EqualFunc(s.rrs, o.rrs, equalRecords)
}

// sameMembers reports whether a role has the members that it had in the zone before.
func (a *assembly) sameMembers(role subjects.Role) bool {
	if a.prev == nil {
		return false
	}
	return slices.EqualFunc(a.status.Roles[role], a.prev.status.Roles[role], func(x, y subjects.Member) bool { return x.Equal(&y) })
}

// oldSet is that of the zone before at a name; nil if there was none.
func (a *assembly) oldSet(name string, rtype uint16) *rrset {
	if n := a.prev.node(name); n != nil {
		return n.set(rtype)
	}
	return nil
}

// hasAddresses reports whether s is a set of just these addresses, none of them drawn.
func (s *rrset) hasAddresses(as []netip.Addr, ttl uint32) bool {
	if s == nil || s.draw != nil || s.rrs[0].Header().Ttl != ttl {
		return false
	}
	return slices.EqualFunc(s.rrs, as, func(rr dns.RR, ad netip.Addr) bool {
		var ip net.IP
		switch rr := rr.(type) {
		case *dns.A:
			ip = rr.A
		case *dns.AAAA:
			ip = rr.AAAA
		}
		is, ok := netip.AddrFromSlice(ip)
		return ok && is == ad
	})
}

// hasTargets reports whether s is a set of SRV records to these hosts.
func (s *rrset) hasTargets(targets []string) bool {
	return s != nil && slices.EqualFunc(s.rrs, targets, func(rr dns.RR, target string) bool { return rr.(*dns.SRV).Target == target })
}

func (d *Draw) equal(o *Draw) bool {
	if d == o || d == nil || o == nil {
		return d == o
	}
	return d.limit == o.limit && d.n == o.n && slices.Equal(d.cum, o.cum) && d.prefer.equal(o.prefer)
}

func (v *variation) equal(o *variation) bool {
	if v == nil || o == nil {
		return v == o
	}
	return slices.Equal(v.weights, o.weights)
}

// equalRecords compares two records of one name and type, the usual ones without making text of them.
func equalRecords(a, b dns.RR) bool {
	if a == b || a.Header().Ttl != b.Header().Ttl {
		return a == b
	}
	switch a := a.(type) {
	case *dns.A:
		return a.A.Equal(b.(*dns.A).A)
	case *dns.AAAA:
		return a.AAAA.Equal(b.(*dns.AAAA).AAAA)
	case *dns.SRV:
		b := b.(*dns.SRV)
		return a.Target == b.Target && a.Port == b.Port && a.Priority == b.Priority && a.Weight == b.Weight
	}
	return a.String() == b.String()
}
