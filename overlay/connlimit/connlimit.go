// Package connlimit bounds the connections of a listener, in all and of one peer.
// One that waits for its client's next request makes room for a new one, so that
// clients who hold connections keep no other away.
//
// It does not know who its clients are, nor what they ask. Times, such as how long
// a connection may be idle, are for the server.
package connlimit

import (
	"container/list"
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
)

// A Set is the connections of a service. One that waits for its client's next
// request has to make room for a new one, the longest waiting first; those of
// clients that have proved themselves come last. Its methods may be called from
// any goroutine.
type Set struct {
	// OnClose, unless nil, is called for each connection that is closed to make room
	// or because there is none. It is set before connections come.
	OnClose func()

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

// Limits of the HTTP services that people and Prometheus ask: of all connections, and of
// those of one peer.
const (
	Pages       = 256
	PagesOfPeer = 192
)

// New is for at most max connections, and ofPeer of one peer: an IPv4 address, an
// IPv6 network of 64 bits, or what a connection names by a method Peer() string.
func New(max, ofPeer int) *Set {
	return &Set{max: max, ofPeer: ofPeer, all: make(map[net.Conn]*held), peers: make(map[string]int)}
}

// enter takes c in as waiting. It returns the connections to close: one that
// had to make room, or c itself, when all are being answered.
func (t *Set) enter(c net.Conn, peer string) (out []net.Conn) {
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
func (t *Set) longest(meant func(*held) bool) *held {
	for i := range t.idle {
		for e := t.idle[i].Front(); e != nil; e = e.Next() {
			if h := e.Value.(*held); meant(h) {
				return h
			}
		}
	}
	return nil
}

func (t *Set) drop(h *held) net.Conn {
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

// Len is how many connections there are.
func (t *Set) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all)
}

// leave notes that c is closed.
func (t *Set) leave(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil {
		t.drop(h)
	}
}

// Busy notes that c has a request to be answered. It is false for a connection
// that was closed to make room.
func (t *Set) Busy(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.all[c]
	if h != nil && h.waits != nil {
		t.idle[h.trusted].Remove(h.waits)
		h.waits = nil
	}
	return h != nil
}

// Trust notes that the client of c, which is busy, has proved itself.
func (t *Set) Trust(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil && h.waits == nil {
		h.trusted = 1
	}
}

// Done notes that the request of c is answered.
func (t *Set) Done(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.all[c]; h != nil && h.waits == nil {
		h.waits = t.idle[h.trusted].PushBack(h)
	}
}

// Listen hands out connections of l that t has taken in, and that leave it when
// they are closed.
func (t *Set) Listen(l net.Listener) net.Listener { return &listener{l, t} }

type listener struct {
	net.Listener
	t *Set
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		m := &member{Conn: c, t: l.t}
		refused := false
		for _, out := range l.t.enter(m, peerOf(c)) {
			_ = out.Close() // nothing was promised
			if l.t.OnClose != nil {
				l.t.OnClose()
			}
			refused = refused || out == m
		}
		if !refused {
			return m, nil
		}
	}
}

type member struct {
	net.Conn
	t *Set
}

func (m *member) Close() error {
	m.t.leave(m)
	return m.Conn.Close()
}

// NetConn is the connection of the listener below.
func (m *member) NetConn() net.Conn { return m.Conn }

// peerOf names whom a connection counts for.
func peerOf(c net.Conn) string {
	if p, ok := c.(interface{ Peer() string }); ok {
		return p.Peer()
	}
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() && !a.IsLoopback() {
		if p, err := a.Prefix(64); err == nil {
			a = p.Addr()
		}
	}
	return a.String()
}

// connKey finds in the context of a request its connection.
type connKey struct{}

// Serve has srv answer on l, with its connections in t: those whose request is
// not whole yet wait for their clients. It returns as srv.Serve does.
func (t *Set) Serve(srv *http.Server, l net.Listener) error {
	next := srv.Handler
	srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := r.Context().Value(connKey{}).(net.Conn)
		if !t.Busy(c) {
			return // closed to make room
		}
		defer t.Done(c)
		next.ServeHTTP(w, r)
	})
	known := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if known != nil {
			ctx = known(ctx, c)
		}
		return context.WithValue(ctx, connKey{}, c)
	}
	return srv.Serve(t.Listen(l))
}

// Trust notes that the client of a request under Serve has proved itself.
func Trust(r *http.Request) {
	if m, ok := r.Context().Value(connKey{}).(*member); ok {
		m.t.Trust(m)
	}
}
