package dnsagent

import (
	"sort"
	"strings"

	"github.com/miekg/dns"

	"thor/dnsagent/packed"
)

// pack writes what was found, within the size the client can take. The question
// is packed in lower case, so that names in the records can point into it, and then
// spelled as it was asked: some resolvers check that.
func (r *responder) pack(rcode int) []byte {
	q := &r.query
	r.msg = dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: q.id, Response: true, Opcode: dns.OpcodeQuery, Rcode: rcode, Truncated: r.cut,
			Authoritative: r.found.Authoritative, RecursionDesired: q.rd,
		},
		Compress: true,
		Question: r.msg.Question[:0],
		Answer:   r.found.Answer,
		Ns:       r.found.Authority,
		Extra:    r.msg.Extra[:0],
	}
	if q.asked {
		r.msg.Question = append(r.msg.Question, dns.Question{Name: strings.ToLower(q.name), Qtype: q.qtype, Qclass: q.qclass})
	}
	if q.edns {
		r.opt = dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		r.opt.SetUDPSize(uint16(r.agent.cfg.UDPSize))
		if q.do {
			r.opt.SetDo()
		}
		if q.nsid && r.nsid.Nsid != "" {
			r.opt.Option = append(r.opt.Option, &r.nsid)
		}
		if q.cookie != nil && len(r.quick.Secrets) > 0 {
			r.opt.Option = append(r.opt.Option, &r.cookie)
		}
		if r.by.told {
			r.opt.Option = append(r.opt.Option, r.by.option())
		}
	}
	limit, glue := dns.MaxMsgSize, dns.MaxMsgSize
	if r.udp {
		limit = min(q.size, r.agent.cfg.UDPSize)
		if glue = limit; !r.proved {
			glue = packed.MaxAmplification * q.length
		}
		if r.found.Whole {
			limit = min(limit, glue)
		}
	}
	reply := r.fit(limit, glue)
	if len(reply) > headerSize {
		copy(reply[headerSize:], q.question)
	}
	return reply
}

// fit packs r.msg and the addresses of hosts that were found: into limit bytes, or glue bytes with any
// address. As many sets of them as have room are there, without TC. Only if the answer itself does not
// fit is it left out whole and TC set (RFC 2181 9), so that the client asks by TCP. Each attempt packs the
// whole message, so there are few of them: a small question can have 100 records for its answer.
func (r *responder) fit(limit, glue int) []byte {
	ends := r.glueEnds()
	all := len(ends) - 1
	try := func(sets int) []byte {
		if sets > 0 {
			return r.packWith(ends[sets], min(limit, glue))
		}
		return r.packWith(0, limit)
	}
	if !r.udp || !r.found.Whole { // else it seldom fits
		if b := try(all); b != nil {
			return b
		}
	}
	switch b := try(0); {
	case b == nil:
		return r.truncate()
	case all == 0:
		return b
	}
	return try(sort.Search(all, func(sets int) bool { return try(sets+1) == nil }))
}

// truncate packs r.msg without any records.
func (r *responder) truncate() []byte {
	r.count.truncated.Add(1)
	r.msg.Truncated, r.msg.Answer, r.msg.Ns = true, nil, nil
	if b := r.packWith(0, dns.MaxMsgSize); b != nil {
		return b
	}
	return bare(&r.query, dns.RcodeServerFailure) // cannot be: a question that was parsed can be packed
}

// packWith packs r.msg with the first n addresses of hosts; nil if it is longer than limit.
func (r *responder) packWith(n, limit int) []byte {
	r.packs++
	r.msg.Extra = append(r.msg.Extra[:0], r.found.Additional[:n]...)
	if r.query.edns {
		r.msg.Extra = append(r.msg.Extra, &r.opt)
	}
	b, err := r.msg.PackBuffer(r.buf)
	if err != nil || len(b) > limit {
		return nil
	}
	return b
}

// glueEnds are where in the additional records that were found the sets end, each with its signature; 0 is
// the end of none.
func (r *responder) glueEnds() []int {
	r.ends = append(r.ends[:0], 0)
	rrs := r.found.Additional
	for i := range rrs {
		if i+1 == len(rrs) || covered(rrs[i+1]) != covered(rrs[i]) || rrs[i+1].Header().Name != rrs[i].Header().Name {
			r.ends = append(r.ends, i+1)
		}
	}
	return r.ends
}

// covered is the type of the set that rr belongs to, or is the signature of.
func covered(rr dns.RR) uint16 {
	if sig, ok := rr.(*dns.RRSIG); ok {
		return sig.TypeCovered
	}
	return rr.Header().Rrtype
}
