package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"thor/identity"
	"thor/subjects"
)

// A front is the listener for clients. nats-server accepts from it what has
// shown a good certificate: everything before that is bounded here, and what is
// said after it goes through the filter of a clientConn.
type front struct {
	net.Listener
	creds     *identity.Credentials
	tls       *tls.Config
	log       zerolog.Logger
	m         *metrics
	usage     *usage
	admission *admission
	limits    frontLimits
	rates     func(*identity.Identity) *rates
	live      func(cid uint64) (map[string]bool, error) // subscriptions that nats-server has; set before start
	alone     func() bool                               // the broker is; set before start
	turns     chan struct{}                             // one for each handshake that computes
	pressure  *pressure
	ready     chan *clientConn
	cuts      chan subjects.Cut // for managers
	done      chan struct{}
	taken     atomic.Bool // nats-server accepts from it
	once      sync.Once
	running   sync.WaitGroup

	mu      sync.Mutex
	clients map[*clientConn]struct{}
}

// frontLimits are bounds of the client port.
type frontLimits struct {
	clients    int // connections in total
	waiting    int // connections without a certificate, in total
	bySource   int // the same, of one source
	handshakes int // under way at once
	descriptor int // reserve of file descriptors
}

const (
	firstByteTime  = 2 * time.Second
	handshakeTime  = 10 * time.Second // 5,000 at once take 27 s of two cores: they queue
	handshakeQueue = 30 * time.Second
	handOverTime   = 5 * time.Second // for nats-server to accept
)

// handshakesComputing is how many handshakes compute at once on one processor. More of
// them would only take time from the clients that are connected, whose beats and
// pings wait behind them.
const handshakesComputing = 2

// recordHandshake is how a TLS connection begins.
const recordHandshake = 0x16

func newFront(l net.Listener, creds *identity.Credentials, log zerolog.Logger, m *metrics, u *usage, limits frontLimits) *front {
	return &front{
		Listener: l, creds: creds, tls: creds.ServerTLS(),
		log: m.limiters.limit(log, 10, m.suppressed.WithLabelValues("broker")), m: m, usage: u, limits: limits, rates: ratesOf,
		admission: newAdmission(limits.waiting, limits.bySource, limits.handshakes),
		cuts:      make(chan subjects.Cut, 64),
		turns:     make(chan struct{}, handshakesComputing*runtime.GOMAXPROCS(0)), pressure: newPressure(),
		ready: make(chan *clientConn), done: make(chan struct{}), clients: make(map[*clientConn]struct{}),
	}
}

// start accepts until Close.
func (f *front) start() { f.running.Go(f.accept) }

// Addr implements net.Listener. nats-server asks for it first of all.
func (f *front) Addr() net.Addr {
	f.taken.Store(true)
	return f.Listener.Addr()
}

// Accept implements net.Listener for nats-server.
func (f *front) Accept() (net.Conn, error) {
	select {
	case m := <-f.ready:
		return m, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener: nats-server calls it when it shuts down, and at
// the beginning of its lame duck mode. Connections that are not accepted yet are cut off.
func (f *front) Close() error {
	var err error
	f.once.Do(func() {
		close(f.done)
		err = f.Listener.Close()
		f.admission.close()
	})
	return err
}

// wait returns when nothing of the front runs any more, after Close and after
// nats-server has closed all clients.
func (f *front) wait() { f.running.Wait() }

func (f *front) accept() {
	pause := 5 * time.Millisecond
	for {
		c, err := f.Listener.Accept()
		if err == nil {
			pause = 5 * time.Millisecond
			f.arrive(c)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		// Out of descriptors, most likely: who says nothing makes room.
		f.log.Error().Err(err).Msg("accept")
		f.m.limit("descriptors")
		f.admission.evict()
		select {
		case <-time.After(pause):
		case <-f.done:
			return
		}
		pause = min(2*pause, time.Second)
	}
}

// arrive lets a connection wait for its handshake, or closes it.
func (f *front) arrive(c net.Conn) {
	if why := f.full(); why != "" {
		f.m.limit(why)
		_ = c.Close()
		return
	}
	w, evicted := f.admission.enter(c, sourceOf(c.RemoteAddr()))
	if evicted || w == nil {
		f.m.limit("unauthenticated")
	}
	if w == nil {
		_ = c.Close()
		return
	}
	f.running.Go(func() {
		defer f.admission.leave(w)
		m, err := f.handshake(w)
		if err != nil {
			_ = c.Close()
			if !errors.Is(err, errSilent) && !errors.Is(err, net.ErrClosed) {
				f.log.Info().Stringer("addr", c.RemoteAddr()).Str("kind", "client").Err(err).Msg("connection refused")
			}
			return
		}
		f.hand(m)
	})
}

// full says why no connection is taken now, or nothing.
func (f *front) full() string {
	f.mu.Lock()
	n := len(f.clients)
	f.mu.Unlock()
	if n >= f.limits.clients {
		return "connections"
	}
	if f.limits.descriptor > 0 && n+f.admission.size() >= f.limits.descriptor && !f.admission.evict() {
		return "descriptors"
	}
	return ""
}

var errSilent = errors.New("no TLS handshake in time")

// handshake asks for a certificate. It ends with the connection's deadlines off.
func (f *front) handshake(w *waiter) (*clientConn, error) {
	first := make([]byte, 1)
	_ = w.conn.SetDeadline(time.Now().Add(firstByteTime))
	if n, err := w.conn.Read(first); n == 0 {
		f.m.limit("silent")
		return nil, fmt.Errorf("%w: %w", errSilent, err)
	}
	if first[0] != recordHandshake {
		f.m.limit("handshake")
		turnAway(w.conn, "-ERR 'Secure Connection - TLS Required'\r\n") // in the words of nats-server
		return nil, errSilent
	}
	ctx, cancel := context.WithTimeout(context.Background(), handshakeQueue)
	defer cancel()
	if err := f.turn(ctx, w); err != nil {
		return nil, err
	}
	_ = w.conn.SetDeadline(time.Now().Add(handshakeTime))
	raw := &peekedConn{Conn: w.conn, first: first, turns: f.turns}
	c := tls.Server(raw, f.tls)
	f.turns <- struct{}{}
	err := c.Handshake()
	<-f.turns
	raw.turns = nil
	f.admission.finish(w)
	if err != nil {
		f.m.limit("handshake")
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	id, err := identity.FromCertificate(c.ConnectionState().PeerCertificates[0])
	if err != nil {
		f.m.refuse("client")
		return nil, err
	}
	_ = w.conn.SetDeadline(time.Time{})
	m := newClientConn(f, c, id)
	if err := f.usage.enter(&m.use, time.Now()); err != nil {
		f.m.limit("node")
		turnAway(c, fmt.Sprintf("INFO {\"tls_required\":true,\"max_payload\":%d}\r\n-ERR '%s'\r\n", maxPayload, err))
		return nil, fmt.Errorf("%s: %w", id.Node, err)
	}
	return m, nil
}

// turn waits until the handshake of w may begin.
func (f *front) turn(ctx context.Context, w *waiter) error {
	defer f.pressure.arrived()()
	if err := f.admission.begin(ctx, w, f.done); err != nil {
		return err
	}
	return f.pressure.wait(ctx, w.conn)
}

const turnAwayTime = 500 * time.Millisecond

// turnAway tells a client why it is refused. Clients take an error only after an
// INFO, and lose it if what they send then meets a closed connection.
func turnAway(c net.Conn, text string) {
	_ = c.SetDeadline(time.Now().Add(turnAwayTime))
	_, _ = io.WriteString(c, text)
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(c, int64(maxLine)))
}

// A peekedConn is a connection of which the first byte was read.
type peekedConn struct {
	net.Conn
	first []byte
	turns chan struct{} // not nil during the handshake, which has one but for the time in which it waits for the client
}

func (b *peekedConn) Read(p []byte) (int, error) {
	if len(b.first) > 0 && len(p) > 0 {
		n := copy(p, b.first)
		b.first = nil
		return n, nil
	}
	if b.turns == nil {
		return b.Conn.Read(p)
	}
	<-b.turns
	defer func() { b.turns <- struct{}{} }()
	return b.Conn.Read(p)
}

// hand gives a client to nats-server.
func (f *front) hand(m *clientConn) {
	f.mu.Lock()
	f.clients[m] = struct{}{}
	f.mu.Unlock()
	t := time.NewTimer(handOverTime)
	defer t.Stop()
	select {
	case f.ready <- m:
	case <-f.done:
		_ = m.Close()
	case <-t.C:
		_ = m.Close()
	}
}

// leave forgets a client.
func (f *front) leave(m *clientConn) {
	f.usage.leave(&m.use)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.clients, m)
}

// cut tells of a client whose connection ends for what it sent.
func (f *front) cut(m *clientConn, err error) {
	e := f.log.Warn().Str("event", "limit").Stringer("addr", m.RemoteAddr()).Str("peer", string(m.id.Node)).Err(err)
	limit := "protocol" // what nats-server would not read
	if v := (*violation)(nil); errors.As(err, &v) {
		limit = v.class
	}
	f.m.limit(limit)
	c := subjects.Cut{V: subjects.Version, Node: m.id.Node, Reason: err.Error()}
	if f.usage.cut(m.id.Node, time.Now()) {
		e = e.Bool("refused", true)
		c.Refused = int(penaltyTime / time.Second)
	}
	e.Msg("client cut off")
	select {
	case f.cuts <- c:
	default: // counted and logged it is
	}
}

func (f *front) refusedMessage(m *clientConn, why refusal) {
	f.m.limit(string(why))
	f.log.Warn().Str("event", "refused").Stringer("addr", m.RemoteAddr()).Str("peer", string(m.id.Node)).
		Str("reason", string(why)).Msg("message refused")
}

// sourceOf is what counts as one source: an IPv4 address, or an IPv6 network
// of 64 bits, of which one host may have all addresses.
func sourceOf(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip, _ := netip.AddrFromSlice(t.IP)
	return source(ip)
}

func source(ip netip.Addr) netip.Addr {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if p, err := ip.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return ip
}

// descriptors is how many of this process's file descriptors clients may have.
func descriptors() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<30 {
		return 0
	}
	return max(64, int(l.Cur)-max(256, int(l.Cur)/16))
}
