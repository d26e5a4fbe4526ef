package broker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"golang.org/x/sys/unix"
)

// endRoutes cuts the routes that began before a time, of one broker by the name
// it goes by, or all of them if name is empty. nats-server can end a client by
// its id but not a route, so the sockets are shut down below it, found by the
// far address. A good broker is back within a second; one whose certificate is
// good no more fails in the handshake.
func endRoutes(s *server.Server, name string, before time.Time) error {
	rz, err := s.Routez(nil)
	if err != nil {
		return fmt.Errorf("list routes: %w", err)
	}
	far := make(map[netip.AddrPort]bool)
	for _, r := range rz.Routes {
		if !r.Start.Before(before) || name != "" && r.RemoteName != name {
			continue
		}
		if a, err := netip.ParseAddr(r.IP); err == nil {
			far[netip.AddrPortFrom(a.Unmap(), uint16(r.Port))] = true
		}
	}
	if len(far) == 0 {
		return nil
	}
	fds, err := os.ReadDir("/dev/fd")
	if err != nil {
		return fmt.Errorf("list sockets: %w", err)
	}
	var errs []error
	for _, e := range fds {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Shutting down, unlike closing, leaves the descriptor to its owner.
		if peer, ok := peerOf(fd); ok && far[peer] {
			if err := syscall.Shutdown(fd, syscall.SHUT_RDWR); err != nil && !errors.Is(err, syscall.ENOTCONN) {
				errs = append(errs, fmt.Errorf("shut down route to %s: %w", peer, err))
			}
		}
	}
	return errors.Join(errs...)
}

func peerOf(fd int) (netip.AddrPort, bool) {
	sa, err := syscall.Getpeername(fd)
	if err != nil {
		return netip.AddrPort{}, false
	}
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), true
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), true
	}
	return netip.AddrPort{}, false
}

// hungUp reports whether the far side of c has ended its part of the connection: it
// will not read what it is told. What it sent before may wait to be read.
func hungUp(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return true // closed
	}
	gone := false
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		gone = err == nil && (info.State == unix.BPF_TCP_CLOSE_WAIT || info.State == unix.BPF_TCP_CLOSE)
	})
	return gone || err != nil
}
