package provisioning

import (
	"net"
	"net/netip"
	"sync"
)

// Connections at once: of all clients, above which they wait, and of one
// address, above which they are closed, so that nobody can hold them all.
const (
	connections        = 512
	connectionsPerAddr = 128
)

// fairListener closes connections of an address (IPv6: of a /64) that has too
// many of them.
type fairListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[netip.Prefix]int
}

func newFairListener(l net.Listener, most int) *fairListener {
	return &fairListener{Listener: l, most: most, open: make(map[netip.Prefix]int)}
}

func (l *fairListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ap, _ := netip.ParseAddrPort(c.RemoteAddr().String()) // TCP addresses are of this form
		from := source(ap.Addr())
		if l.enter(from) {
			return &fairConn{Conn: c, leave: sync.OnceFunc(func() { l.leave(from) })}, nil
		}
		_ = c.Close() // nothing was promised
	}
}

func (l *fairListener) enter(from netip.Prefix) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from] >= l.most {
		return false
	}
	l.open[from]++
	return true
}

func (l *fairListener) leave(from netip.Prefix) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[from]--; l.open[from] == 0 {
		delete(l.open, from)
	}
}

type fairConn struct {
	net.Conn
	leave func()
}

func (c *fairConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
