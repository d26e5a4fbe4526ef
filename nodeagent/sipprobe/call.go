package sipprobe

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"slices"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/datagram"
	"thor/overlay/check"
)

// Faults of a test call.
const notReachedText = "does not ring"

// A call is one test call as its caller sees it (RFC 3261 9, 13, 15, 17.1.1). It does no
// I/O but for reading the password file, and knows no clock: its dialler sends
// what its methods return, sends wanted again until that changes, and says when the time
// for ringing is over.
type call struct {
	accepts func(int) bool
	account account
	local   netip.AddrPort
	caller  sip.Uri
	callee  sip.Uri

	transport   string
	callID, tag string

	invite  *question // the newest INVITE
	cancel  *question
	bye     *question
	proof   sip.Header      // of the newest INVITE
	remote  *sip.Response   // that answered the call
	tries   int             // with a password
	heard   bool            // an answer to the newest INVITE
	strange bool            // something came that belongs to no call of this probe
	wanted  []byte          // the request that waits for an answer
	acks    map[string]bool // the ends that have answered the call, by their tags
	over    bool

	decided bool
	verdict error // once decided
}

// reached says whether a status code is one by which a call counts as reached, unless the
// configuration says otherwise: it rings, or is answered.
func reached(code int) bool { return code == 180 || code == 183 || code >= 200 && code < 300 }

// begin is the first INVITE.
func (c *call) begin() []byte {
	c.callID, c.tag = rand.Text()+"@thor", rand.Text()
	c.acks = make(map[string]bool)
	return c.ring(1, nil)
}

// ring makes an INVITE what is wanted.
func (c *call) ring(seq uint32, proof sip.Header) []byte {
	c.proof, c.heard = proof, false
	c.invite = c.question(sip.INVITE, seq)
	c.invite.body = c.offer()
	c.invite.more = func(local netip.AddrPort) []sip.Header {
		contact := sip.Uri{Scheme: "sip", User: c.caller.User, Host: hostOf(local), Port: int(local.Port())}
		if c.transport != "udp" {
			contact.UriParams = sip.HeaderParams{{K: "transport", V: c.transport}}
		}
		out := []sip.Header{&sip.ContactHeader{Address: contact}, sip.NewHeader("Content-Type", "application/sdp")}
		if proof != nil {
			out = append(out, proof)
		}
		return out
	}
	c.wanted = c.invite.encode(c.local)
	return c.wanted
}

func (c *call) question(method sip.RequestMethod, seq uint32) *question {
	return &question{
		method: method, to: c.callee, from: c.caller, transport: c.transport,
		prefix: c.callID, tag: c.tag, callID: c.callID, branch: newBranch(), seq: seq,
	}
}

// offer is a session without media: nothing is to be sent for the moment that it lasts.
func (c *call) offer() []byte {
	host, family := hostOf(c.local), "IP4"
	if c.local.Addr().Unmap().Is6() {
		family = "IP6"
	}
	return fmt.Appendf(nil, "v=0\r\no=thor 1 1 IN %s %s\r\ns=-\r\nc=IN %[1]s %[2]s\r\nt=0 0\r\nm=audio 9 RTP/AVP 0 8\r\na=inactive\r\n", family, host)
}

// receive takes a message and returns what is to be sent.
func (c *call) receive(m sip.Message) (out [][]byte) {
	switch m := m.(type) {
	case *sip.Request:
		return c.requested(m)
	case *sip.Response:
		if !c.ours(m) {
			c.strange = true
			return nil
		}
		switch {
		case m.CSeq().MethodName == sip.INVITE:
			return c.answeredInvite(m)
		case m.CSeq().MethodName == sip.CANCEL && c.isFor(c.cancel, m) && c.remote == nil:
			c.wanted = nil // the end of the INVITE follows
		case m.CSeq().MethodName == sip.BYE && c.isFor(c.bye, m):
			return c.answeredBye(m)
		}
	}
	return nil
}

// ours reports whether a answers something of this call.
func (c *call) ours(a *sip.Response) bool {
	return a.CallID() != nil && string(*a.CallID()) == c.callID && a.CSeq() != nil && a.Via() != nil && a.To() != nil &&
		a.StatusCode >= 100 && a.StatusCode <= 699
}

// isFor reports whether a is the final answer to q.
func (c *call) isFor(q *question, a *sip.Response) bool {
	if q == nil {
		return false
	}
	_, match := q.judge(a)
	return match == datagram.Final
}

func (c *call) answeredInvite(a *sip.Response) (out [][]byte) {
	branch, _ := a.Via().Params.Get("branch")
	if a.CSeq().SeqNo != c.invite.seq || branch != c.invite.branch {
		if a.StatusCode >= 300 { // the answer to an earlier INVITE comes again
			return nil
		}
		c.strange = c.strange || a.CSeq().SeqNo > c.invite.seq
		return nil
	}
	code := a.StatusCode
	first := !c.heard
	c.heard = true
	if c.cancel == nil && first {
		c.wanted = nil
	}
	switch {
	case code < 200:
		if code > 100 && c.accepts(code) {
			c.decide(nil)
		}
		return c.hangUp()
	case code < 300:
		return c.pickedUp(a)
	}
	out = [][]byte{c.ack(a)}
	if c.over {
		return out
	}
	if asked(a) && c.account.file != "" && c.cancel == nil && !c.decided {
		again, err := c.prove(a)
		if err == nil {
			return append(out, again)
		}
		c.decide(err)
	}
	c.decide(c.judge(code))
	c.wanted, c.over = nil, true
	return out
}

// prove is the INVITE with what a asks for.
func (c *call) prove(a *sip.Response) ([]byte, error) {
	if c.tries > 0 && !(c.tries == 1 && stale(a)) {
		return nil, &check.Fault{Text: refusedText}
	}
	c.tries++
	proof, err := c.account.answer(a, sip.INVITE, c.callee.String(), c.invite.body)
	if err != nil {
		return nil, err
	}
	return c.ring(c.invite.seq+1, proof), nil
}

func (c *call) judge(code int) error {
	if c.accepts(code) {
		return nil
	}
	return answered(code)
}

// decide sets the verdict, once.
func (c *call) decide(err error) {
	if !c.decided {
		c.decided, c.verdict = true, err
	}
}

// expire says that the time for ringing is over.
func (c *call) expire() (out [][]byte) {
	switch {
	case c.heard:
		c.decide(&check.Fault{Text: notReachedText})
	case c.strange:
		c.decide(&check.Fault{Text: datagram.NoValidAnswer})
	default:
		c.decide(&check.Fault{Text: check.NoAnswer})
	}
	return c.hangUp()
}

// hangUp cancels the call if that is decided, and may be done: not before the INVITE had
// an answer (RFC 3261 9.1).
func (c *call) hangUp() [][]byte {
	if !c.decided || !c.heard || c.cancel != nil || c.remote != nil || c.over {
		return nil
	}
	c.cancel = c.question(sip.CANCEL, c.invite.seq)
	c.cancel.branch = c.invite.branch
	c.wanted = c.cancel.encode(c.local)
	return [][]byte{c.wanted}
}

// pickedUp acknowledges an answered call and ends it. One that comes again is
// acknowledged again; each end of a call that forked is ended.
func (c *call) pickedUp(a *sip.Response) (out [][]byte) {
	c.decide(c.judge(a.StatusCode))
	tag, _ := a.To().Params.Get("tag")
	ack := c.inDialog(a, sip.ACK, c.invite.seq)
	out = append(out, ack.encode(c.local))
	if c.acks[tag] {
		return out
	}
	c.acks[tag] = true
	c.remote = a
	c.bye = c.inDialog(a, sip.BYE, c.invite.seq+1)
	c.wanted = c.bye.encode(c.local)
	return append(out, c.wanted)
}

// inDialog is a request to the end that answered with a, with the proof of the INVITE as
// an ACK has it.
func (c *call) inDialog(a *sip.Response, method sip.RequestMethod, seq uint32) *question {
	q := c.question(method, seq)
	if h := a.Contact(); h != nil {
		q.to = *h.Address.Clone()
		q.to.Headers = nil
	}
	to := a.To()
	q.aor, q.aorParams = &to.Address, to.Params
	var routes []sip.Header
	for _, h := range a.GetHeaders("Record-Route") {
		routes = append(routes, sip.NewHeader("Route", h.Value()))
	}
	slices.Reverse(routes)
	proof := c.proof
	q.more = func(netip.AddrPort) []sip.Header {
		if proof != nil && method == sip.ACK {
			return append(slices.Clone(routes), proof)
		}
		return routes
	}
	return q
}

// ack acknowledges a refusal, in the transaction of the INVITE (RFC 3261 17.1.1.3).
func (c *call) ack(a *sip.Response) []byte {
	q := c.question(sip.ACK, c.invite.seq)
	q.branch = c.invite.branch
	q.aor, q.aorParams = &a.To().Address, a.To().Params
	return q.encode(c.local)
}

// answeredBye ends the call, or proves the password once more.
func (c *call) answeredBye(a *sip.Response) [][]byte {
	if asked(a) && c.account.file != "" && c.bye.seq == c.invite.seq+1 {
		q := c.inDialog(c.remote, sip.BYE, c.bye.seq+1)
		if proof, err := c.account.answer(a, sip.BYE, q.to.String(), nil); err == nil {
			routes := q.more(c.local)
			q.more = func(netip.AddrPort) []sip.Header { return append(slices.Clone(routes), proof) }
			c.bye, c.wanted = q, q.encode(c.local)
			return [][]byte{c.wanted}
		}
	}
	c.wanted, c.over = nil, true
	return nil
}

// requested answers a request of the other end.
func (c *call) requested(r *sip.Request) [][]byte {
	if r.CallID() == nil || string(*r.CallID()) != c.callID || r.IsAck() || r.Via() == nil {
		c.strange = c.strange || r.CallID() == nil || string(*r.CallID()) != c.callID
		return nil
	}
	code, reason := 405, "Method Not Allowed"
	if r.Method == sip.BYE {
		code, reason = 200, "OK"
		c.wanted, c.over = nil, true
	}
	return [][]byte{[]byte(sip.NewResponseFromRequest(r, code, reason, nil).String())}
}
