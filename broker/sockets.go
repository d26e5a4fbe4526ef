package broker

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nats-io/nats-server/v2/server"
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
