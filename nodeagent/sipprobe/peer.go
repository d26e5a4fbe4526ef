package sipprobe

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/datagram"
	"thor/nodeagent/sipmsg"
	"thor/overlay/check"
)

// A Config says how a server is asked.
type Config struct {
	Transport string      // udp, tcp, tls
	Target    string      // host:port
	TLS       *tls.Config // for the transport tls
	// Accepts says which status codes count as alive; nil: those of the kind of probe.
	Accepts func(code int) bool
	// Account is USER@DOMAIN of the test account, for Register and Call.
	Account string
	// AuthUser is its name when a server asks for a password; empty: that of Account.
	AuthUser string
	// PasswordFile holds its password; empty: there is none.
	PasswordFile string
	// Callee is USER@DOMAIN that Call calls.
	Callee string
}

// A peer is the server that is asked.
type peer struct {
	transport string
	target    string
	uri       sip.Uri // of the server itself
	tls       *tls.Config
	udp       datagram.Dialogue
	stream    *link // of the probe under way
}

func newPeer(c *Config) (*peer, error) {
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	p := &peer{
		transport: c.Transport, target: c.Target, tls: c.TLS,
		uri: sip.Uri{Scheme: "sip", Host: host, Port: n}, udp: datagram.Dialogue{Target: c.Target},
	}
	if c.Transport != "udp" {
		p.uri.UriParams = sip.HeaderParams{{K: "transport", V: c.Transport}}
	}
	return p, nil
}

// name is what a probe of that method is called.
func (p *peer) name(method string) string {
	return "sip " + method + " " + p.transport + " " + p.target
}

// Close ends what is held between two probes.
func (p *peer) Close() { p.udp.Close() }

// endStream ends the connection of a probe over a stream.
func (p *peer) endStream() {
	if p.stream != nil {
		_ = p.stream.conn.Close() // the question was answered, or never will be
		p.stream = nil
	}
}

// ask asks one question and returns its final answer. The caller calls endStream after
// the last question of a probe.
func (p *peer) ask(ctx context.Context, q *question) (answer *sip.Response, err error) {
	judge := func(m sip.Message) (datagram.Match, error) {
		a, match := q.judge(m)
		if match == datagram.Final {
			answer = a
		}
		return match, nil
	}
	if p.transport == "udp" {
		return answer, p.udp.Ask(ctx, q.encode, func(b []byte) (datagram.Match, error) {
			m, err := sipmsg.Parse(b)
			if err != nil {
				return datagram.Foreign, nil
			}
			return judge(m)
		})
	}
	if p.stream == nil {
		if p.stream, err = p.connect(ctx); err != nil {
			return nil, err
		}
	}
	l := p.stream
	stop := datagram.Follow(ctx, l.conn)
	defer stop()
	if _, err := l.conn.Write(q.encode(l.local())); err != nil {
		return nil, err
	}
	for {
		m, err := l.read()
		if err != nil {
			return nil, err
		}
		if match, _ := judge(m); match == datagram.Final {
			return answer, nil
		}
	}
}

// A link is a connection to the server.
type link struct {
	conn net.Conn
	in   *bufio.Reader // nil: datagrams
	buf  []byte
}

// connect makes a link within ctx.
func (p *peer) connect(ctx context.Context) (*link, error) {
	if p.transport == "udp" {
		c, err := new(net.Dialer).DialContext(ctx, "udp", p.target)
		if err != nil {
			return nil, err
		}
		return &link{conn: c, buf: make([]byte, sipmsg.MaxHead+sipmsg.MaxBody)}, nil
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return nil, err
	}
	if p.transport == "tls" {
		s := tls.Client(c, p.tls)
		if err := s.HandshakeContext(ctx); err != nil {
			_ = c.Close() // nothing was written that could be lost
			return nil, err
		}
		c = s
	}
	return &link{conn: c, in: bufio.NewReader(c)}, nil
}

func (l *link) local() netip.AddrPort {
	ap, _ := netip.ParseAddrPort(l.conn.LocalAddr().String()) // of UDP or TCP
	return ap
}

// read reads the next message. After errStrange of a datagram the next one may be better;
// any other error is the end of the link.
func (l *link) read() (sip.Message, error) {
	if l.in == nil {
		n, err := l.conn.Read(l.buf)
		if err != nil {
			return nil, err
		}
		m, err := sipmsg.Parse(l.buf[:n])
		if err != nil {
			return nil, errStrange
		}
		return m, nil
	}
	m, err := sipmsg.Read(l.in)
	if errors.Is(err, sipmsg.ErrNotSIP) {
		return nil, &check.Fault{Text: datagram.NoValidAnswer, Cause: err}
	}
	return m, err
}

// errStrange is a datagram that is not SIP.
var errStrange = errors.New("not SIP")

// A question is one request, and how its answer is known.
type question struct {
	method      sip.RequestMethod
	to          sip.Uri // Request-URI, and the To unless aor is set
	aor         *sip.Uri
	aorParams   sip.HeaderParams // of the To, such as its tag
	from        sip.Uri          // a Host that is empty is the local address
	prefix, tag string           // of the Call-IDs of all questions of the probe, of the From
	callID      string
	branch      string
	seq         uint32
	transport   string
	more        func(local netip.AddrPort) []sip.Header
	body        []byte
}

// encode is the request, sent from local.
func (q *question) encode(local netip.AddrPort) []byte { return []byte(q.request(local).String()) }

func (q *question) request(local netip.AddrPort) *sip.Request {
	from, to := q.from, q.to
	if from.Host == "" {
		from.Host = hostOf(local)
	}
	if q.aor != nil {
		to = *q.aor
	}
	callID, hops := sip.CallIDHeader(q.callID), sip.MaxForwardsHeader(70)
	r := sip.NewRequest(q.method, q.to)
	for _, h := range []sip.Header{
		q.via(local), &hops,
		&sip.FromHeader{Address: from, Params: sip.HeaderParams{{K: "tag", V: q.tag}}},
		&sip.ToHeader{Address: to, Params: q.aorParams},
		&callID,
		&sip.CSeqHeader{SeqNo: q.seq, MethodName: q.method},
	} {
		r.AppendHeader(h)
	}
	if q.more != nil {
		for _, h := range q.more(local) {
			r.AppendHeader(h)
		}
	}
	r.AppendHeader(sip.NewHeader("User-Agent", "thor"))
	r.SetBody(q.body)
	return r
}

func (q *question) via(local netip.AddrPort) *sip.ViaHeader {
	return &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(q.transport),
		Host: hostOf(local), Port: int(local.Port()), Params: sip.HeaderParams{{K: "branch", V: q.branch}, {K: "rport"}},
	}
}

// hostOf is an address as sipgo takes a host.
func hostOf(local netip.AddrPort) string { return local.Addr().Unmap().WithZone("").String() }

// judge matches a message with the question (RFC 3261 17.1.3).
func (q *question) judge(m sip.Message) (*sip.Response, datagram.Match) {
	a, ok := m.(*sip.Response)
	if !ok || a.CallID() == nil || !strings.HasPrefix(string(*a.CallID()), q.prefix) || a.CSeq() == nil || a.Via() == nil ||
		a.CSeq().MethodName != q.method || a.StatusCode < 100 || a.StatusCode > 699 {
		return nil, datagram.Foreign
	}
	branch, _ := a.Via().Params.Get("branch")
	if string(*a.CallID()) != q.callID || a.CSeq().SeqNo != q.seq || branch != q.branch || a.StatusCode < 200 {
		return nil, datagram.Other
	}
	return a, datagram.Final
}

func newBranch() string { return sip.RFC3261BranchMagicCookie + rand.Text() }

// next is the number of the request after seq, RFC 3261 8.1.1.5.
func next(seq uint32) uint32 { return seq%(1<<31-1) + 1 }

// answered is the fault of an answer that does not count as alive.
func answered(code int) error { return &check.Fault{Text: fmt.Sprintf("answered %d", code)} }

// ParseAccount takes USER@DOMAIN apart, as a SIP URI without parameters.
func ParseAccount(s string) (sip.Uri, error) {
	user, domain, ok := strings.Cut(s, "@")
	if !ok || user == "" || domain == "" || strings.ContainsAny(s, " \t\r\n<>\"?;,/:%") || strings.Contains(domain, "@") {
		return sip.Uri{}, fmt.Errorf("%q is not USER@DOMAIN", s)
	}
	if slices.ContainsFunc([]byte(s), func(b byte) bool { return b < ' ' || b > '~' }) {
		return sip.Uri{}, fmt.Errorf("%q is not USER@DOMAIN", s)
	}
	return sip.Uri{Scheme: "sip", User: user, Host: domain}, nil
}
