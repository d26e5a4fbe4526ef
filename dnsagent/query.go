package dnsagent

import (
	"encoding/binary"

	"github.com/miekg/dns"

	"thor/dnsagent/cookie"
)

// maxQuery is the size in bytes above which no question is read: real ones,
// padded or with a cookie, stay far below.
const maxQuery = 4096

// maxRecords bounds the records of a question that are looked at. Real ones
// carry an OPT, a signature, or the SOA of a transfer.
const maxRecords = 32

const headerSize = 12

// Bits of the second and third byte of the header (RFC 1035 4.1.1).
const (
	bitQR = 1 << 15
	bitRD = 1 << 8
)

// A query is what of a request counts for its answer. All else in the header,
// AA, TC, RA, Z, AD, CD and the RCODE, means nothing in a question.
type query struct {
	length int // of the request
	id     uint16
	opcode uint16
	rd     bool

	asked    bool   // the question was understood and can be repeated in the reply
	question []byte // of the request
	name     string
	qtype    uint16
	qclass   uint16

	edns    bool // one OPT, in its place
	version uint8
	do      bool
	size    int // the client's UDP size, at least 512
	nsid    bool
	tsig    bool   // the last record is a signature
	cookie  []byte // of the request, well formed; nil: none
	subnet  []byte // of the request, as it came; nil: none
}

// Results of parse besides an RCODE.
const (
	dropShort    = -1 // no whole header
	dropResponse = -2 // answering an answer would let two servers talk for ever
	dropNoQuery  = -3 // no question where one is promised: random bytes, or a cut message
)

// parse reads a request into q and says how to go on: dns.RcodeSuccess, an
// error to answer, or one of the drop constants. It follows RFC 1035, 6891, 7873
// and 9619 to the letter: what it accepts can be understood in one way only.
func (q *query) parse(b []byte) int {
	*q = query{length: len(b), size: dns.MinMsgSize}
	if len(b) < headerSize {
		return dropShort
	}
	bits := binary.BigEndian.Uint16(b[2:])
	if bits&bitQR != 0 {
		return dropResponse
	}
	q.id = binary.BigEndian.Uint16(b)
	q.opcode = bits >> 11 & 0xf
	q.rd = bits&bitRD != 0
	questions := int(binary.BigEndian.Uint16(b[4:]))
	off, ok := skipQuestions(b, questions)
	switch {
	case !ok:
		return dropNoQuery
	case q.opcode != dns.OpcodeQuery:
		return dns.RcodeNotImplemented
	case questions > 1: // RFC 9619
		return dns.RcodeFormatError
	case questions == 1 && !q.readQuestion(b[:off]):
		return dropNoQuery
	}
	others := int(binary.BigEndian.Uint16(b[6:])) + int(binary.BigEndian.Uint16(b[8:]))
	extra := int(binary.BigEndian.Uint16(b[10:]))
	if others+extra > maxRecords {
		return dns.RcodeFormatError
	}
	for i := range others + extra {
		if off, ok = q.record(b, off, i >= others); !ok {
			return dns.RcodeFormatError
		}
	}
	if off != len(b) { // something follows the message
		return dns.RcodeFormatError
	}
	if questions == 0 && q.cookie == nil { // with one, it asks for a cookie: RFC 7873 5.4
		return dns.RcodeFormatError
	}
	return dns.RcodeSuccess
}

// skipQuestions returns the offset behind n questions. The name of the first one
// cannot be compressed: nothing comes before it that it could point to.
func skipQuestions(b []byte, n int) (off int, ok bool) {
	off = headerSize
	for i := range n {
		if off, ok = skipName(b, off, i > 0); !ok || off+4 > len(b) {
			return 0, false
		}
		off += 4
	}
	return off, true
}

// readQuestion reads the one question, which is all of b behind the header.
func (q *query) readQuestion(b []byte) bool {
	end := len(b) - 4
	name, _, err := dns.UnpackDomainName(b[:end], headerSize)
	if err != nil {
		return false
	}
	q.name, q.asked, q.question = name, true, b[headerSize:]
	q.qtype, q.qclass = binary.BigEndian.Uint16(b[end:]), binary.BigEndian.Uint16(b[end+2:])
	return true
}

// record walks over one record and takes in an OPT.
func (q *query) record(b []byte, start int, additional bool) (off int, ok bool) {
	off, ok = skipName(b, start, true)
	if !ok || off+10 > len(b) {
		return 0, false
	}
	rtype, class := binary.BigEndian.Uint16(b[off:]), binary.BigEndian.Uint16(b[off+2:])
	ttl, size := binary.BigEndian.Uint32(b[off+4:]), int(binary.BigEndian.Uint16(b[off+8:]))
	data := off + 10
	end := data + size
	if end > len(b) {
		return 0, false
	}
	q.tsig = rtype == dns.TypeTSIG
	if rtype != dns.TypeOPT {
		return end, true
	}
	if !additional || q.edns || b[start] != 0 {
		q.edns = false // which OPT would the reply's belong to?
		return 0, false
	}
	q.edns = true
	q.version = uint8(ttl >> 16)
	q.do = ttl&(1<<15) != 0
	q.size = max(int(class), dns.MinMsgSize)
	if q.version != 0 {
		return end, true // what its options look like only that version knows
	}
	return end, q.options(b[data:end])
}

// options reads the EDNS options. The unknown ones are ignored, and so are the
// known ones that are none of our business.
func (q *query) options(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 4 {
			return false
		}
		code, size := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		if 4+size > len(b) {
			return false
		}
		switch code {
		case dns.EDNS0NSID:
			q.nsid = true
		case dns.EDNS0SUBNET:
			if q.subnet == nil {
				q.subnet = b[4 : 4+size]
			}
		case dns.EDNS0COOKIE:
			if !cookie.WellFormed(size) {
				return false
			}
			if q.cookie == nil { // the first one counts (RFC 7873 5.2)
				q.cookie = b[4 : 4+size]
			}
		}
		b = b[4+size:]
	}
	return true
}

// skipName returns the offset behind the name at off. Pointers end a name and
// are not followed.
func skipName(b []byte, off int, pointers bool) (int, bool) {
	for start := off; off < len(b); {
		n := int(b[off])
		switch n & 0xc0 {
		case 0x00:
			off += 1 + n
			if off-start > 255 {
				return 0, false
			}
			if n == 0 {
				return off, true
			}
		case 0xc0:
			return off + 2, pointers && off+2 <= len(b)
		default: // label types of experiments past
			return 0, false
		}
	}
	return 0, false
}
