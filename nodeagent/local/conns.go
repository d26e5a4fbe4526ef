package local

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
)

// Connections at once: of one service, and of one peer of it.
const (
	maxConns       = 256 // of HTTP, on each of its sockets
	maxConnsOfPeer = 192
	maxLines       = 64 // of the line service
	maxLinesOfPeer = 48
)

// conns bounds the connections of a service. One that waits for its client's
// next request has to make room for a new one, the longest waiting first; those
// of clients that have proved themselves come last.
type conns struct {
	max, ofPeer int

	mu    sync.Mutex
	all   map[net.Conn]*held
	peers map[string]int
	idle  [2]list.List // of *held; [1]: of clients that have proved themselves
}

// held is one connection.
type held struct {
	conn    net.Conn
	peer    string
	trusted int           // index of its list
	waits   *list.Element // in the idle list; nil while it is being answered
}

func newConns(max, ofPeer int) *conns {
	return &conns{max: max, ofPeer: ofPeer, all: make(map[net.Conn]*held), peers: make(map[string]int)}
}

// enter takes c in as waiting. It returns the connections to close: one that
// had to make room, or c itself, when all are being answered.
func (t *conns) enter(c net.Conn, peer string) (out []net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.peers[peer] >= t.ofPeer {
		v := t.longest(func(h *held) bool { return h.peer == peer })
		if v == nil {
			return []net.Conn{c}
		}
		out = append(out, t.drop(v))
	}
	if len(t.all) >= t.max {
		v := t.longest(func(*held) bool { return true })
		if v == nil {
			return append(out, c)
		}
		out = append(out, t.drop(v))
	}
	h := &held{conn: c, peer: peer}
	h.waits = t.idle[0].PushBack(h)
	t.all[c] = h
	t.peers[peer]++
	return out
}

// longest is the one that waits longest of those that are meant; nil: none does.
func (t *conns) longest(meant func(*held) bool) *held {
	for i := range t.idle {
		for e := t.idle[i].Front(); e != nil; e = e.Next() {
			if h := e.Value.(*held); meant(h) {
				return h
			}
		}
	}
	return nil
}

func (t *conns) drop(h *held) net.Conn {
	if h.waits != nil {
		t.idle[h.trusted].Remove(h.waits)
		h.waits = nil
	}
	delete(t.all, h.conn)
	if t.peers[h.peer]--; t.peers[h.peer] == 0 {
		delete(t.peers, h.peer)
	}
	return h.conn
}

// leave notes that c is closed.
func (t *conns) leave(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil {
		t.drop(h)
	}
}

// busy notes that c has a request to be answered. It is false for a connection
// that was closed to make room.
func (t *conns) busy(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.all[c]
	if h != nil && h.waits != nil {
		t.idle[h.trusted].Remove(h.waits)
		h.waits = nil
	}
	return h != nil
}

// trust notes that the client of c, which is busy, has proved itself.
func (t *conns) trust(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil && h.waits == nil {
		h.trusted = 1
	}
}

// done notes that the request of c is answered.
func (t *conns) done(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil && h.waits == nil {
		h.waits = t.idle[h.trusted].PushBack(h)
	}
}

// A limited listener hands out connections that t has taken in, and that leave
// it when they are closed.
type limited struct {
	net.Listener
	t *conns
}

func (l limited) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		m := &member{Conn: c, t: l.t}
		refused := false
		for _, out := range l.t.enter(m, peerOf(c)) {
			_ = out.Close() // nothing was promised
			refused = refused || out == m
		}
		if !refused {
			return m, nil
		}
	}
}

type member struct {
	net.Conn
	t *conns
}

func (m *member) Close() error {
	m.t.leave(m)
	return m.Conn.Close()
}

// peerOf names whom a connection counts for: a user of this machine, or an address.
func peerOf(c net.Conn) string {
	if u, ok := c.(*userConn); ok {
		return u.user
	}
	if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil {
		return ap.Addr().Unmap().String()
	}
	return ""
}
