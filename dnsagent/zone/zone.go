package zone

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"thor/subjects"
)

// A Zone is the zone of one status. It is immutable.
type Zone struct {
	apex     string
	digest   string
	mark     subjects.Mark
	serial   uint32
	status   *subjects.Status
	names    map[string]*node      // by canonical name; empty non-terminals included
	sorted   []string              // their names
	slots    map[string]*slotNames // by the label of a role: the names of the slots of its lookup table
	roles    map[string]bool       // names of roles, without the apex: those that are below all.D too
	pages    int                   // of the largest role
	static   map[string]bool       // names of static and of provisioned records
	unserved []Unserved
	negative *dns.SOA // as it goes with "there is none"
}

// Apex is the zone's name, lower case, with the final dot.
func (z *Zone) Apex() string { return z.apex }

// Digest is the digest of the configuration that shaped the zone.
func (z *Zone) Digest() string { return z.digest }

// Mark is the mark of the status the zone was made of.
func (z *Zone) Mark() subjects.Mark { return z.mark }

// Serial is the SOA's serial: the status's generation mod 2^32.
func (z *Zone) Serial() uint32 { return z.serial }

// SOA is the zone's. It must not be changed.
func (z *Zone) SOA() *dns.SOA { return z.names[z.apex].set(dns.TypeSOA).rrs[0].(*dns.SOA) }

// Negative is the SOA as it goes with "there is none". It must not be changed.
func (z *Zone) Negative() *dns.SOA { return z.negative }

// Made lists the names below which the zone makes names when they are asked for:
// Names has none of those.
func (z *Zone) Made() []string {
	return []string{lookupLabel + "." + z.apex, allLabel + "." + z.apex}
}

// A node is a name of the zone. Without sets it is a name that exists and has
// no records.
type node struct {
	sets      []*rrset
	addresses []*rrset // those of sets that go with records that name a host
}

func (n *node) set(rtype uint16) *rrset {
	for _, s := range n.sets {
		if s.rtype == rtype {
			return s
		}
	}
	return nil
}

// types appends the types of the records of n, in order.
func (n *node) types(to []uint16) []uint16 {
	for _, s := range n.sets {
		to = append(to, s.rtype)
	}
	return to
}

// Types are those of the records of a name that Names lists.
func (z *Zone) Types(name string) []uint16 { return z.names[name].types(nil) }

// An rrset is all records of one name and type.
type rrset struct {
	rtype uint16
	rrs   []dns.RR
	draw  *Draw      // which of rrs one answer holds; nil: all, in their order
	whole bool       // a page of a role's members: see Answer.Whole
	glue  [][]*rrset // of a set that names hosts: for each record its host's addresses
	vary  *variation // of a drawn set of SRV records; nil: answers have them as they are
}

// at is the node of name, made if it is new.
func (z *Zone) at(name string) *node {
	n := z.names[name]
	if n == nil {
		n = &node{}
		z.names[name] = n
	}
	return n
}

// link finishes the zone: it makes the empty non-terminals, ties the records that
// name a host of the zone to its addresses, and takes from prev what it has alike.
func (z *Zone) link(prev *Zone) {
	for _, name := range slices.Collect(maps.Keys(z.names)) {
		for parent := name; parent != z.apex; {
			i, end := dns.NextLabel(parent, 0)
			if end {
				break
			}
			parent = parent[i:]
			z.at(parent)
		}
	}
	for name, n := range z.names {
		slices.SortFunc(n.sets, func(a, b *rrset) int { return int(a.rtype) - int(b.rtype) })
		for i, s := range n.sets {
			if namesHosts(s.rtype) {
				continue
			}
			n.sets[i] = prev.alike(name, s)
			// The name of a whole role is no host: its slice is drawn when it is asked for.
			if s.draw == nil && (s.rtype == dns.TypeA || s.rtype == dns.TypeAAAA) {
				n.addresses = append(n.addresses, n.sets[i])
			}
		}
	}
	for name, n := range z.names {
		for i, s := range n.sets {
			if !namesHosts(s.rtype) {
				continue
			}
			if old := prev.alike(name, s); old != s && z.ties(old) {
				n.sets[i] = old
				continue
			}
			s.glue = z.glue(s.rrs)
		}
		if old := prev.node(name); old != nil && slices.Equal(old.sets, n.sets) {
			z.names[name] = old
		}
	}
	z.sort()
}

// namesHosts reports whether records of a type name hosts whose addresses go with them.
func namesHosts(rtype uint16) bool {
	return rtype == dns.TypeNS || rtype == dns.TypeSRV || rtype == dns.TypeMX
}

func (z *Zone) glue(rrs []dns.RR) [][]*rrset {
	out := make([][]*rrset, len(rrs))
	for i, rr := range rrs {
		out[i] = z.glueOf(rr)
	}
	return out
}

// glueOf are the addresses of the host that rr names; none of a host of another zone.
func (z *Zone) glueOf(rr dns.RR) []*rrset {
	if n := z.names[canonical(hostOf(rr))]; n != nil {
		return n.addresses
	}
	return nil
}

func hostOf(rr dns.RR) string {
	switch rr := rr.(type) {
	case *dns.NS:
		return rr.Ns
	case *dns.SRV:
		return rr.Target
	case *dns.MX:
		return rr.Mx
	}
	return ""
}

// contains reports whether name, in lower case, is the apex or below.
func (z *Zone) contains(name string) bool {
	above, ok := strings.CutSuffix(name, z.apex)
	if !ok || above == "" {
		return ok
	}
	above, ok = strings.CutSuffix(above, ".")
	escapes := len(above) - len(strings.TrimRight(above, `\`))
	return ok && escapes%2 == 0 // else the dot is part of a label
}

// An Answer is what the zone has to say to one question. One Answer can be used
// again and again: its sections then keep their room. The records are the
// zone's own and must not be changed.
type Answer struct {
	Rcode         int // dns.RcodeSuccess, RcodeNameError, or RcodeRefused for a name of another zone
	Authoritative bool
	Answer        []dns.RR
	Authority     []dns.RR
	Additional    []dns.RR // addresses of hosts named in Answer, whole sets one after the other
	// Denied is the name of which there is no such record, and Types are what it has;
	// without Exists there is no such name. Empty: there is an answer.
	Denied string
	Exists bool
	Types  []uint16
	// Whole is an answer with all members of a role: much for a small question, and for
	// clients that can prove where they are.
	Whole bool

	drawn Slice
}

func (a *Answer) reset() {
	a.Rcode, a.Authoritative, a.Whole = dns.RcodeSuccess, false, false
	a.Denied, a.Exists, a.Types = "", false, a.Types[:0]
	a.Answer = a.Answer[:0]
	a.Authority = a.Authority[:0]
	a.Additional = a.Additional[:0]
}

const (
	maxChain = 16   // CNAMEs in one answer: resolvers follow no more, and no configuration has more
	anyTTL   = 3600 // seconds; the answer to ANY never changes
)

// Lookup answers a question of class IN into a, for an asker of no site. The name is
// absolute, in any case. The slice of a role's set is drawn with rng, which is not
// shared.
//
// Over all transports and message sizes the answer is the same: a slice is all
// there is to have.
func (z *Zone) Lookup(name string, qtype uint16, rng *rand.Rand, a *Answer) {
	z.LookupBy(name, qtype, (*anywhere)(rng), a)
}

// A Picker picks the records of one answer out of the set of a name and type.
type Picker interface {
	Pick(name string, rtype uint16, d *Draw, out *Slice)
}

// anywhere picks by chance, for an asker of no site.
type anywhere rand.Rand

func (r *anywhere) Pick(_ string, _ uint16, d *Draw, out *Slice) {
	d.PickFor((*rand.Rand)(r), 0, out)
}

// A Random picks by chance, for an asker at Site; "": of no site.
type Random struct {
	Rand *rand.Rand
	Site subjects.Site
	// Preferred says that a slice was picked that is of this asker's site alone.
	Preferred bool
}

// Pick implements Picker.
func (r *Random) Pick(_ string, _ uint16, d *Draw, out *Slice) {
	r.Preferred = r.Preferred || d.Prefers()
	d.PickFor(r.Rand, d.Asker(r.Site), out)
}

// LookupBy is Lookup with slices that pick picks.
func (z *Zone) LookupBy(name string, qtype uint16, pick Picker, a *Answer) {
	a.reset()
	name = strings.ToLower(name) // no copy if it is already
	if !z.contains(name) {
		a.Rcode = dns.RcodeRefused
		return
	}
	a.Authoritative = true
	for range maxChain + 1 {
		n := z.names[name]
		if n == nil {
			n = z.made(name)
		}
		a.Denied, a.Exists = name, n != nil
		if n == nil {
			a.Rcode = dns.RcodeNameError
			break
		}
		cname := n.set(dns.TypeCNAME)
		if qtype == dns.TypeANY && cname == nil && len(n.sets) > 0 {
			// RFC 8482 4.2: one small record, so that the server does not amplify a flood.
			a.Answer = append(a.Answer, &dns.HINFO{Hdr: header(name, dns.TypeHINFO, anyTTL), Cpu: "RFC8482"})
			a.Denied = ""
			return
		}
		if s := n.set(qtype); s != nil {
			s.answer(name, pick, a)
			a.Denied = ""
			return
		}
		if cname == nil {
			a.Types = n.types(a.Types)
			break
		}
		a.Denied = ""
		a.Answer = append(a.Answer, cname.rrs[0])
		if qtype == dns.TypeANY { // which it is an answer to (RFC 1034 3.6.2)
			return
		}
		name = cname.rrs[0].(*dns.CNAME).Target
		if !z.contains(name) {
			return
		}
	}
	a.Authority = append(a.Authority, z.negative)
}

// made makes the node of a name that is made when it is asked for; nil if there is none.
func (z *Zone) made(name string) *node {
	if n := z.slotNode(name); n != nil {
		return n
	}
	return z.allNode(name)
}

// answer appends s or a slice of it, and the addresses of the hosts it names.
func (s *rrset) answer(name string, pick Picker, a *Answer) {
	a.Whole = s.whole
	if s.draw == nil {
		for i := range s.rrs {
			s.take(i, a)
		}
		return
	}
	pick.Pick(name, s.rtype, s.draw, &a.drawn)
	for k := range a.drawn.N {
		a.Answer = append(a.Answer, s.record(&a.drawn, k))
		s.beside(a.drawn.Records[k], a)
	}
}

func (s *rrset) take(i int, a *Answer) {
	a.Answer = append(a.Answer, s.rrs[i])
	s.beside(i, a)
}

// beside appends the addresses of the host that record i names.
func (s *rrset) beside(i int, a *Answer) {
	if s.glue == nil {
		return
	}
	for _, g := range s.glue[i] {
		if !slices.Contains(a.Additional, g.rrs[0]) { // two records may name one host
			a.Additional = append(a.Additional, g.rrs...)
		}
	}
}
