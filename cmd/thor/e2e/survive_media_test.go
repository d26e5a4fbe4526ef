//go:build e2e

package e2e_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A media is the RTP of callers.
type media struct {
	every   time.Duration // a packet
	streams []*stream
	ports   map[int]*stream
	stopped chan struct{}
	wg      sync.WaitGroup
}

// A stream is the RTP of one caller: what it sends comes back from the callee.
type stream struct {
	port int
	conn *net.UDPConn

	mu     sync.Mutex
	remote netip.AddrPort
	ended  bool
	sent   uint16
	back   map[uint16]bool
}

// Times of audio in a packet: what phones usually have, and three times that.
const (
	usualPacket = 20 * time.Millisecond
	longPacket  = 60 * time.Millisecond // for many calls: all programs share the processors with them
	manyCalls   = 50
)

// newMedia has n sockets for RTP.
func newMedia(t testing.TB, n int) *media {
	t.Helper()
	m := &media{every: usualPacket, ports: make(map[int]*stream), stopped: make(chan struct{})}
	if n > manyCalls {
		m.every = longPacket
	}
	for i := range n {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(callersPhone), Port: firstRTP + 2*i})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadBuffer(1 << 20)
		s := &stream{port: firstRTP + 2*i, conn: c, back: make(map[uint16]bool)}
		m.streams, m.ports[s.port] = append(m.streams, s), s
		m.wg.Go(s.receive)
	}
	m.wg.Go(func() {
		tick := time.NewTicker(m.every)
		defer tick.Stop()
		for {
			select {
			case <-m.stopped:
				return
			case <-tick.C:
			}
			for _, s := range m.streams {
				s.send(m.every)
			}
		}
	})
	t.Cleanup(m.end)
	return m
}

// part is some streams of m, for another SIPp.
func (m *media) part(from, to int) *media {
	return &media{every: m.every, streams: m.streams[from:to], ports: m.ports}
}

// end closes the sockets.
func (m *media) end() {
	select {
	case <-m.stopped:
		return
	default:
	}
	close(m.stopped)
	for _, s := range m.streams {
		_ = s.conn.Close()
	}
	m.wg.Wait()
}

func (m *media) to(port int, relay netip.AddrPort) {
	s := m.ports[port]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remote = relay
}

func (m *media) stop(port int) {
	s := m.ports[port]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

func (s *stream) send(audio time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.remote.IsValid() || s.ended {
		return
	}
	samples := int(audio.Seconds() * 8000)
	b := make([]byte, 12+samples)
	b[0] = 0x80
	binary.BigEndian.PutUint16(b[2:], s.sent)
	binary.BigEndian.PutUint32(b[4:], uint32(s.sent)*uint32(samples))
	binary.BigEndian.PutUint32(b[8:], uint32(s.port))
	s.sent++
	_, _ = s.conn.WriteToUDPAddrPort(b, s.remote) // what does not come back counts
}

func (s *stream) receive() {
	b := make([]byte, 2048)
	for {
		n, err := s.conn.Read(b)
		if err != nil {
			return
		}
		if n < 12 || binary.BigEndian.Uint32(b[8:]) != uint32(s.port) {
			continue
		}
		s.mu.Lock()
		s.back[binary.BigEndian.Uint16(b[2:])] = true
		s.mu.Unlock()
	}
}

// A loss is what is missing of the RTP of some calls.
type loss struct {
	streams, sent, lost int
	interrupted         int           // streams in which packets were lost
	longest             time.Duration // without a packet
}

// mark notes which packets were sent until now.
func (m *media) mark() []uint16 {
	out := make([]uint16, len(m.streams))
	for i, s := range m.streams {
		s.mu.Lock()
		out[i] = s.sent
		s.mu.Unlock()
	}
	return out
}

// between is what was lost of the packets that were sent between two marks.
func (m *media) between(from, to []uint16) (l loss) {
	for i, s := range m.streams {
		s.mu.Lock()
		run, most, lost := 0, 0, 0
		for seq := from[i]; seq < to[i]; seq++ {
			if s.back[seq] {
				run = 0
				continue
			}
			lost++
			run++
			most = max(most, run)
		}
		if to[i] > from[i] {
			l.streams++
		}
		l.sent += int(to[i] - from[i])
		s.mu.Unlock()
		l.lost += lost
		if lost > 0 {
			l.interrupted++
		}
		l.longest = max(l.longest, time.Duration(most)*m.every)
	}
	return l
}

func (l loss) String() string {
	return fmt.Sprintf("RTP of %d calls: %d of %d packets lost, %d calls with a loss, longest gap %s", l.streams, l.lost, l.sent, l.interrupted, l.longest)
}

// flowing waits until the media of all calls comes back.
func (m *media) flowing(t *testing.T, what string) {
	t.Helper()
	from := m.mark()
	eventually(t, 20*time.Second, what, func() bool {
		for i, s := range m.streams {
			s.mu.Lock()
			back := 0
			for seq := from[i]; seq < s.sent; seq++ {
				if s.back[seq] {
					back++
				}
			}
			s.mu.Unlock()
			if back < 25 {
				return false
			}
		}
		return true
	})
}

// lost is what did not come back, within a second, of what was sent since a mark.
func (m *media) lost(t *testing.T, from []uint16) (l loss) {
	t.Helper()
	to := m.mark()
	for end := time.Now().Add(time.Second); ; <-time.After(m.every) {
		if l = m.between(from, to); l.lost == 0 || time.Now().After(end) {
			return l
		}
	}
}

// echo sends back what comes to a port, as SIPp does with -rtp_echo; but it has room for the
// packets of many calls, while others have the processor.
func echo(t testing.TB, host string, port int) {
	t.Helper()
	c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(host), Port: port})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 32<<20) })
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDPAddrPort(b)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				_, _ = c.WriteToUDPAddrPort(b[:n], from) // what does not come back counts
			}
		}
	}()
	t.Cleanup(func() { _ = c.Close(); <-done })
}
