package nodeagent

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/sipmsg"
	"thor/overlay/check"
)

// A sipProbe asks with OPTIONS (RFC 3261 11). The messages are sipgo's, the
// transport is not: its UDP sockets are not connected, so a dead service would
// look like a slow one, and a transaction layer has nothing to add to one
// question and one answer.
//
// Over TCP and TLS each probe makes a new connection: a server that no longer
// accepts any is not well, however well it treats the old ones.
type sipProbe struct {
	transport string // udp, tcp, tls
	target    string // host:port
	uri       sip.Uri
	expect    []int       // that count as alive; empty: any but 503
	tls       *tls.Config // for the transport tls

	prefix, tag    string // the same in all questions
	seq            uint32
	callID, branch string // of the question under way
	udp            dialogue
}

func newSIPProbe(c *CheckConfig) (*sipProbe, error) {
	host, port, err := net.SplitHostPort(c.Target)
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	p := &sipProbe{
		transport: c.Transport, target: c.Target, expect: c.Expect, tls: c.tlsConfig(host),
		uri:    sip.Uri{Scheme: "sip", Host: host, Port: n},
		prefix: token() + "-", tag: token(), udp: dialogue{target: c.Target},
	}
	if c.Transport != "udp" {
		p.uri.UriParams = sip.HeaderParams{{K: "transport", V: c.Transport}}
	}
	return p, nil
}

func (p *sipProbe) name() string { return "sip options " + p.transport + " " + p.target }

func (p *sipProbe) Close() { p.udp.close() }

func (p *sipProbe) Probe(ctx context.Context) error {
	p.seq = p.seq%(1<<31-1) + 1 // RFC 3261 8.1.1.5
	p.callID = fmt.Sprintf("%s%d@thor", p.prefix, p.seq)
	p.branch = sip.RFC3261BranchMagicCookie + token()
	if p.transport == "udp" {
		return p.udp.ask(ctx, p.request, func(b []byte) (match, error) {
			m, err := sipmsg.Parse(b)
			if err != nil {
				return foreign, nil
			}
			return p.judge(m)
		})
	}
	return p.overStream(ctx)
}

func (p *sipProbe) overStream(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", p.target)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	stop := follow(ctx, c)
	defer stop()
	if p.transport == "tls" {
		s := tls.Client(c, p.tls)
		if err := s.HandshakeContext(ctx); err != nil {
			return err
		}
		c = s
	}
	if _, err := c.Write(p.request(c.LocalAddr().(*net.TCPAddr).AddrPort())); err != nil {
		return err
	}
	in := bufio.NewReader(c)
	for {
		m, err := sipmsg.Read(in)
		if err != nil {
			if errors.Is(err, sipmsg.ErrNotSIP) {
				return &check.Fault{Text: noValidAnswer, Cause: err}
			}
			return err
		}
		if m, err := p.judge(m); m == final {
			return err
		}
	}
}

// request is the OPTIONS of this probe, sent from local.
func (p *sipProbe) request(local netip.AddrPort) []byte {
	host := local.Addr().Unmap().WithZone("").String()
	via := &sip.ViaHeader{
		ProtocolName: "SIP", ProtocolVersion: "2.0", Transport: strings.ToUpper(p.transport),
		Host: host, Port: int(local.Port()), Params: sip.HeaderParams{{K: "branch", V: p.branch}, {K: "rport"}},
	}
	callID, hops := sip.CallIDHeader(p.callID), sip.MaxForwardsHeader(70)
	q := sip.NewRequest(sip.OPTIONS, p.uri)
	for _, h := range []sip.Header{
		via, &hops,
		&sip.FromHeader{Address: sip.Uri{Scheme: "sip", User: "thor", Host: host}, Params: sip.HeaderParams{{K: "tag", V: p.tag}}},
		&sip.ToHeader{Address: p.uri},
		&callID,
		&sip.CSeqHeader{SeqNo: p.seq, MethodName: sip.OPTIONS},
		sip.NewHeader("Accept", "application/sdp"),
		sip.NewHeader("User-Agent", "thor"),
	} {
		q.AppendHeader(h)
	}
	q.SetBody(nil)
	return []byte(q.String())
}

// judge matches a message with the question (RFC 3261 17.1.3) and reads the
// verdict of a final answer. A service that refuses is alive, since it speaks;
// one that says 503 asks not to be spoken to.
func (p *sipProbe) judge(m sip.Message) (match, error) {
	a, ok := m.(*sip.Response)
	if !ok || a.CallID() == nil || !strings.HasPrefix(string(*a.CallID()), p.prefix) || a.CSeq() == nil || a.Via() == nil ||
		a.CSeq().MethodName != sip.OPTIONS || a.StatusCode < 100 || a.StatusCode > 699 {
		return foreign, nil
	}
	branch, _ := a.Via().Params.Get("branch")
	switch {
	case string(*a.CallID()) != p.callID || a.CSeq().SeqNo != p.seq || branch != p.branch || a.StatusCode < 200:
		return other, nil
	case len(p.expect) == 0 && a.StatusCode != 503, slices.Contains(p.expect, a.StatusCode):
		return final, nil
	}
	return final, &check.Fault{Text: fmt.Sprintf("answered %d", a.StatusCode)}
}
