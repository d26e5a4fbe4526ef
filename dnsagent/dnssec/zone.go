package dnssec

import (
	"bytes"
	"slices"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// A Zone is a zone with its signatures.
type Zone struct {
	*zone.Zone
	signer
	sets  map[id]*Set
	names map[string]*Set // the denial at each name
	soa   *Set            // the SOA as it goes with "there is none"
}

type id struct {
	name  string
	rtype uint16
}

// New makes a zone whose answers are signed by keys. z has the records of the keys. The
// signatures of what z shares with the zone of prev, if prev has the same keys, are used
// further; nil: there is none.
func New(z *zone.Zone, keys *Keys, prev *Zone) *Zone {
	if prev == nil || prev.keys != keys || prev.Negative().Hdr.Ttl != z.Negative().Hdr.Ttl {
		prev = &Zone{Zone: z} // without any sets
	}
	all := z.Names()
	out := &Zone{
		Zone: z, signer: signer{keys, z.Apex()}, sets: make(map[id]*Set, 2*len(all)), names: make(map[string]*Set, len(all)),
	}
	for s := range z.RRsets() {
		k := id{s.Name, s.Type}
		set := prev.sets[k]
		if set == nil || !set.of.Shared(s) {
			set = newSet(out.signer, s)
		}
		out.sets[k] = set
	}
	for _, owner := range all {
		denial := prev.names[owner]
		if denial == nil || !z.Shares(owner, prev.Zone) {
			denial = out.denial(owner, z.Types(owner), true)
		}
		out.names[owner] = denial
	}
	out.soa = &Set{signer: out.signer, records: []dns.RR{z.SOA()}, ttl: z.Negative().Hdr.Ttl}
	return out
}

// Set has the signatures of a set of the zone; nil if there is none such.
func (z *Zone) Set(owner string, rtype uint16) *Set { return z.sets[id{owner, rtype}] }

// Denial has what is sent to say that a name of the zone has no other types; nil if
// there is no such name.
func (z *Zone) Denial(owner string) *Set { return z.names[owner] }

// SOA has the signature of the SOA as it goes with "there is none".
func (z *Zone) SOA() *Set { return z.soa }

// denial says that a name has these types alone, or that it does not exist (RFC 9824 3.1, 3.2).
func (z *Zone) denial(owner string, types []uint16, exists bool) *Set {
	ttl := z.Negative().Hdr.Ttl // RFC 9077
	bitmap := append(slices.Clone(types), dns.TypeRRSIG, dns.TypeNSEC)
	if !exists {
		bitmap = append(bitmap, dns.TypeNXNAME)
	}
	slices.Sort(bitmap)
	return &Set{signer: z.signer, ttl: ttl, records: []dns.RR{&dns.NSEC{
		Hdr:        dns.RR_Header{Name: owner, Rrtype: dns.TypeNSEC, Class: dns.ClassINET, Ttl: ttl},
		NextDomain: next(owner), TypeBitMap: bitmap,
	}}}
}

// Sizes in bytes of a name as it travels, and of a label.
const (
	maxName  = 255
	maxLabel = 63
)

// next is the first name behind owner in canonical order (RFC 4034 6.1, RFC 4470 3).
func next(owner string) string {
	wire := make([]byte, maxName+1)
	n, err := dns.PackDomainName(owner, wire, 0, nil, false)
	if err != nil || n+2 <= maxName {
		return `\000.` + owner
	}
	text, _, err := dns.UnpackDomainName(beside(wire[:n]), 0) // there is no room for a name below owner
	if err != nil {
		return `\000.` + owner
	}
	return text
}

// beside is the first name behind name and all that is below it; name is in lower case.
func beside(name []byte) []byte {
	end := 1 + int(name[0])
	label, above := name[1:end], name[end:]
	if len(name) < maxName && len(label) < maxLabel {
		return join(append(slices.Clone(label), 0), above)
	}
	label = bytes.TrimRight(label, "\xff")
	switch {
	case len(label) == 0 && len(above) > 0: // the last label of all
		return beside(above)
	case len(label) == 0:
		return name // behind the last name comes the root
	}
	label = slices.Clone(label)
	last := &label[len(label)-1]
	if *last++; *last == 'A' {
		*last = 'Z' + 1 // capital letters are small ones
	}
	return join(label, above)
}

func join(label, above []byte) []byte {
	return append(append([]byte{byte(len(label))}, label...), above...)
}

// Lookup is that of a zone.Zone for a client that wants signatures. now is in seconds
// since 1970. A name that does not exist is no error then (RFC 9824 3). affords is that of Set.Sign.
func (z *Zone) Lookup(owner string, qtype uint16, by *zone.Random, now uint32, affords func() bool, a *zone.Answer) error {
	l := &looker{zone: z, Random: by, now: now, affords: affords}
	z.Zone.LookupBy(owner, qtype, l, a)
	if !a.Authoritative {
		return l.err // of another zone
	}
	a.Rcode = dns.RcodeSuccess
	a.Answer = l.sign(a.Answer)
	a.Additional = l.sign(a.Additional)
	if a.Denied != "" {
		l.deny(qtype, a)
	}
	return l.err
}

// A looker answers one question.
type looker struct {
	*zone.Random
	zone    *Zone
	now     uint32
	affords func() bool
	slice   *Signature // of the slice that was drawn
	err     error
}

// Pick draws a slice that is signed.
func (l *looker) Pick(owner string, rtype uint16, d *zone.Draw, out *zone.Slice) {
	s := l.zone.Set(owner, rtype)
	if s == nil || !s.Sliced() {
		l.Random.Pick(owner, rtype, d, out)
		return
	}
	l.Preferred = l.Preferred || d.Prefers()
	out.N = 0
	if l.slice, l.err = s.Sign(l.Rand, l.Site, l.now, l.affords); l.err == nil {
		*out = *l.slice.Slice
	}
}

// sign puts behind each set of rrs its signature.
func (l *looker) sign(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, 0, 2*len(rrs))
	for len(rrs) > 0 && l.err == nil {
		h, n := rrs[0].Header(), 1
		for n < len(rrs) && rrs[n].Header().Rrtype == h.Rrtype && rrs[n].Header().Name == h.Name {
			n++
		}
		out = append(out, rrs[:n]...)
		out = append(out, l.signature(rrs[:n])...)
		rrs = rrs[n:]
	}
	return out
}

// signature is that of one set, which may be one that is made for the answer.
func (l *looker) signature(rrs []dns.RR) []dns.RR {
	h := rrs[0].Header()
	s := l.zone.Set(h.Name, h.Rrtype)
	switch {
	case s == nil:
		s = &Set{signer: l.zone.signer, records: rrs, ttl: h.Ttl}
	case s.Sliced():
		return l.slice.Records
	}
	return l.made(s)
}

func (l *looker) made(s *Set) []dns.RR {
	one, err := s.Sign(l.Rand, l.Site, l.now, l.affords)
	if err != nil {
		l.err = err
		return nil
	}
	return one.Records
}

// deny adds the proof that there is no such name or type. Asked for the proof itself,
// it is the answer.
func (l *looker) deny(qtype uint16, a *zone.Answer) {
	s := l.zone.Denial(a.Denied)
	if s == nil {
		s = l.zone.denial(a.Denied, a.Types, a.Exists)
	}
	proof := l.made(s)
	switch {
	case l.err != nil:
	case qtype == dns.TypeNSEC && a.Exists:
		a.Answer, a.Authority = append(a.Answer, proof...), a.Authority[:0]
	case qtype == dns.TypeRRSIG && a.Exists: // one will do, as for ANY
		a.Answer, a.Authority = append(a.Answer, proof[1:]...), a.Authority[:0]
	default:
		a.Authority = append(append(a.Authority, l.made(l.zone.soa)...), proof...)
	}
}
