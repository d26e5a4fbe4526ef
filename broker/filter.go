package broker

import (
	"bytes"
	"errors"
)

// What ends a connection at the filter. The text goes to the client as -ERR and
// is in the wording of nats-server.
var (
	errOperation = errors.New("unknown protocol operation")
	errLine      = errors.New("maximum control line exceeded")
	errHeaders   = errors.New("message headers too large")
	errConnect   = errors.New("CONNECT was sent twice")
)

const (
	// maxLine is nats-server's own limit, less what a refusal adds to a line.
	maxLine    = 4096 - len(refusedReply)
	maxHeaders = 16 << 10 // bytes of a message's headers: they are held until all have come
	maxInspect = 1 << 10  // bytes of a message that is seen whole, with its headers
	maxDigits  = 9        // of a size, as in nats-server
)

// refusedReply before a reply subject makes it one that nats-server accepts
// from no client: so nats-server tells the client, in the order of its messages.
const refusedReply = "_R_."

// A policy decides about what a filter reads. An error ends the connection.
type policy interface {
	// message is asked before the payload of a message has come, of which the
	// first bytes are headers.
	message(subject []byte, headers, size int) error
	// control is asked for each other line.
	control() error
	subscribed(subject, sid []byte) error
	// unsubscribed is called for each subscription that ends, now or later: after some messages.
	unsubscribed(sid []byte, later bool)
	// inspects reports whether the whole of a message on subject is to be seen, and
	// sound decides about its payload then.
	inspects(subject []byte) bool
	sound(payload []byte) bool
	// replyAllowed decides about a reply subject that is not empty.
	replyAllowed(reply []byte) bool
	// refused is called for each message that is not let through.
	refused(why refusal)
}

// A refusal is why a message is not let through.
type refusal string

const (
	refusedForReply refusal = "reply"
	refusedForTrace refusal = "trace"
	refusedForBody  refusal = "payload"
)

// A filter reads the NATS protocol of a client and lets through what its
// policy allows. It accepts a part of what nats-server accepts: what it lets
// through means the same to both. It does no I/O and knows no time.
type filter struct {
	r         policy
	state     filterState
	line      []byte // of an unfinished control line, or a message whose headers are not complete
	left      int    // bytes of payload or headers that are still to come
	body      int    // bytes of payload that are not held
	hdr       int    // bytes of headers that are held; what is held beyond them is the payload
	drop      bool   // the payload belongs to a refused message
	connected bool

	in     []byte // the argument of feed
	lo, hi int    // in[lo:hi] passes and is not in out yet
	out    []byte
}

type filterState uint8

const (
	inLine filterState = iota
	inHeaders
	inPayload
	inEnd // the CR and LF after a payload
)

// feed takes what a client sent and returns what nats-server may have. The
// result is valid until the next call and may share memory with in. After an
// error the connection must end.
func (f *filter) feed(in []byte) ([]byte, error) {
	f.in = in
	f.lo = 0
	f.hi = 0
	f.out = f.out[:0]
	for i := 0; i < len(in); {
		n, err := f.step(i)
		if err != nil {
			return nil, err
		}
		i += n
	}
	f.in = nil
	if len(f.out) == 0 {
		return in[f.lo:f.hi], nil
	}
	f.out = append(f.out, in[f.lo:f.hi]...)
	return f.out, nil
}

// step takes at least one byte at in[i:] and returns how many it took.
func (f *filter) step(i int) (n int, err error) {
	switch f.state {
	case inLine:
		return f.control(i)
	case inHeaders:
		n = min(f.left, len(f.in)-i)
		f.line = append(f.line, f.in[i:i+n]...)
		if f.left -= n; f.left == 0 {
			f.headers()
		}
	case inPayload:
		n = min(f.left, len(f.in)-i)
		f.pass(i, n)
		if f.left -= n; f.left == 0 {
			f.state, f.left = inEnd, len(crlf)
		}
	case inEnd:
		n = 1
		if f.in[i] != crlf[len(crlf)-f.left] {
			return 0, errOperation
		}
		f.pass(i, n)
		if f.left--; f.left == 0 {
			f.state, f.drop = inLine, false
		}
	}
	return n, nil
}

var crlf = []byte("\r\n")

// pass lets in[i:i+n] through unless its message is refused.
func (f *filter) pass(i, n int) {
	if f.drop {
		return
	}
	if i != f.hi {
		f.flush()
		f.lo = i
	}
	f.hi = i + n
}

func (f *filter) flush() {
	f.out = append(f.out, f.in[f.lo:f.hi]...)
	f.lo, f.hi = 0, 0
}

// put lets other bytes through.
func (f *filter) put(b ...[]byte) {
	f.flush()
	for _, p := range b {
		f.out = append(f.out, p...)
	}
}

// slim gives memory back between bursts.
func (f *filter) slim() {
	if cap(f.out) > 1<<10 {
		f.out = nil
	}
	if len(f.line) == 0 && cap(f.line) > 256 {
		f.line = nil
	}
}

// control takes a control line, or the part of it that has come.
func (f *filter) control(i int) (int, error) {
	rest := f.in[i:]
	n := bytes.IndexByte(rest, '\n') + 1
	if n == 0 {
		n = len(rest)
	}
	if len(f.line)+n > maxLine {
		return 0, errLine
	}
	whole := rest[:n]
	if len(f.line) > 0 || whole[n-1] != '\n' {
		f.line = append(f.line, whole...)
		whole = f.line
	}
	if whole[len(whole)-1] != '\n' {
		return n, nil
	}
	then, err := f.command(whole)
	if err != nil {
		return 0, err
	}
	switch {
	case then == hold:
		if len(f.line) == 0 {
			f.line = append(f.line, whole...)
		}
		return n, nil
	case then == replaced:
	case len(f.line) > 0:
		f.put(f.line)
	default:
		f.pass(i, n)
	}
	f.line = f.line[:0]
	return n, nil
}

// A verdict is what becomes of a control line.
type verdict uint8

const (
	passes   verdict = iota
	hold             // until the message's headers have come
	replaced         // by what was put
)

// command decides about one control line.
func (f *filter) command(line []byte) (verdict, error) {
	body := bytes.TrimSuffix(line[:len(line)-1], crlf[:1])
	for _, c := range body {
		if c < ' ' && c != '\t' {
			return 0, errOperation // nats-server has ways of its own with a CR inside a line
		}
	}
	op, args := body, []byte(nil)
	if i := bytes.IndexAny(body, " \t"); i >= 0 {
		op, args = body[:i], body[i:]
	}
	var buf [6][]byte
	if is(op, "CONNECT") {
		if f.connected {
			return 0, errConnect
		}
		f.connected = true
		return 0, nil
	}
	a := fields(args, buf[:0])
	switch {
	case is(op, "PUB"):
		return f.publish(a, false)
	case is(op, "HPUB"):
		return f.publish(a, true)
	case is(op, "SUB"):
		if len(a) != 2 && len(a) != 3 {
			return 0, errOperation
		}
		if err := f.r.control(); err != nil {
			return 0, err
		}
		return 0, f.r.subscribed(a[0], a[len(a)-1])
	case is(op, "UNSUB"):
		if len(a) != 1 && len(a) != 2 {
			return 0, errOperation
		}
		f.r.unsubscribed(a[0], len(a) == 2)
		return 0, f.r.control()
	case (is(op, "PING") || is(op, "PONG")) && len(a) == 0:
		return 0, f.r.control()
	}
	return 0, errOperation
}

// publish decides about the control line of a message.
func (f *filter) publish(a [][]byte, headers bool) (verdict, error) {
	sizes := 1
	if headers {
		sizes = 2
	}
	if len(a) != sizes+1 && len(a) != sizes+2 {
		return 0, errOperation
	}
	size, ok := number(a[len(a)-1])
	hdr := 0
	if ok && headers {
		hdr, ok = number(a[len(a)-2])
	}
	switch {
	case !ok || hdr > size:
		return 0, errOperation
	case hdr > maxHeaders:
		return 0, errHeaders
	}
	if err := f.r.message(a[0], hdr, size); err != nil {
		return 0, err
	}
	if len(a) == sizes+2 && !f.r.replyAllowed(a[1]) {
		f.refuse(a[0], a[1], refusedForReply)
		f.payload(size)
		return replaced, nil
	}
	switch whole := f.r.inspects(a[0]); {
	case whole && (size > maxInspect || size == 0):
		f.refuse(a[0], []byte(refusedForBody), refusedForBody)
		f.payload(size)
		return replaced, nil
	case whole:
		f.state, f.left, f.body, f.hdr = inHeaders, size, 0, hdr
		return hold, nil
	case hdr > 0:
		f.state, f.left, f.body, f.hdr = inHeaders, hdr, size-hdr, hdr
		return hold, nil
	}
	f.payload(size)
	return passes, nil
}

// payload awaits so many bytes and the end of the message.
func (f *filter) payload(n int) {
	f.state, f.left = inPayload, n
	if n == 0 {
		f.state, f.left = inEnd, len(crlf)
	}
}

// refuse drops a message and makes nats-server say so.
func (f *filter) refuse(subject, reply []byte, why refusal) {
	f.drop = true
	f.r.refused(why)
	f.put([]byte("PUB "), subject, []byte(" "+refusedReply), reply, []byte(" 0\r\n\r\n"))
}

var traceHeader = []byte("nats-trace-")

// headers decides about a message of which all that is to be held has come: f.line
// holds its control line, its headers, and its payload where that is inspected. nats-server reports a message that asks for a trace to
// a subject of the sender's choice.
func (f *filter) headers() {
	nl := bytes.IndexByte(f.line, '\n')
	var buf [6][]byte
	a := fields(bytes.TrimRight(f.line[:nl], "\r"), buf[:0])
	held := f.line[nl+1:]
	switch payload := held[f.hdr:]; {
	case containsFold(held[:f.hdr], traceHeader):
		f.refuse(a[1], traceHeader[:len(traceHeader)-1], refusedForTrace)
	case len(payload) > 0 && !f.r.sound(payload):
		f.refuse(a[1], []byte(refusedForBody), refusedForBody)
	default:
		f.put(f.line)
	}
	f.line = f.line[:0]
	f.payload(f.body)
}
