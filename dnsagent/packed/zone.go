package packed

import (
	"encoding/binary"
	"slices"

	"github.com/miekg/dns"

	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
)

const headerSize = 12

// pointer to the asked name, which stands behind the header.
const pointer = 0xc000

// A Zone is a zone with its answers packed. It is immutable.
type Zone struct {
	zone     *zone.Zone
	apex     []byte           // as it travels, in lower case
	names    map[string]*node // by name as it travels, in lower case
	made     [][]byte         // names below which the zone makes names when they are asked for
	negative negative
	signed   bool
}

// A node is a name of the zone.
type node struct {
	sets    []*set
	special bool // has something that is left to the general path
	denial  *dnssec.Set
}

// set is that of a type; nil if there is none, or no node.
func (n *node) set(rtype uint16) *set {
	if n == nil {
		return nil
	}
	for _, s := range n.sets {
		if s.rtype == rtype {
			return s
		}
	}
	return nil
}

// A set is all records of one name and type.
type set struct {
	of      zone.RRset
	rtype   uint16
	draw    *zone.Draw  // nil: the answer is records, whole
	records []record    // of a drawn set with glue: each
	whole   record      // all records
	size    int         // of each record of a drawn set without glue
	count   uint16      // records of whole
	signed  *dnssec.Set // nil: the zone is not signed
	prefers bool        // the draw depends on the asker
	varies  bool        // so do priorities and weights of its SRV records
}

// record is one of a drawn set.
func (s *set) record(i int) record {
	if s.records == nil {
		return record{data: s.whole.data[i*s.size : (i+1)*s.size]}
	}
	return s.records[i]
}

// A record is one or more records of an answer, with the addresses that go with them.
type record struct {
	data []byte
	host int // where in data the name begins whose addresses glue has; 0: the glue's owners are right already
	glue []glue
}

// glue is one set of addresses.
type glue struct {
	data   []byte
	count  uint16
	signed *dnssec.Set
}

// negative is the SOA as it goes with "there is none". Its names end in pointers
// to the apex, wherever that is in the question.
type negative struct {
	data   []byte
	ends   []int // where in data these pointers are
	signed *dnssec.Set
}

// New packs the answers of z. It takes a millisecond for about 1,000 names. signed has
// the signatures of z; nil: there are none. Of prev is used what z shares with the zone of
// that, and what has the same signatures; nil: nothing.
func New(z *zone.Zone, signed *dnssec.Zone, prev *Zone) *Zone {
	names := z.Names()
	p := &packer{
		zone: z, signed: signed, out: &Zone{zone: z, names: make(map[string]*node, len(names))}, buf: make([]byte, dns.MaxMsgSize),
	}
	p.out.apex = slices.Clone(p.name(z.Apex()))
	if prev != nil && prev.signed != (signed != nil) {
		prev = nil
	}
	for _, name := range names {
		p.node(name, prev)
	}
	for _, name := range z.Made() {
		p.out.made = append(p.out.made, slices.Clone(p.name(name)))
	}
	p.soa()
	if signed != nil {
		p.out.signed, p.out.negative.signed = true, signed.SOA()
	}
	return p.out
}

type packer struct {
	zone   *zone.Zone
	signed *dnssec.Zone
	out    *Zone
	buf    []byte
	label  [256]byte // for name
	found  zone.Answer
	hosts  map[string][]glue // addresses by name: several sets name a host
}

// node packs the sets of a name.
func (p *packer) node(name string, prev *Zone) {
	var denial *dnssec.Set
	if p.signed != nil {
		denial = p.signed.Denial(name)
	}
	wire := string(p.name(name))
	var old *node
	if prev != nil {
		old = prev.names[wire]
	}
	if old != nil && old.denial == denial && p.zone.Shares(name, prev.zone) {
		p.out.names[wire] = old
		return
	}
	n := &node{denial: denial}
	p.out.names[wire] = n
	for r := range p.zone.Sets(name) {
		if s := old.set(r.Type); s != nil && s.of.Shared(r) && s.signed == p.signatures(r.Records[0]) {
			n.sets = append(n.sets, s)
			continue
		}
		p.add(n, r)
	}
}

// name is a name as it travels, until the next call.
func (p *packer) name(text string) []byte {
	n, err := dns.PackDomainName(text, p.label[:], 0, nil, false)
	if err != nil {
		panic("packed: a name of the zone: " + err.Error()) // the zone has checked it
	}
	return p.label[:n]
}

// add packs a set; what cannot be packed is left to the general path.
func (p *packer) add(n *node, r zone.RRset) {
	s := &set{of: r, rtype: r.Type, draw: r.Draw, count: uint16(len(r.Records)), signed: p.signatures(r.Records[0])}
	s.prefers, s.varies = r.Draw != nil && r.Draw.Prefers(), r.Varies()
	ok := false
	switch {
	case r.Type == dns.TypeCNAME:
	case r.Draw != nil:
		ok = p.drawn(s, r)
	case r.Type == dns.TypeA || r.Type == dns.TypeAAAA:
		s.whole.data, ok = addresses(r.Records), true
	default:
		ok = p.whole(s, r)
	}
	if !ok {
		n.special = true
		return
	}
	n.sets = append(n.sets, s)
}

// addresses packs A or AAAA records, with the question as their owner.
func addresses(rrs []dns.RR) []byte {
	b := make([]byte, 0, len(rrs)*addressSize(rrs[0]))
	for _, rr := range rrs {
		h := rr.Header()
		b = appendHead(b, h)
		switch rr := rr.(type) {
		case *dns.A:
			b = append(binary.BigEndian.AppendUint16(b, 4), rr.A.To4()...)
		case *dns.AAAA:
			b = append(binary.BigEndian.AppendUint16(b, 16), rr.AAAA.To16()...)
		}
	}
	return b
}

func addressSize(rr dns.RR) int {
	if rr.Header().Rrtype == dns.TypeA {
		return 12 + 4
	}
	return 12 + 16
}

// appendHead appends all that is before a record's length.
func appendHead(b []byte, h *dns.RR_Header) []byte {
	b = binary.BigEndian.AppendUint16(b, pointer|headerSize)
	b = binary.BigEndian.AppendUint16(b, h.Rrtype)
	b = binary.BigEndian.AppendUint16(b, h.Class)
	return binary.BigEndian.AppendUint32(b, h.Ttl)
}

// drawn packs a set of which answers hold a part.
func (p *packer) drawn(s *set, r zone.RRset) bool {
	switch r.Type {
	case dns.TypeA, dns.TypeAAAA:
		s.whole.data, s.size = addresses(r.Records), addressSize(r.Records[0])
		return true
	case dns.TypeSRV:
		return p.services(s, r)
	}
	return false
}

// services packs SRV records, one behind the other, each with the addresses of its target.
func (p *packer) services(s *set, r zone.RRset) bool {
	size := 0
	for _, rr := range r.Records {
		size += srvSize + 1 + len(rr.(*dns.SRV).Target)
	}
	all := make([]byte, 0, size)
	s.records = make([]record, len(r.Records))
	targets := make(map[string]bool, len(r.Records))
	for i, rr := range r.Records {
		srv := rr.(*dns.SRV)
		if targets[srv.Target] {
			return false // their glue would be there twice
		}
		targets[srv.Target] = true
		begin := len(all)
		all = p.appendSRV(all, srv)
		s.records[i] = record{data: all[begin:], host: srvSize, glue: p.glue(srv.Target, r, i)}
	}
	return true
}

// glue is the addresses of a host, the target of record i of r.
func (p *packer) glue(target string, r zone.RRset, i int) []glue {
	out, ok := p.hosts[target]
	if ok {
		return out
	}
	for rrs := range r.Glue(i) {
		out = append(out, glue{addresses(rrs), uint16(len(rrs)), p.signatures(rrs[0])})
	}
	if p.hosts == nil {
		p.hosts = make(map[string][]glue, len(p.zone.Names()))
	}
	p.hosts[target] = out
	return out
}

// signatures are those of the set of rr, nil in a zone without.
func (p *packer) signatures(rr dns.RR) *dnssec.Set {
	if p.signed == nil {
		return nil
	}
	return p.signed.Set(rr.Header().Name, rr.Header().Rrtype)
}

// srvSize is that of an SRV record before its target; the others are where in it its
// priority and weight are.
const (
	srvSize     = 18
	srvPriority = 12
	srvWeight   = 14
)

func (p *packer) appendSRV(b []byte, rr *dns.SRV) []byte {
	target := p.name(rr.Target)
	b = appendHead(b, &rr.Hdr)
	b = binary.BigEndian.AppendUint16(b, uint16(6+len(target)))
	b = binary.BigEndian.AppendUint16(b, rr.Priority)
	b = binary.BigEndian.AppendUint16(b, rr.Weight)
	b = binary.BigEndian.AppendUint16(b, rr.Port)
	return append(b, target...)
}

// whole packs a set that is answered as it is: what the library makes of the
// answer, without header and question.
func (p *packer) whole(s *set, r zone.RRset) bool {
	p.zone.Lookup(r.Name, r.Type, nil, &p.found) // without a draw
	m := dns.Msg{
		Compress: true, Question: []dns.Question{{Name: r.Name, Qtype: r.Type, Qclass: dns.ClassINET}},
		Answer: p.found.Answer, Extra: p.found.Additional,
	}
	b, err := m.PackBuffer(p.buf)
	if err != nil {
		return false // too long for any message
	}
	start := headerSize + len(p.name(r.Name)) + 4
	end := start
	for range m.Answer {
		end = skip(b, end)
	}
	s.count = uint16(len(m.Answer))
	s.whole.data = slices.Clone(b[start:end])
	for len(p.found.Additional) > 0 {
		n := sameSet(p.found.Additional)
		start = end
		for range n {
			end = skip(b, end)
		}
		s.whole.glue = append(s.whole.glue, glue{data: slices.Clone(b[start:end]), count: uint16(n)})
		p.found.Additional = p.found.Additional[n:]
	}
	return true
}

// sameSet is how many of rrs are of the first one's set.
func sameSet(rrs []dns.RR) int {
	first, n := rrs[0].Header(), 1
	for n < len(rrs) && rrs[n].Header().Rrtype == first.Rrtype && rrs[n].Header().Name == first.Name {
		n++
	}
	return n
}

// skip is the offset behind the record at off of a message that is well formed.
func skip(b []byte, off int) int {
	off = skipName(b, off)
	return off + 10 + int(binary.BigEndian.Uint16(b[off+8:]))
}

func skipName(b []byte, off int) int {
	for {
		switch n := int(b[off]); {
		case n == 0:
			return off + 1
		case n&0xc0 != 0:
			return off + 2
		default:
			off += 1 + n
		}
	}
}

// soa packs the SOA that goes with negative answers.
func (p *packer) soa() {
	soa := p.zone.Negative()
	n := &p.out.negative
	n.ends = append(n.ends, 0)
	n.data = appendHead(nil, &soa.Hdr)
	size := len(n.data)
	n.data = append(n.data, 0, 0)
	for _, name := range []string{soa.Ns, soa.Mbox} {
		b := p.name(name)
		if at, ok := below(b, p.out.apex); ok {
			n.data = append(n.data, b[:at]...)
			n.ends = append(n.ends, len(n.data))
			n.data = binary.BigEndian.AppendUint16(n.data, pointer)
			continue
		}
		n.data = append(n.data, b...)
	}
	for _, v := range []uint32{soa.Serial, soa.Refresh, soa.Retry, soa.Expire, soa.Minttl} {
		n.data = binary.BigEndian.AppendUint32(n.data, v)
	}
	binary.BigEndian.PutUint16(n.data[size:], uint16(len(n.data)-size-2))
}

// below reports whether name is parent or a name below it, and where parent begins in it.
func below(name, parent []byte) (at int, ok bool) {
	at = len(name) - len(parent)
	if at < 0 || string(name[at:]) != string(parent) {
		return 0, false
	}
	for i := 0; i <= at; i += 1 + int(name[i]) {
		if i == at {
			return at, true
		}
	}
	return 0, false // the bytes are a part of a label
}
