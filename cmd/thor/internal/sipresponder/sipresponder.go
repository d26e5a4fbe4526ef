// Package sipresponder stands in for a SIP server where none is installed: it
// answers OPTIONS with 200, so that the node agent's probes pass, and refuses
// everything else. It keeps nothing but one buffer per connection and does
// nothing for the sender of junk. It is no SIP server: no transactions, no
// registrations, no calls.
package sipresponder

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"thor/nodeagent/sipmsg"
)

const (
	maxConnections = 128              // of TCP at a time; more are closed at once
	idleTime       = 60 * time.Second // after which a silent connection is closed
	writeTime      = 5 * time.Second  // for a sender that does not read its answer
	tries          = 8                // to find a port that is free for UDP and TCP
)

// A Responder answers on one address, UDP and TCP.
type Responder struct {
	listen string
	tag    string // of the To header, the same in all answers of one process
	ready  chan struct{}
	addr   netip.AddrPort
	slots  chan struct{} // one token for each TCP connection
}

// New makes a responder for "host:port"; port 0 is one that the system chooses.
func New(listen string) (*Responder, error) {
	if _, _, err := net.SplitHostPort(listen); err != nil {
		return nil, fmt.Errorf("sipresponder: listen address %q is not host:port", listen)
	}
	b := make([]byte, 8)
	_, _ = rand.Read(b) // never fails, see crypto/rand
	return &Responder{
		listen: listen, tag: hex.EncodeToString(b), ready: make(chan struct{}), slots: make(chan struct{}, maxConnections),
	}, nil
}

// Run answers on listen until ctx ends; then it returns nil.
func Run(ctx context.Context, listen string) error {
	r, err := New(listen)
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

// Ready is closed once it answers.
func (r *Responder) Ready() <-chan struct{} { return r.ready }

// Addr is the address it answers on, once Ready is closed.
func (r *Responder) Addr() netip.AddrPort { return r.addr }

// Run answers until ctx ends; then it returns nil, when all its goroutines have
// ended. It may be called once.
func (r *Responder) Run(ctx context.Context) error {
	u, t, err := r.bind(ctx)
	if err != nil {
		return fmt.Errorf("sipresponder: %w", err)
	}
	r.addr = t.Addr().(*net.TCPAddr).AddrPort()
	close(r.ready)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(ctx, func() { _, _ = u.Close(), t.Close() })
	defer stop()
	var g sync.WaitGroup
	g.Go(func() { cancel(r.serveUDP(u)) })
	g.Go(func() { cancel(r.serveTCP(ctx, t, &g)) })
	g.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("sipresponder: %w", err)
	}
	return nil
}

func (r *Responder) bind(ctx context.Context) (*net.UDPConn, net.Listener, error) {
	var lc net.ListenConfig
	var err error
	for range tries {
		var t net.Listener
		if t, err = lc.Listen(ctx, "tcp", r.listen); err != nil {
			return nil, nil, err
		}
		var u net.PacketConn
		if u, err = lc.ListenPacket(ctx, "udp", t.Addr().String()); err == nil {
			return u.(*net.UDPConn), t, nil
		}
		_ = t.Close()
		if _, port, _ := net.SplitHostPort(r.listen); port != "0" {
			break
		}
	}
	return nil, nil, err
}

// serveUDP answers datagrams until u is closed.
func (r *Responder) serveUDP(u *net.UDPConn) error {
	buf := make([]byte, sipmsg.MaxHead+sipmsg.MaxBody)
	for {
		n, from, err := u.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			continue // of one sender, such as an ICMP message; only closing ends a UDP socket
		}
		m, err := sipmsg.Parse(buf[:n])
		if err != nil {
			continue
		}
		if b := r.answer(m, from); b != nil {
			_, _ = u.WriteToUDPAddrPort(b, replyTo(m, from)) // a lost answer is asked for again
		}
	}
}

// replyTo is where the answer to a datagram goes: back to where it came from,
// at the port of its Via unless that asks for the port it came from (RFC 3261
// 18.2.2, RFC 3581 4). The host of the Via is never believed.
func replyTo(m sip.Message, from netip.AddrPort) netip.AddrPort {
	v := m.Via()
	if _, symmetric := v.Params.Get("rport"); symmetric {
		return from
	}
	switch {
	case v.Port > 0 && v.Port < 65536:
		return netip.AddrPortFrom(from.Addr(), uint16(v.Port))
	case v.Port == 0:
		return netip.AddrPortFrom(from.Addr(), 5060)
	}
	return from
}

// serveTCP accepts connections until t is closed.
func (r *Responder) serveTCP(ctx context.Context, t net.Listener, g *sync.WaitGroup) error {
	const pause = 100 * time.Millisecond // out of file descriptors, most likely
	for {
		c, err := t.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		select {
		case r.slots <- struct{}{}:
		default:
			_ = c.Close()
			continue
		}
		g.Go(func() {
			defer func() { <-r.slots }()
			r.serveConn(ctx, c)
		})
	}
}

// serveConn answers the requests of one connection until either side closes it,
// it is silent for too long, or it says something that is not SIP.
func (r *Responder) serveConn(ctx context.Context, c net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer func() { _ = c.Close() }()
	from := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	in := bufio.NewReader(c)
	for {
		_ = c.SetReadDeadline(time.Now().Add(idleTime)) // fails on a closed connection, as Read will
		m, err := sipmsg.Read(in)
		if err != nil {
			return
		}
		b := r.answer(m, from)
		if b == nil {
			continue
		}
		_ = c.SetWriteDeadline(time.Now().Add(writeTime))
		if _, err := c.Write(b); err != nil {
			return
		}
	}
}

// answer is the response to m, nil for what gets none: responses, ACK, and
// requests that lack what an answer must repeat.
func (r *Responder) answer(m sip.Message, from netip.AddrPort) []byte {
	q, ok := m.(*sip.Request)
	if !ok || q.Method == sip.ACK || q.Via() == nil || q.From() == nil || q.To() == nil || q.CallID() == nil || q.CSeq() == nil {
		return nil
	}
	code, reason := verdict(q)
	a := sip.NewResponse(code, reason)
	for i, h := range q.GetHeaders("Via") {
		if v, ok := h.(*sip.ViaHeader); ok && i == 0 {
			v.Params.Add("received", from.Addr().Unmap().String())
			if _, symmetric := v.Params.Get("rport"); symmetric {
				v.Params.Add("rport", fmt.Sprint(from.Port()))
			}
		}
		a.AppendHeader(h)
	}
	to := q.To()
	if !to.Params.Has("tag") {
		to.Params.Add("tag", r.tag)
	}
	for _, h := range []sip.Header{q.From(), to, q.CallID(), q.CSeq()} {
		a.AppendHeader(h)
	}
	if code == 200 || code == 405 {
		a.AppendHeader(sip.NewHeader("Allow", "OPTIONS"))
	}
	a.AppendHeader(sip.NewHeader("Server", "thor"))
	a.SetBody(nil)
	return []byte(a.String())
}

// verdict is the status for a request: 405 for a method that SIP knows, 501 for
// others (RFC 3261 21.4.6, 21.5.2).
func verdict(q *sip.Request) (int, string) {
	if !strings.EqualFold(string(q.CSeq().MethodName), string(q.Method)) {
		return 400, "CSeq Is Of Another Method"
	}
	switch q.Method {
	case sip.OPTIONS:
		return 200, "OK"
	case sip.CANCEL:
		return 481, "Call/Transaction Does Not Exist"
	case sip.INVITE, sip.BYE, sip.REGISTER, sip.SUBSCRIBE, sip.NOTIFY, sip.REFER, sip.INFO, sip.MESSAGE, sip.PRACK, sip.UPDATE, sip.PUBLISH:
		return 405, "Method Not Allowed"
	}
	return 501, "Not Implemented"
}
