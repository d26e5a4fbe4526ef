package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// sockets answer on one address.
type sockets struct {
	addr netip.AddrPort
	udp  []*net.UDPConn // the kernel spreads clients over them
	tcp  net.Listener
}

func (s *sockets) close() {
	for _, c := range s.udp {
		_ = c.Close()
	}
	_ = s.tcp.Close()
}

// bind opens all sockets or none, with cores UDP sockets for each address.
func bind(ctx context.Context, listen []string, cores int) ([]sockets, error) {
	var out []sockets
	for _, l := range listen {
		s, err := bindOne(ctx, l, cores)
		if err != nil {
			for i := range out {
				out[i].close()
			}
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// portTries is how often a port of the system's choice may turn out to be free
// for TCP only.
const portTries = 16

func bindOne(ctx context.Context, listen string, cores int) (s sockets, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return s, fmt.Errorf("dns: listen on %q: %w", listen, err)
	}
	family := ""
	if a, err := netip.ParseAddr(host); err == nil {
		// Explicit, since [::] would take 0.0.0.0 too and the two could not be listed side by side.
		family = map[bool]string{true: "4", false: "6"}[a.Unmap().Is4()]
	}
	for range portTries {
		s, err = bindPort(ctx, family, host, port, cores)
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return s, err
}

// bindPort opens the TCP socket first: it is for one process alone, so that none
// joins the UDP sockets of another.
func bindPort(ctx context.Context, family, host, port string, cores int) (s sockets, err error) {
	addr := net.JoinHostPort(host, port)
	var lc net.ListenConfig
	if s.tcp, err = lc.Listen(ctx, "tcp"+family, addr); err != nil {
		return sockets{}, explain("tcp", addr, err)
	}
	bound := s.tcp.Addr().(*net.TCPAddr).AddrPort()
	s.addr = netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())
	addr = net.JoinHostPort(host, fmt.Sprint(bound.Port()))
	lc.Control = func(_, _ string, c syscall.RawConn) error {
		return control(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
	}
	for range cores {
		pc, err := lc.ListenPacket(ctx, "udp"+family, addr)
		if err != nil {
			s.close()
			return sockets{}, explain("udp", addr, err)
		}
		udp := pc.(*net.UDPConn)
		s.udp = append(s.udp, udp)
		if !bound.Addr().IsUnspecified() {
			continue
		}
		// Replies must leave from the address that was asked, which only the kernel
		// knows on a socket without one.
		if err := tellAddress(udp); err != nil {
			s.close()
			return sockets{}, fmt.Errorf("dns: udp %s: learn the address of questions: %w", addr, err)
		}
	}
	return s, nil
}

// tellAddress makes packets come with the address they were sent to. An IPv6 socket
// tells it of its IPv4 packets too.
func tellAddress(udp *net.UDPConn) error {
	raw, err := udp.SyscallConn()
	if err != nil {
		return err
	}
	return control(raw, func(fd int) error {
		family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		switch {
		case err != nil:
			return err
		case family == unix.AF_INET6:
			return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
		}
		return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	})
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if cerr := c.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		return cerr
	}
	return err
}

// bufferWanted is the room in bytes for questions that wait in a socket: what comes
// within some 50 ms at the greatest rate that a core answers. Longer ones would be
// answered when their clients have asked again.
const bufferWanted = 4 << 20

// tellBuffers makes room in the sockets, as far as the system allows, and logs how much there is.
func (a *Agent) tellBuffers(socks []sockets) {
	least := bufferWanted
	for _, s := range socks {
		for _, udp := range s.udp {
			n, err := enlarge(udp)
			if err != nil {
				a.log.Warn().Err(err).Stringer("addr", s.addr).Msg("receive buffer not enlarged")
				continue
			}
			least = min(least, n)
		}
	}
	e := a.log.Info()
	if least < bufferWanted {
		e = a.log.Warn().Str("hint", "sysctl net.core.rmem_max")
	}
	e.Int("bytes", least).Int("wanted", bufferWanted).Msg("receive buffers of the UDP sockets")
}

// enlarge asks for bufferWanted, past the system's limit if the process may, and
// returns what there is.
func enlarge(udp *net.UDPConn) (bytes int, err error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return 0, err
	}
	err = control(raw, func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferWanted) != nil {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bufferWanted); err != nil {
				return err
			}
		}
		twice, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF) // the kernel doubles it for its own needs
		bytes = twice / 2
		return err
	})
	return bytes, err
}

// explain says what an operator can do.
func explain(proto, addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("dns: %s %s is taken by another program: stop it or listen elsewhere: %w", proto, addr, syscall.EADDRINUSE)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("dns: %s %s: ports below 1024 need CAP_NET_BIND_SERVICE: %w", proto, addr, syscall.EACCES)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("dns: %s %s is no address of this host: %w", proto, addr, syscall.EADDRNOTAVAIL)
	}
	return fmt.Errorf("dns: listen on %s %s: %w", proto, addr, err)
}
