package dnsagent

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"sort"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/packed"
	"thor/dnsagent/zone"
)

// A responder turns requests into replies. Each serving goroutine has one of
// its own: random source and buffers are not shared.
type responder struct {
	agent  *Agent
	udp    bool
	count  *tally
	rng    *rand.Rand
	quick  packed.Writer
	query  query
	found  zone.Answer
	msg    dns.Msg
	opt    dns.OPT
	nsid   dns.EDNS0_NSID
	cookie dns.EDNS0_COOKIE
	buf    []byte
	ends   []int // for glueEnds
	packs  int   // of messages, for tests

	files  *files    // those of the requests that follow
	now    time.Time // of the requests that follow
	client netip.Addr
	cut    bool // the reply is to have no answer, so that the client asks by TCP
	proved bool // the request's cookie has proved that it comes from there
	signs  struct {
		second int64 // of now
		count  int   // of answers signed in it for clients that have proved nothing
	}
}

func (a *Agent) newResponder(count *tally) *responder {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails, see crypto/rand
	r := &responder{
		agent: a, udp: count.proto == "udp", count: count, rng: rand.New(rand.NewChaCha8(seed)), buf: make([]byte, maxQuery),
	}
	r.quick = packed.Writer{Size: a.cfg.UDPSize, Rand: r.rng}
	r.nsid = dns.EDNS0_NSID{Code: dns.EDNS0NSID, Nsid: hex.EncodeToString([]byte(a.cfg.NSID))}
	r.cookie.Code = dns.EDNS0COOKIE
	return r
}

// at says when the requests that follow have come.
func (r *responder) at(now time.Time) {
	r.now, r.files = now, r.agent.files.Load()
	r.quick.Now, r.quick.Secrets = uint32(now.Unix()), r.files.secrets
}

// serveUDP writes the reply to a datagram into out, of at least Config.UDPSize
// bytes, and returns its length; 0 is no reply. Usual questions are answered from
// packed answers.
func (r *responder) serveUDP(request, out []byte, client netip.Addr) (n int) {
	defer r.survive(request)
	r.client, r.quick.Client = client, client
	n = r.reply(request, out)
	if n == 0 || r.proved || r.agent.allow(client, r.now) {
		return n
	}
	if r.rng.Uint32()%slip != 0 {
		r.count.drop(tooMany, 1)
		return 0
	}
	r.count.truncated.Add(1)
	return packed.Truncate(out[:n])
}

// slip is one of how many answers above the rate limit is sent as a truncated one: a
// client whose address others forge is answered by TCP then.
const slip = 2

func (r *responder) reply(request, out []byte) int {
	if s := r.agent.served.Load(); s != nil {
		if n := r.quick.Reply(s.packed, request, out); n > 0 {
			r.count.reply(r.quick.Type, r.quick.Rcode)
			r.proved = r.quick.Proved
			return n
		}
	}
	return copy(out, r.respond(request))
}

// serveTCP is the reply to a message, valid until the next call; nil is no reply.
func (r *responder) serveTCP(request []byte) (reply []byte) {
	defer r.survive(request)
	return r.respond(request)
}

// survive is the last line of defence: the same packet reaches all name servers of
// the network, so it must not end a process.
func (r *responder) survive(request []byte) {
	if p := recover(); p != nil {
		r.count.drop(panicked, 1)
		r.agent.log.Error().Interface("panic", p).Hex("query", request[:min(len(request), 512)]).
			Msg("a query could not be answered: please report it")
	}
}

// respond is the general path: it answers whatever comes.
func (r *responder) respond(request []byte) []byte {
	q := &r.query
	rcode := q.parse(request)
	r.cut = false
	r.prove()
	var reply []byte
	switch {
	case rcode == dropShort:
		r.count.drop(tooShort, 1)
		return nil
	case rcode == dropResponse:
		r.count.drop(isResponse, 1)
		return nil
	case rcode == dropNoQuery:
		r.count.drop(noQuery, 1)
		return nil
	case rcode == dns.RcodeNotImplemented, rcode != dns.RcodeSuccess && !q.asked:
		reply = bare(q, rcode)
	case rcode != dns.RcodeSuccess:
		reply = r.refuse(rcode)
	default:
		reply, rcode = r.answer()
	}
	if q.tsig && len(r.files.keys) > 0 {
		reply = r.signed(request, reply)
	}
	if q.asked {
		r.count.reply(q.qtype, rcode)
	} else {
		r.count.error(rcode)
	}
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
	r.found.Authoritative, r.found.Whole = false, false
	return r.pack(rcode)
}

// answer replies to a well-formed question.
func (r *responder) answer() (reply []byte, rcode int) {
	q := &r.query
	switch {
	case !q.asked:
		return r.refuse(dns.RcodeSuccess), dns.RcodeSuccess
	case q.edns && q.version != 0:
		return r.refuse(dns.RcodeBadVers), dns.RcodeBadVers
	case q.qclass != dns.ClassINET, q.qtype == dns.TypeAXFR, q.qtype == dns.TypeIXFR:
		return r.refuse(dns.RcodeRefused), dns.RcodeRefused
	}
	s := r.agent.served.Load()
	if s == nil {
		rcode = dns.RcodeServerFailure // ask another name server, and us again later
		if !dns.IsSubDomain(r.agent.apex, q.name) {
			rcode = dns.RcodeRefused
		}
		return r.refuse(rcode), rcode
	}
	switch {
	case s.signed != nil && q.qtype == dns.TypeNXNAME: // RFC 9824 3.5
		return r.refuse(dns.RcodeFormatError), dns.RcodeFormatError
	case s.signed != nil && q.do && !r.affordable():
		r.count.truncated.Add(1)
		r.cut = true
		return r.refuse(dns.RcodeSuccess), dns.RcodeSuccess
	case s.signed != nil && q.do:
		if err := s.signed.Lookup(q.name, q.qtype, r.rng, uint32(r.now.Unix()), &r.found); err != nil {
			r.agent.log.Error().Err(err).Msg("an answer cannot be signed")
			return r.refuse(dns.RcodeServerFailure), dns.RcodeServerFailure
		}
	default:
		s.zone.Lookup(q.name, q.qtype, r.rng, &r.found)
	}
	return r.pack(r.found.Rcode), r.found.Rcode
}

// prove takes note of what the request's cookie proves, and makes the one of the reply.
func (r *responder) prove() {
	r.proved = false
	if r.query.cookie == nil || len(r.quick.Secrets) == 0 {
		return
	}
	var b [cookie.Size]byte
	r.proved = r.quick.Secrets.Answer(b[:], r.query.cookie, r.client, uint32(r.now.Unix()))
	r.cookie.Cookie = hex.EncodeToString(b[:])
}

// maxSigned is how many answers a second each socket signs for clients by UDP that have
// proved nothing: a fifth of a core at most, and so what forged questions can take from the
// others. Answers that were signed before do not count.
const maxSigned = 2000

// affordable counts an answer that may have to be signed. Clients beyond the limit are told to ask by
// TCP, which is limited otherwise.
func (r *responder) affordable() bool {
	if !r.udp || r.proved {
		return true
	}
	if now := r.now.Unix(); now != r.signs.second {
		r.signs.second, r.signs.count = now, 0
	}
	r.signs.count++
	return r.signs.count <= maxSigned
}

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
