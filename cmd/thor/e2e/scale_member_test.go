//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thor/overlay/pulse"
	"thor/subjects"
)

// A lightMember is a member of the network in as few instructions as that takes:
// one TLS connection with its own certificate, beats, a ping where the broker is
// silent, and the marks and digests of the status, which it compares with each tick. What
// a delta or a snapshot says is decoded and verified once for all of them.
type lightMember struct {
	f    *fleet
	node subjects.NodeID
	role subjects.Role
	addr netip.Addr
	cert *tls.Certificate
	boot string

	mu     sync.Mutex // guards what follows, and writes
	conn   net.Conn   // nil while not connected
	broker int        // index of the one it is connected to, or was
	via    string
	seq    uint64
	weight int
	told   string // hash of the full announcement that short beats stand for
	toldAt time.Time
	stop   func()        // ends it
	frozen bool          // as a process that stands still: it neither reads nor writes…
	thawed chan struct{} // …until this is closed
	timer  *time.Timer
	due    time.Time // of the next pulse
	pinged time.Time // zero: the last ping was answered
	follow follower

	connected atomic.Bool
	readAt    atomic.Int64 // when something came from the broker last, in ns of the Unix time
	heard     atomic.Int64 // when the change that is measured was heard, in ns since the fleet began; 0: not yet
	mark      atomic.Uint64
}

// The numbers of the SDK.
const (
	lightPulse = time.Second // how often it looks at what is due
	lightDial  = 3 * time.Second
	lightGreet = 12 * time.Second
)

var errFrozen = errors.New("frozen")

// run keeps the member connected until ctx ends.
func (m *lightMember) run(ctx context.Context) {
	for try := 0; ctx.Err() == nil; try++ {
		r, err := m.connect(ctx, try)
		if err == nil {
			m.f.connects.Add(1)
			try = 0
			err = m.read(r)
			if ctx.Err() == nil && !m.lost() {
				m.f.broken(m, err)
			}
			continue
		}
		m.f.failedDials.Add(1)
		if try%scaleServers == scaleServers-1 { // as the SDK: a pause after each round
			select {
			case <-ctx.Done():
			case <-time.After(50*time.Millisecond + mathrand.N(200*time.Millisecond)):
			}
		}
	}
	m.drop()
}

// connect makes a connection to a broker, subscribes and beats for the first time.
func (m *lightMember) connect(ctx context.Context, try int) (*bufio.Reader, error) {
	if !m.f.expectBreaks.Load() { // who loses a broker comes at once
		if err := m.f.dialing.Acquire(ctx, 1); err != nil {
			return nil, err
		}
		defer m.f.dialing.Release(1)
	}
	m.mu.Lock()
	m.broker = (m.broker + min(try, 1)) % scaleServers
	target := m.f.net.brokers[m.broker]
	m.mu.Unlock()
	d := net.Dialer{Timeout: lightDial, LocalAddr: &net.TCPAddr{IP: m.addr.AsSlice()}}
	c, err := d.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	host, _, _ := net.SplitHostPort(target)
	conn := tls.Client(&dialedConn{c, m.f.computing}, &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: m.f.net.roots, ServerName: host, SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return m.cert, nil },
	})
	_ = c.SetDeadline(time.Now().Add(lightGreet))
	r, err := m.greet(conn)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	_ = c.SetDeadline(time.Time{})
	m.online(conn)
	return r, nil
}

// greet says CONNECT and SUB, and waits for the broker's PONG.
func (m *lightMember) greet(conn *tls.Conn) (*bufio.Reader, error) {
	m.f.computing <- struct{}{}
	err := conn.Handshake()
	<-m.f.computing
	if err != nil {
		return nil, err
	}
	conn.NetConn().(*dialedConn).turns = nil
	r := bufio.NewReaderSize(conn, 2<<10)
	line, err := r.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	var info struct {
		Name string `json:"server_name"`
		CID  uint64 `json:"client_id"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(line, []byte("INFO ")), &info); err != nil {
		return nil, err
	}
	m.mu.Lock()
	m.via = info.Name + "#" + strconv.FormatUint(info.CID, 10)
	m.mu.Unlock()
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":true,\"name\":%q,\"lang\":\"go\",\"version\":\"1\",\"protocol\":1,\"headers\":true,\"no_responders\":true}\r\n"+
		"SUB %s 1\r\nSUB %s 2\r\nSUB %s 3\r\nSUB %s 4\r\nSUB %s 5\r\nPING\r\n",
		m.boot, subjects.StatusTick, subjects.StatusDelta, subjects.Answers(m.node), subjects.AllCRLs, subjects.ManagerRequests(m.node))
	for err == nil {
		line, err = r.ReadSlice('\n')
		switch {
		case bytes.HasPrefix(line, []byte("PONG")):
			return r, nil
		case bytes.HasPrefix(line, []byte("-ERR")):
			return nil, errors.New(strings.TrimSpace(string(line)))
		}
	}
	return nil, err
}

// A dialedConn is a connection whose handshake has one of the turns, but for the time
// in which it waits for the broker: thousands of members share this process, and those
// that are connected have to ping.
type dialedConn struct {
	net.Conn
	turns chan struct{} // nil: the handshake is over
}

func (c *dialedConn) Read(b []byte) (int, error) {
	if c.turns == nil {
		return c.Conn.Read(b)
	}
	<-c.turns
	defer func() { c.turns <- struct{}{} }()
	return c.Conn.Read(b)
}

// online begins to beat through conn.
func (m *lightMember) online(conn net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.conn = conn
	m.told, m.pinged = "", time.Time{}
	m.readAt.Store(time.Now().UnixNano())
	m.connected.Store(true)
	m.beat(subjects.Up)
	m.follow.online(m)
	if m.timer == nil {
		m.timer = time.AfterFunc(mathrand.N(lightPulse), m.pulse)
	}
}

// pulse pings each second and beats as often as the manager wants.
func (m *lightMember) pulse() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.timer == nil {
		return
	}
	if late := time.Since(m.due); !m.due.IsZero() {
		raise(&m.f.late, late)
	}
	m.due = time.Now().Add(lightPulse)
	m.timer.Reset(lightPulse)
	if m.conn == nil || m.frozen {
		return
	}
	now := time.Now()
	m.ask(now)
	if !now.Before(m.follow.nextBeat) {
		m.beat(subjects.Up)
	}
}

// ask pings a broker from which nothing came, and ends the connection to one that
// does not answer, as the SDK does, but once a second. The caller holds m.mu.
func (m *lightMember) ask(now time.Time) {
	switch every, _ := m.f.beatEvery(); {
	case !m.pinged.IsZero() && now.Sub(m.pinged) >= pulse.Patience(every):
		m.f.fault("%s: its broker did not answer", m.node)
		_ = m.conn.(*tls.Conn).NetConn().Close()
	case m.pinged.IsZero() && now.Sub(time.Unix(0, m.readAt.Load())) >= pulse.QuietAfter:
		m.pinged = now
		m.f.pings.Add(1)
		m.write([]byte("PING\r\n"))
	}
}

// beat announces the member. The caller holds m.mu.
func (m *lightMember) beat(state subjects.State) {
	m.seq++
	every, short := m.f.beatEvery()
	m.follow.nextBeat = time.Now().Add(every - every/10 + mathrand.N(every/5) - lightPulse/2) // pulses are a second apart
	a := subjects.Announcement{
		V: subjects.Version, Node: m.node, Role: m.role, Boot: m.boot, Seq: m.seq, Addresses: []netip.Addr{m.addr}, State: state,
		Weight: m.weight, Version: "1.0", Via: m.via,
	}
	if m.follow.have.Epoch > 0 {
		mark := m.follow.have
		a.Seen = &mark
	}
	out := &a
	if short && state != subjects.Leave {
		if a.Name(); a.Hash == m.told && time.Since(m.toldAt) < time.Minute {
			out = a.Shorten()
		} else {
			m.told, m.toldAt = a.Hash, time.Now()
		}
	}
	m.publish(subjects.Presence(m.role, m.node), "", out.Encode())
	m.f.beats.Add(1)
}

// change announces another weight, at once.
func (m *lightMember) change(weight int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.weight = weight
	m.beat(subjects.Up)
}

// publish sends one message. The caller holds m.mu.
func (m *lightMember) publish(subject, reply string, body []byte) {
	b := make([]byte, 0, len(subject)+len(reply)+len(body)+32)
	b = append(append(b, "PUB "...), subject...)
	if reply != "" {
		b = append(append(b, ' '), reply...)
	}
	b = fmt.Appendf(b, " %d\r\n", len(body))
	m.write(append(append(b, body...), "\r\n"...))
}

// write sends bytes; what fails is found out by the reader. The caller holds m.mu.
func (m *lightMember) write(b []byte) {
	if m.conn == nil || m.frozen {
		return
	}
	_ = m.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	_, _ = m.conn.Write(b)
}

// read handles what the broker sends until the connection ends.
func (m *lightMember) read(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		m.readAt.Store(time.Now().UnixNano())
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")), bytes.HasPrefix(line, []byte("HMSG ")):
			if err := m.message(r, string(bytes.TrimSpace(line))); err != nil {
				return err
			}
		case bytes.HasPrefix(line, []byte("PING")):
			m.mu.Lock()
			m.write([]byte("PONG\r\n"))
			m.mu.Unlock()
		case bytes.HasPrefix(line, []byte("PONG")):
			m.mu.Lock()
			if !m.pinged.IsZero() {
				raise(&m.f.answered, time.Since(m.pinged))
			}
			m.pinged = time.Time{}
			m.mu.Unlock()
		case bytes.HasPrefix(line, []byte("-ERR")):
			m.f.fault("%s: %s", m.node, strings.TrimSpace(string(line)))
		}
		if m.standing() {
			return errFrozen
		}
	}
}

// message reads a payload and handles it.
func (m *lightMember) message(r *bufio.Reader, line string) error {
	f := strings.Fields(line)
	headers := f[0] == "HMSG"
	size, err := strconv.Atoi(f[len(f)-1])
	if err != nil {
		return err
	}
	b := make([]byte, size+2)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	b = b[:size]
	var head []byte
	if headers {
		n, err := strconv.Atoi(f[len(f)-2])
		if err != nil || n > size {
			return fmt.Errorf("bad message %q", line)
		}
		head, b = b[:n], b[n:]
	}
	switch f[1] {
	case subjects.StatusTick:
		m.follow.tick(m, b)
	case subjects.StatusDelta:
		m.follow.delta(m, head, b)
	case subjects.AskAnnouncement(m.node):
		m.mu.Lock()
		m.told = ""
		m.beat(subjects.Up)
		m.mu.Unlock()
		m.f.asks.Add(1)
	default:
		if strings.HasPrefix(f[1], "_ANSWER.") {
			m.follow.answer(m, f[1], head, b)
		}
	}
	return nil
}

// standing waits while the member is frozen, and reports whether it was.
func (m *lightMember) standing() bool {
	m.mu.Lock()
	frozen, thawed := m.frozen, m.thawed
	m.mu.Unlock()
	if frozen {
		<-thawed
	}
	return frozen
}

// freeze makes the member stand still: its socket stays open and nothing is read
// or written any more.
func (m *lightMember) freeze() (thaw func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
	thawed := make(chan struct{})
	m.thawed = thawed
	conn := m.conn
	m.conn = nil
	return func() {
		if conn != nil {
			_ = conn.(*tls.Conn).NetConn().Close()
		}
		m.mu.Lock()
		m.frozen = false
		m.mu.Unlock()
		close(thawed)
	}
}

// lost notes that the connection ended, and reports whether that was on purpose.
func (m *lightMember) lost() (meant bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	meant = m.conn == nil
	if m.conn != nil {
		_ = m.conn.(*tls.Conn).NetConn().Close()
	}
	m.conn = nil
	m.connected.Store(false)
	return meant
}

// drop ends the connection as the end of the process would: without a word.
func (m *lightMember) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conn != nil {
		_ = m.conn.(*tls.Conn).NetConn().Close()
	}
	m.conn = nil
	if m.timer != nil {
		m.timer.Stop()
		m.timer, m.due = nil, time.Time{}
	}
	m.connected.Store(false)
}

func newBoot() string {
	b := make([]byte, 12)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
