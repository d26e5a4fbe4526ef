package dnsagent

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"

	"thor/dnsagent/zone"
)

// A responder turns requests into replies. Each serving goroutine has one of
// its own: random source and buffers are not shared.
type responder struct {
	agent *Agent
	proto string // "udp" or "tcp"
	rng   *rand.Rand
	query query
	found zone.Answer
	msg   dns.Msg
	opt   dns.OPT
	nsid  []dns.EDNS0
	buf   []byte
}

func (a *Agent) newResponder(proto string) *responder {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails, see crypto/rand
	r := &responder{agent: a, proto: proto, rng: rand.New(rand.NewChaCha8(seed)), buf: make([]byte, maxQuery)}
	if id := a.cfg.NSID; id != "" {
		r.nsid = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(id))}}
	}
	return r
}

// serve is respond behind a last line of defence: the same packet reaches all
// name servers of the network, so it must not end a process. The reply is valid
// until the next call; nil is no reply.
func (r *responder) serve(request []byte) (reply []byte) {
	defer func() {
		if p := recover(); p != nil {
			r.agent.metrics.dropped.WithLabelValues("panic").Inc()
			r.agent.log.Error().Interface("panic", p).Hex("query", request[:min(len(request), 512)]).
				Msg("a query could not be answered: please report it")
			reply = nil
		}
	}()
	return r.respond(request)
}

func (r *responder) respond(request []byte) []byte {
	q, m := &r.query, r.agent.metrics
	rcode := q.parse(request)
	var reply []byte
	switch {
	case rcode == dropShort:
		m.dropped.WithLabelValues("short").Inc()
		return nil
	case rcode == dropResponse:
		m.dropped.WithLabelValues("response").Inc()
		return nil
	case rcode == dns.RcodeNotImplemented, rcode != dns.RcodeSuccess && !q.asked:
		reply = bare(q, rcode)
	case rcode != dns.RcodeSuccess:
		reply = r.refuse(rcode)
	default:
		reply, rcode = r.answer()
	}
	m.count(q, rcode, r.proto)
	return reply
}

// bare is a reply that repeats nothing but what identifies the request. Unknown
// opcodes get no flag back, whatever it may mean to them.
func bare(q *query, rcode int) []byte {
	bits := bitQR | q.opcode<<11 | uint16(rcode)
	if q.opcode == dns.OpcodeQuery && q.rd {
		bits |= bitRD
	}
	b := make([]byte, headerSize)
	binary.BigEndian.PutUint16(b, q.id)
	binary.BigEndian.PutUint16(b[2:], bits)
	return b
}

// refuse is a reply without any records of the zone.
func (r *responder) refuse(rcode int) []byte {
	r.found.Answer = r.found.Answer[:0]
	r.found.Authority = r.found.Authority[:0]
	r.found.Additional = r.found.Additional[:0]
	r.found.Authoritative = false
	return r.pack(rcode)
}

// answer replies to a well-formed question.
func (r *responder) answer() (reply []byte, rcode int) {
	q := &r.query
	switch {
	case q.edns && q.version != 0:
		return r.refuse(dns.RcodeBadVers), dns.RcodeBadVers
	case q.qclass != dns.ClassINET, q.qtype == dns.TypeAXFR, q.qtype == dns.TypeIXFR:
		return r.refuse(dns.RcodeRefused), dns.RcodeRefused
	}
	z := r.agent.zone.Load()
	if z == nil {
		rcode = dns.RcodeServerFailure // ask another name server, and us again later
		if !dns.IsSubDomain(r.agent.apex, q.name) {
			rcode = dns.RcodeRefused
		}
		return r.refuse(rcode), rcode
	}
	z.Lookup(q.name, q.qtype, r.rng, &r.found)
	r.echoCase()
	return r.pack(r.found.Rcode), r.found.Rcode
}

// echoCase gives the records of the asked name the spelling of the question, for
// resolvers that check it.
func (r *responder) echoCase() {
	lower := strings.ToLower(r.query.name)
	if lower == r.query.name {
		return
	}
	for i, rr := range r.found.Answer {
		if rr.Header().Name == lower {
			rr = dns.Copy(rr)
			rr.Header().Name = r.query.name
			r.found.Answer[i] = rr
		}
	}
}

// pack writes what was found, within the size the client can take.
func (r *responder) pack(rcode int) []byte {
	q := &r.query
	r.msg = dns.Msg{
		MsgHdr: dns.MsgHdr{
			Id: q.id, Response: true, Opcode: dns.OpcodeQuery, Rcode: rcode,
			Authoritative: r.found.Authoritative, RecursionDesired: q.rd,
		},
		Compress: true,
		Question: append(r.msg.Question[:0], dns.Question{Name: q.name, Qtype: q.qtype, Qclass: q.qclass}),
		Answer:   r.found.Answer,
		Ns:       r.found.Authority,
		Extra:    append(r.msg.Extra[:0], r.found.Additional...),
	}
	if q.edns {
		r.opt = dns.OPT{Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeOPT}}
		r.opt.SetUDPSize(uint16(r.agent.cfg.UDPSize))
		if q.do {
			r.opt.SetDo()
		}
		if q.nsid {
			r.opt.Option = r.nsid
		}
		r.msg.Extra = append(r.msg.Extra, &r.opt)
	}
	limit := dns.MaxMsgSize
	if r.proto == "udp" {
		limit = min(q.size, r.agent.cfg.UDPSize)
	}
	return r.fit(limit)
}

// fit packs r.msg into limit bytes. Additional addresses of hosts are
// dropped first, set by set, without TC. Only if the answer itself does not fit
// is it left out whole and TC set (RFC 2181 9), so that the client asks by TCP.
func (r *responder) fit(limit int) []byte {
	for {
		b, err := r.msg.PackBuffer(r.buf)
		switch {
		case err == nil && len(b) <= limit:
			return b
		case err != nil && len(r.msg.Answer)+len(r.msg.Ns) == 0:
			// Cannot be: a question that was parsed can be packed.
			return bare(&r.query, dns.RcodeServerFailure)
		}
		if r.dropGlue() {
			continue
		}
		r.agent.metrics.truncated.Inc()
		r.msg.Truncated = true
		r.msg.Answer = nil
		r.msg.Ns = nil
	}
}

// dropGlue removes the last set of addresses of the additional section.
func (r *responder) dropGlue() bool {
	extra := r.msg.Extra
	var opt []dns.RR
	if n := len(extra); n > 0 && extra[n-1].Header().Rrtype == dns.TypeOPT {
		extra, opt = extra[:n-1], extra[n-1:]
	}
	if len(extra) == 0 {
		return false
	}
	last := extra[len(extra)-1].Header()
	n := len(extra) - 1
	for n > 0 && extra[n-1].Header().Rrtype == last.Rrtype && extra[n-1].Header().Name == last.Name {
		n--
	}
	r.msg.Extra = append(extra[:n], opt...)
	return true
}
