package up

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// fixedPorts are those that children use at addresses of their own by
// configuration: no other child gets one from the system.
var fixedPorts = []int{portSIP, portRPC, portLines, portLocal, portSOAP, portWeb}

const (
	portSIP   = 5060
	portRPC   = 5062 // Kamailio's
	portWeb   = 8680
	portSOAP  = 9200 // NGNPro's
	portLines = 9500
	portLocal = 9501
)

// nodePorts are those that a node uses at its address, with what listens there.
var nodePorts = map[int][]string{
	portSIP: {"udp", "tcp"}, portRPC: {"tcp"}, portLines: {"tcp"}, portLocal: {"tcp"},
}

// ports hands out ports on which no other process listens, each once: it holds
// a port until all are known. One that is let go at once can come again, and
// two servers of a child would then want the same.
type ports struct {
	told []int // those that name servers are told, who listen there at addresses of their own too
	held []net.Listener
}

// take is a port that the system chooses, of those that no other child may use.
func (p *ports) take(addr netip.Addr) (int, error) {
	for range 1000 { // only a system whose own range holds fixedPorts needs two
		port, err := p.hold(addr, 0)
		if err != nil || !slices.Contains(fixedPorts, port) && !slices.Contains(p.told, port) {
			return port, err
		}
	}
	return 0, errors.New("the system offers no port that thor up does not use itself")
}

// prefer is port if it is free, otherwise one that the system chooses.
func (p *ports) prefer(addr netip.Addr, port int) (int, error) {
	if n, err := p.hold(addr, port); err == nil {
		return n, nil
	}
	return p.take(addr)
}

func (p *ports) hold(addr netip.Addr, port int) (int, error) {
	l, err := net.Listen("tcp", netip.AddrPortFrom(addr, uint16(port)).String())
	if err != nil {
		return 0, fmt.Errorf("find a port at %s: %w", addr, err)
	}
	p.held = append(p.held, l)
	return l.Addr().(*net.TCPAddr).Port, nil
}

// release lets go of all ports, for the children to listen on.
func (p *ports) release() {
	for _, l := range p.held {
		_ = l.Close() // nothing was accepted on it
	}
	p.held = nil
}
