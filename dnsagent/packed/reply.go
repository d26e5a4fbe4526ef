package packed

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
	"thor/dnsagent/dnssec"
	"thor/dnsagent/zone"
)

const (
	optSize    = 11 // of an OPT without options
	optionHead = 4  // of an option in it
	footSize   = 4  // type and class of the question
	maxName    = 255
	doBit      = 1 << 15
	flagQR     = 0x80
	flagAA     = 0x04
	flagTC     = 0x02
	flagRD     = 0x01
	opcode     = 0x78
	optFlags   = 7 // where in an OPT the flags are
)

// MaxAmplification is how many times the size of a query by UDP a reply with addresses of
// hosts in it may have, unless a cookie has proved that the query is not forged:
// who is flooded with answers must not get much more than the sender of the queries
// has sent.
const MaxAmplification = 6

// A Writer makes replies. It is of one goroutine.
type Writer struct {
	// Size is the UDP size that OPT records of replies tell, and the greatest size
	// of a reply.
	Size int
	Rand *rand.Rand
	// Secrets make cookies; without any, those of clients are not answered.
	Secrets cookie.Secrets
	// Askers know the sites of clients; nil: none.
	Askers *zone.Askers
	// Client is where the next request comes from, and Now when, in seconds since 1970.
	Client netip.Addr
	Now    uint32

	// Of the last reply:

	Type   uint16
	Rcode  int
	Proved bool // a cookie proved that the client is where the request comes from

	name   [maxName]byte // asked, in lower case
	cookie [cookie.Size]byte
	drawn  zone.Slice
	ask    asked
}

// asked is what counts of a request.
type asked struct {
	name          []byte // in lower case
	end           int    // of the question
	limit         int    // size of a reply
	glue          int    // size of a reply above which it gets no more glue
	edns          bool
	do            bool
	answersCookie bool // a cookie is to be answered
}

// Reply writes the reply to a request into out, of at least Size bytes, and returns
// its length; 0 if the request is not one for this path.
func (w *Writer) Reply(z *Zone, request, out []byte) int {
	q := &w.ask
	if !w.read(request) {
		return 0
	}
	n := z.names[string(q.name)]
	if n == nil {
		return w.absent(z, request, out)
	}
	if s := n.set(w.Type); s != nil {
		w.Rcode = dns.RcodeSuccess
		return w.positive(s, request, out)
	}
	switch {
	case n.special:
		return 0
	case q.do && z.signed:
		return w.denied(z, n.denial, request, out)
	}
	return w.negative(z, dns.RcodeSuccess, request, out)
}

// read reports whether the request is one for this path.
func (w *Writer) read(b []byte) bool {
	q := &w.ask
	if len(b) < headerSize || b[2]&(flagQR|opcode) != 0 ||
		binary.BigEndian.Uint32(b[4:]) != 1<<16 || b[8] != 0 || b[9] != 0 || b[10] != 0 || b[11] > 1 {
		return false // other than one question and at most one additional record
	}
	off, ok := w.readName(b)
	if !ok || off+footSize > len(b) {
		return false
	}
	w.Type = binary.BigEndian.Uint16(b[off:])
	q.end = off + footSize
	switch {
	case binary.BigEndian.Uint16(b[off+2:]) != dns.ClassINET:
		return false
	case w.Type == dns.TypeANY, w.Type == dns.TypeAXFR, w.Type == dns.TypeIXFR, w.Type == dns.TypeNXNAME:
		return false
	}
	q.edns, q.do, q.answersCookie, w.Proved = false, false, false, false
	q.limit = min(dns.MinMsgSize, w.Size)
	if b[11] == 0 {
		ok = q.end == len(b)
	} else {
		ok = w.readOPT(b[q.end:])
	}
	q.glue = q.limit
	if !w.Proved {
		q.glue = min(q.limit, MaxAmplification*len(b))
	}
	return ok
}

// readName reads the asked name and returns the offset behind it.
func (w *Writer) readName(b []byte) (off int, ok bool) {
	b = b[headerSize:]
	for off < len(b) {
		n := int(b[off])
		end := off + 1 + n
		if n > 63 || end > len(b) || end > maxName {
			return 0, false
		}
		w.name[off] = b[off]
		for i := off + 1; i < end; i++ {
			w.name[i] = lower[b[i]]
		}
		off = end
		if n == 0 {
			w.ask.name = w.name[:off]
			return headerSize + off, true
		}
	}
	return 0, false
}

var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

// readOPT takes an OPT of version 0 with no option or a cookie, and nothing behind it.
func (w *Writer) readOPT(b []byte) bool {
	if len(b) < optSize || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT || b[6] != 0 ||
		len(b) != optSize+int(binary.BigEndian.Uint16(b[9:])) {
		return false
	}
	q := &w.ask
	q.edns = true
	q.limit = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), w.Size)
	q.do = binary.BigEndian.Uint16(b[optFlags:])&doBit != 0
	return len(b) == optSize || w.readCookie(b[optSize:])
}

// readCookie takes an option that is a cookie, and nothing behind it.
func (w *Writer) readCookie(b []byte) bool {
	size := len(b) - optionHead
	if size < 0 || binary.BigEndian.Uint16(b) != dns.EDNS0COOKIE || int(binary.BigEndian.Uint16(b[2:])) != size || !cookie.WellFormed(size) {
		return false
	}
	if len(w.Secrets) > 0 {
		w.ask.answersCookie = true
		w.Proved = w.Secrets.Answer(w.cookie[:], b[optionHead:], w.Client, w.Now)
	}
	return true
}

// absent replies to a question for a name that the zone does not list.
func (w *Writer) absent(z *Zone, request, out []byte) int {
	name := w.ask.name
	if _, ok := below(name, z.apex); !ok {
		w.Rcode = dns.RcodeRefused
		return w.finish(request, out, w.ask.end, 0, counts{})
	}
	for _, made := range z.made {
		if _, ok := below(name, made); ok {
			return 0
		}
	}
	if w.ask.do && z.signed {
		return 0 // the denial is of this name alone
	}
	return w.negative(z, dns.RcodeNameError, request, out)
}

// negative replies that there is no such name or no such record.
func (w *Writer) negative(z *Zone, rcode int, request, out []byte) int {
	w.Rcode = rcode
	q := &w.ask
	if q.end+len(z.negative.data)+w.optLen() > q.limit {
		return 0
	}
	return w.finish(request, out, w.soa(z, out), flagAA, counts{authority: 1})
}

// soa writes the SOA behind the question and returns where it ends.
func (w *Writer) soa(z *Zone, out []byte) int {
	q := &w.ask
	apex := w.apex(z)
	copy(out[q.end:], z.negative.data)
	for _, at := range z.negative.ends {
		binary.BigEndian.PutUint16(out[q.end+at:], apex)
	}
	return q.end + len(z.negative.data)
}

// apex points to the apex in the question.
func (w *Writer) apex(z *Zone) uint16 {
	return uint16(pointer | headerSize + len(w.ask.name) - len(z.apex))
}

// denied is negative, with proof: there is the name, and it has no such record.
func (w *Writer) denied(z *Zone, denial *dnssec.Set, request, out []byte) int {
	w.Rcode = dns.RcodeSuccess
	soa, proof := z.negative.signed.Ready(w.Rand, "", w.Now), denial.Ready(w.Rand, "", w.Now)
	if soa == nil || proof == nil || w.Type == dns.TypeNSEC || w.Type == dns.TypeRRSIG ||
		w.ask.end+len(z.negative.data)+len(soa.Packed)+len(proof.Packed)+w.optLen() > w.ask.limit {
		return 0
	}
	end := w.soa(z, out)
	binary.BigEndian.PutUint16(out[end:end+copy(out[end:], soa.Packed)], w.apex(z))
	end += len(soa.Packed)
	end += copy(out[end:], proof.Packed)
	return w.finish(request, out, end, flagAA, counts{authority: 2 + uint16(len(soa.Records)+len(proof.Records)) - 1})
}

// counts are the records of each section, but for the OPT.
type counts struct{ answer, authority, additional uint16 }

func (w *Writer) optLen() int {
	switch {
	case w.ask.answersCookie:
		return optSize + optionHead + cookie.Size
	case w.ask.edns:
		return optSize
	}
	return 0
}

// finish writes header, question and OPT to what stands between. end is the end of the records.
func (w *Writer) finish(request, out []byte, end int, aa byte, n counts) int {
	q := &w.ask
	copy(out, request[:q.end])
	out[2] = flagQR | aa | request[2]&flagRD
	out[3] = byte(w.Rcode)
	binary.BigEndian.PutUint16(out[6:], n.answer)
	binary.BigEndian.PutUint16(out[8:], n.authority)
	if q.edns {
		n.additional++
		o := out[end : end+optSize]
		o[0] = 0
		binary.BigEndian.PutUint16(o[1:], dns.TypeOPT)
		binary.BigEndian.PutUint16(o[3:], uint16(w.Size))
		clear(o[5:])
		if q.do {
			binary.BigEndian.PutUint16(o[optFlags:], doBit)
		}
		end += optSize
	}
	if q.answersCookie {
		binary.BigEndian.PutUint16(out[end-2:], optionHead+cookie.Size) // of all options
		binary.BigEndian.PutUint16(out[end:], dns.EDNS0COOKIE)
		binary.BigEndian.PutUint16(out[end+2:], cookie.Size)
		end += optionHead + copy(out[end+optionHead:], w.cookie[:])
	}
	binary.BigEndian.PutUint16(out[10:], n.additional)
	return end
}

// Truncate makes of a whole reply one without records, which tells its client to ask
// by TCP, and returns its length. The OPT stays: it is the last record.
func Truncate(reply []byte) int {
	end := headerSize
	if binary.BigEndian.Uint16(reply[4:]) == 1 {
		end = skipName(reply, end) + footSize
	}
	records, off := 0, end
	last := off
	for _, at := range []int{6, 8, 10} {
		records += int(binary.BigEndian.Uint16(reply[at:]))
	}
	for range records {
		last, off = off, skip(reply, off)
	}
	additional := uint16(0)
	if records > 0 && reply[last] == 0 && binary.BigEndian.Uint16(reply[last+1:]) == dns.TypeOPT {
		end += copy(reply[end:], reply[last:off])
		additional = 1
	}
	reply[2] |= flagTC
	clear(reply[6:10])
	binary.BigEndian.PutUint16(reply[10:], additional)
	return end
}
