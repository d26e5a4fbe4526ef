package dnsagent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// sockets answer on one address.
type sockets struct {
	addr netip.AddrPort
	udp  *net.UDPConn
	tcp  net.Listener
}

func (s *sockets) close() {
	_ = s.udp.Close()
	_ = s.tcp.Close()
}

// bind opens all sockets or none.
func bind(ctx context.Context, listen []string) ([]sockets, error) {
	var out []sockets
	for _, l := range listen {
		s, err := bindOne(ctx, l)
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
// for UDP only.
const portTries = 16

func bindOne(ctx context.Context, listen string) (s sockets, err error) {
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
		s, err = bindPair(ctx, family, host, port)
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	return s, err
}

func bindPair(ctx context.Context, family, host, port string) (sockets, error) {
	var lc net.ListenConfig
	addr := net.JoinHostPort(host, port)
	pc, err := lc.ListenPacket(ctx, "udp"+family, addr)
	if err != nil {
		return sockets{}, explain("udp", addr, err)
	}
	udp := pc.(*net.UDPConn)
	bound := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	addr = net.JoinHostPort(host, fmt.Sprint(bound.Port()))
	tcp, err := lc.Listen(ctx, "tcp"+family, addr)
	if err != nil {
		_ = udp.Close()
		return sockets{}, explain("tcp", addr, err)
	}
	// Replies must leave from the address that was asked, which only the kernel
	// knows on a socket without one. Each call fails on sockets of the other family.
	err6 := ipv6.NewPacketConn(udp).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	err4 := ipv4.NewPacketConn(udp).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
	if err6 != nil && err4 != nil {
		_ = udp.Close()
		_ = tcp.Close()
		return sockets{}, fmt.Errorf("dns: udp %s: learn the address of questions: %w", addr, errors.Join(err4, err6))
	}
	return sockets{netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port()), udp, tcp}, nil
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
