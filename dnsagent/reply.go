package dnsagent

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/dnssec"
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
	by     asker
	found  zone.Answer
	msg    dns.Msg
	opt    dns.OPT
	nsid   dns.EDNS0_NSID
	cookie dns.EDNS0_COOKIE
	buf    []byte
	ends   []int // for glueEnds
	packs  int   // of messages, for tests

	files   *files    // those of the requests that follow
	now     time.Time // of the requests that follow
	client  netip.Addr
	cut     bool        // the reply is to have no answer, so that the client asks by TCP
	proved  bool        // the request's cookie or signature has proved that it comes from there
	affords func() bool // affordable
	signs   struct {
		second int64 // of now
		count  int   // of signatures made in it for clients that have proved nothing
	}
}

func (a *Agent) newResponder(count *tally) *responder {
	r := &responder{
		agent: a, udp: count.proto == "udp", count: count, rng: rand.New(rand.NewChaCha8(a.seed())), buf: make([]byte, maxQuery),
	}
	r.affords = r.affordable
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
	if n == 0 {
		return copy(out, r.respond(request))
	}
	if r.quick.Proved {
		return n
	}
	switch r.limit() {
	case dropped:
		return 0
	case slipped:
		r.count.truncated.Add(1)
		return packed.Truncate(out[:n])
	}
	return n
}

// What becomes of an answer by UDP to a client that has proved nothing.
const (
	allowed = iota
	dropped
	slipped // sent without records, so that the client asks by TCP
)

// limit asks the rate limiter.
func (r *responder) limit() int {
	switch {
	case r.agent.allow(r.agent.limiter, r.client, r.now):
		return allowed
	case r.rng.Uint32()%slip == 0:
		return slipped
	}
	r.count.drop(tooMany, 1)
	return dropped
}

// slip is one of how many answers above the rate limit is sent as a truncated one: a
// client whose address others forge is answered by TCP then.
const slip = 2

// reply is from packed answers; 0 if the request is not one for them.
func (r *responder) reply(request, out []byte) int {
	s := r.agent.served.Load()
	if s == nil {
		return 0
	}
	r.quick.Askers = s.askers
	n := r.quick.Reply(s.packed, request, out)
	if n > 0 {
		r.count.reply(r.quick.Type, r.quick.Rcode)
	}
	return n
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

// respond is the general path: it answers whatever comes. Clients by UDP that have proved nothing are
// limited before there is any work for them: what one network asks is not to use up what there is for all.
func (r *responder) respond(request []byte) []byte {
	q := &r.query
	rcode := q.parse(request)
	r.cut, r.by = false, asker{}
	if rcode == dns.RcodeSuccess && q.subnet != nil && r.agent.cfg.ClientSubnet && !r.by.read(q.subnet) {
		rcode = dns.RcodeFormatError // RFC 7871 6
	}
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
	}
	r.prove(request)
	if r.udp && !r.proved {
		switch r.limit() {
		case dropped:
			return nil
		case slipped:
			r.count.truncated.Add(1)
			r.cut = true
		}
	}
	switch {
	case rcode == dns.RcodeNotImplemented, rcode != dns.RcodeSuccess && !q.asked:
		reply = bare(q, rcode)
	case rcode != dns.RcodeSuccess:
		reply = r.refuse(rcode)
	case r.cut:
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
	case s.signed != nil && q.do:
		switch err := s.signed.Lookup(q.name, q.qtype, r.picker(s, r.rng), uint32(r.now.Unix()), r.affords, &r.found); {
		case errors.Is(err, dnssec.ErrLimited) && (!r.udp || r.proved):
			return r.refuse(dns.RcodeServerFailure), dns.RcodeServerFailure // another name server may have it signed
		case errors.Is(err, dnssec.ErrLimited):
			r.count.truncated.Add(1)
			r.cut = true
			return r.refuse(dns.RcodeSuccess), dns.RcodeSuccess
		case err != nil:
			r.agent.log.Error().Err(err).Msg("an answer cannot be signed")
			return r.refuse(dns.RcodeServerFailure), dns.RcodeServerFailure
		}
	default:
		s.zone.LookupBy(q.name, q.qtype, r.picker(s, r.rng), &r.found)
	}
	return r.pack(r.found.Rcode), r.found.Rcode
}

// prove takes note of what the request's signature and cookie prove, and makes the cookie of the reply.
func (r *responder) prove(request []byte) {
	r.proved = false
	if r.query.tsig && len(r.files.keys) > 0 {
		key, _, err := r.files.signature(request)
		r.proved = key != nil && err == nil
	}
	if r.query.cookie == nil || len(r.quick.Secrets) == 0 {
		return
	}
	var b [cookie.Size]byte
	if r.quick.Secrets.Answer(b[:], r.query.cookie, r.client, uint32(r.now.Unix())) {
		r.proved = true
	}
	r.cookie.Cookie = hex.EncodeToString(b[:])
}

// How many signatures are made in a second; those that were made before do not count.
const (
	// maxSigned is of each socket for clients by UDP that have proved nothing: a fifth of a core at most, and
	// so what forged questions can take from the others.
	maxSigned = 2000
	// maxSignedEach is for one network whose clients come by TCP or with a cookie: 5 % of a core. A resolver
	// needs one for each name that does not exist; a set of the zone needs one in its TTL for all clients.
	maxSignedEach = 500
)

// affordable counts a signature that is to be made, and reports whether it may be. Clients beyond the
// limit that have proved nothing are told to ask by TCP.
func (r *responder) affordable() bool {
	if !r.udp || r.proved {
		return r.agent.allow(r.agent.signers, r.client, r.now)
	}
	if now := r.now.Unix(); now != r.signs.second {
		r.signs.second, r.signs.count = now, 0
	}
	r.signs.count++
	return r.signs.count <= maxSigned
}
