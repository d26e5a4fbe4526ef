package provisioning

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thor/provisioning/origin"
)

// Connections at once. At a limit a connection on which nothing is asked makes
// room for the new one; without one the new one is closed. So clients that hold
// connections cannot keep others away, whatever number of addresses they have.
const (
	connections          = 512 // of all clients
	connectionsPerPrefix = 128 // of a site
	connectionsPerAddr   = 64  // of a host
)

// A quota bounds connections by where they come from.
type quota struct{ all, prefix, addr int }

// A boundedListener accepts connections within a quota. noteState has to be
// called with their states, or none of them counts as idle.
type boundedListener struct {
	net.Listener
	quota  quota
	closed *prometheus.CounterVec // by why

	mu       sync.Mutex
	open     map[*boundedConn]struct{}
	byAddr   map[netip.Prefix]int
	byPrefix map[netip.Prefix]int
}

// A boundedConn is a connection with what decides whether it makes room.
type boundedConn struct {
	net.Conn
	of           *boundedListener
	addr, prefix netip.Prefix
	state        http.ConnState // guarded by of.mu, as since
	since        time.Time
}

func newBoundedListener(l net.Listener, q quota, closed *prometheus.CounterVec) *boundedListener {
	return &boundedListener{
		Listener: l, quota: q, closed: closed,
		open: make(map[*boundedConn]struct{}), byAddr: make(map[netip.Prefix]int), byPrefix: make(map[netip.Prefix]int),
	}
}

// Accept implements net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ap, _ := netip.ParseAddrPort(raw.RemoteAddr().String()) // TCP addresses are of this form
		c := &boundedConn{Conn: raw, of: l, addr: origin.Host(ap.Addr()), prefix: origin.Site(ap.Addr()), since: time.Now()}
		if l.admit(c) {
			return c, nil
		}
		_ = raw.Close() // nothing was promised
		l.closed.WithLabelValues("refused").Inc()
	}
}

// admit adds c if there is room, or if another connection makes room.
func (l *boundedListener) admit(c *boundedConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, limit := range []struct {
		full   bool
		within func(*boundedConn) bool
	}{
		{l.byAddr[c.addr] >= l.quota.addr, func(o *boundedConn) bool { return o.addr == c.addr }},
		{l.byPrefix[c.prefix] >= l.quota.prefix, func(o *boundedConn) bool { return o.prefix == c.prefix }},
		{len(l.open) >= l.quota.all, func(*boundedConn) bool { return true }},
	} {
		if !limit.full {
			continue
		}
		v := l.victim(c, limit.within)
		if v == nil {
			return false
		}
		why := "idle"
		if v.state != http.StateIdle {
			why = "silent"
		}
		l.closed.WithLabelValues(why).Inc()
		l.remove(v)
		_ = v.Conn.Close()
	}
	l.open[c] = struct{}{}
	l.byAddr[c.addr]++
	l.byPrefix[c.prefix]++
	return true
}

// victim is the connection that makes room for c: of the site that holds most
// connections, of the host there that holds most, the one that has been idle
// longest. Where none is idle it is one that has asked nothing yet, of a host or a
// site that holds more than c's. Connections with a request are never taken.
func (l *boundedListener) victim(c *boundedConn, within func(*boundedConn) bool) *boundedConn {
	var best *boundedConn
	for o := range l.open {
		idle := o.state == http.StateIdle
		silent := o.state == http.StateNew && (l.byAddr[o.addr] > l.byAddr[c.addr]+1 || l.byPrefix[o.prefix] > l.byPrefix[c.prefix]+1)
		if !within(o) || !idle && !silent {
			continue
		}
		if best == nil || l.before(o, best) {
			best = o
		}
	}
	return best
}

// before reports whether a makes room rather than b.
func (l *boundedListener) before(a, b *boundedConn) bool {
	if ai, bi := a.state == http.StateIdle, b.state == http.StateIdle; ai != bi {
		return ai
	}
	if x, y := l.byPrefix[a.prefix], l.byPrefix[b.prefix]; x != y {
		return x > y
	}
	if x, y := l.byAddr[a.addr], l.byAddr[b.addr]; x != y {
		return x > y
	}
	return a.since.Before(b.since)
}

// remove forgets c. The caller holds mu.
func (l *boundedListener) remove(c *boundedConn) {
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if l.byAddr[c.addr]--; l.byAddr[c.addr] == 0 {
		delete(l.byAddr, c.addr)
	}
	if l.byPrefix[c.prefix]--; l.byPrefix[c.prefix] == 0 {
		delete(l.byPrefix, c.prefix)
	}
}

// noteState is for http.Server.ConnState.
func (l *boundedListener) noteState(c net.Conn, s http.ConnState) {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	b, ok := c.(*boundedConn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	b.state, b.since = s, time.Now()
}

// Close implements net.Conn.
func (c *boundedConn) Close() error {
	c.of.mu.Lock()
	c.of.remove(c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
