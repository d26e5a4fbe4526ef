package broker

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// The cluster port is nats-server's own, which has no limit before the
// handshake. A sweep over the process's sockets keeps one: brokers begin their
// handshake at once, so who is silent is none.
const (
	sweepTick     = 250 * time.Millisecond // while connections wait…
	sweepApart    = time.Second            // …and without any: it looks at each descriptor of the process
	routeSilence  = 2 * time.Second
	routesWaiting = 256 // connections that are no route yet, in total…
	routesSource  = 64  // …and of one source: some brokers with four connections each
)

// A routeSocket is an accepted connection of the cluster port that is no route yet.
type routeSocket struct {
	fd    int
	peer  netip.AddrPort
	since time.Time // when it was seen first
	spoke bool
}

// routeCuts decides which sockets are shut down. Those that have spoken stay
// unless there are too many of them alone; full cuts all that are silent.
func routeCuts(socks []routeSocket, full bool, now time.Time) []routeSocket {
	// The oldest silent ones first; then the youngest of the others.
	slices.SortStableFunc(socks, func(a, b routeSocket) int {
		switch {
		case a.spoke != b.spoke:
			return cmp.Compare(b2i(a.spoke), b2i(b.spoke))
		case a.spoke:
			return b.since.Compare(a.since)
		}
		return a.since.Compare(b.since)
	})
	total, by := len(socks), make(map[netip.Addr]int)
	for _, s := range socks {
		by[source(s.peer.Addr())]++
	}
	var cuts []routeSocket
	for _, s := range socks {
		from, age := source(s.peer.Addr()), now.Sub(s.since)
		over := total > routesWaiting || by[from] > routesSource
		if s.spoke && over || !s.spoke && (full || age > routeSilence || over && age > 0) {
			cuts = append(cuts, s)
			total--
			by[from]--
		}
	}
	return cuts
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// guardRoutes sweeps until ctx ends, and forgets what usage need not know.
func (b *Broker) guardRoutes(ctx context.Context, s *server.Server) {
	seen := make(map[netip.AddrPort]time.Time)
	n := 0
	failed := false
	deferred := false
	var swept time.Time
	every(ctx, sweepTick, func() {
		now := time.Now()
		if n++; n%40 == 0 {
			b.usage.prune(now)
		}
		addr, ok := s.ClusterAddr(), b.cfg.ClusterListen != ""
		if !ok || addr == nil || len(seen) == 0 && now.Sub(swept) < sweepApart {
			return
		}
		swept = now
		if !deferred {
			deferred = true
			if err := deferListener(uint16(addr.Port)); err != nil {
				b.log.Warn().Err(err).Msg("silent connections reach the cluster port")
			}
		}
		err := b.sweepRoutes(s, addr, seen, now)
		if err != nil && !failed {
			b.log.Error().Err(err).Msg("sweep of the cluster port")
		}
		failed = err != nil
	})
}

func (b *Broker) sweepRoutes(s *server.Server, addr *net.TCPAddr, seen map[netip.AddrPort]time.Time, now time.Time) error {
	socks, open, err := socketsOf(uint16(addr.Port))
	if err != nil {
		return err
	}
	rz, err := s.Routez(nil)
	if err != nil {
		return err
	}
	routes := make(map[netip.AddrPort]bool)
	for _, r := range rz.Routes {
		if a, err := netip.ParseAddr(r.IP); err == nil {
			routes[netip.AddrPortFrom(a.Unmap(), uint16(r.Port))] = true
		}
	}
	live := make(map[netip.AddrPort]bool)
	waiting := socks[:0]
	for _, k := range socks {
		if routes[k.peer] {
			continue
		}
		live[k.peer] = true
		if seen[k.peer].IsZero() {
			seen[k.peer] = now
		}
		k.since = seen[k.peer]
		waiting = append(waiting, k)
	}
	for peer := range seen {
		if !live[peer] {
			delete(seen, peer)
		}
	}
	limit := descriptors()
	for _, k := range routeCuts(waiting, limit > 0 && open > limit, now) {
		// The descriptor may be another's by now.
		if peer, ok := peerOf(k.fd); ok && peer == k.peer {
			b.m.limit("route")
			_ = syscall.Shutdown(k.fd, syscall.SHUT_RDWR)
		}
	}
	return nil
}

// deferListener finds the listener of a port of this process and defers on it:
// nats-server opens the cluster port itself.
func deferListener(port uint16) error {
	fds, err := os.ReadDir("/dev/fd")
	if err != nil {
		return err
	}
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || localPort(fd) != port {
			continue
		}
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && on != 0 {
			return deferAccept(fd)
		}
	}
	return errNoListener
}

// socketsOf are the accepted connections of a port of this process, and how
// many descriptors it has.
func socketsOf(port uint16) (socks []routeSocket, open int, err error) {
	dir, err := os.Open("/dev/fd")
	if err != nil {
		return nil, 0, err
	}
	names, err := dir.Readdirnames(-1)
	_ = dir.Close()
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || localPort(fd) != port {
			continue
		}
		peer, ok := peerOf(fd)
		if !ok {
			continue // the listener, or gone
		}
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			continue
		}
		socks = append(socks, routeSocket{fd: fd, peer: peer, spoke: info.Bytes_received > 0})
	}
	return socks, len(names), nil
}

func localPort(fd int) uint16 {
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return 0
	}
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return uint16(a.Port)
	case *syscall.SockaddrInet6:
		return uint16(a.Port)
	}
	return 0
}
