package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strings"

	"thor/nodeagent"
	"thor/overlay/setting"
)

// A Listener is a port that a daemon of the file opens, or that a service has that
// the node agent checks.
type Listener struct {
	Key     string // that names it
	Address string // host:port
	TCP     bool
	UDP     bool
	service bool // of another program
}

// Listens are the addresses that daemons of the file listen on, by key.
func (f *File) Listens() map[string]string {
	out := make(map[string]string)
	for _, l := range f.listeners() {
		out[l.Key] = l.Address
	}
	return out
}

// listeners are those of the daemons, in the order of the fields.
func (f *File) listeners() (out []Listener) {
	setting.Walk(f, func(k setting.Key) {
		if k.Tag("form") != "listen" || k.Value.Kind() != reflect.String || k.Value.String() == "" || f.failed(k.Path) {
			return
		}
		dns := strings.HasPrefix(k.Path, "dns.listen")
		out = append(out, Listener{Key: k.Path, Address: k.Value.String(), TCP: true, UDP: dns})
	})
	if f.Network.HTTP == "" {
		return out
	}
	// The one address replaces that of the section.
	_, names := f.sections()
	for _, name := range names {
		if k, ok := f.metricsKey(name); ok {
			out = deleteListener(out, join(name, k.Name))
		}
	}
	return out
}

func deleteListener(ls []Listener, key string) []Listener {
	for i := range ls {
		if ls[i].Key == key {
			return append(ls[:i:i], ls[i+1:]...)
		}
	}
	return ls
}

// services are the ports of SIP servers, relays and proxies that the file names. Checks of
// the kinds tcp and http are not among them: they may ask a daemon of thor.
func (f *File) services() (out []Listener) {
	add := func(key, address string, tcp, udp bool) {
		if _, _, err := net.SplitHostPort(address); err == nil && !f.failed(key) {
			out = append(out, Listener{Key: key, Address: address, TCP: tcp, UDP: udp, service: true})
		}
	}
	web := func(key, address string) {
		if u, err := url.Parse(address); err == nil && u.Port() != "" {
			add(key, u.Host, true, false)
		}
	}
	if f.Node == nil {
		return nil
	}
	for i, r := range f.Node.Roles {
		key := fmt.Sprintf("node.role[%d]", i)
		_, proxy := r.Proxy()
		web(key+".kamailio", r.Kamailio)
		web(key+".opensips", r.OpenSIPS)
		for j, c := range r.Checks {
			at := fmt.Sprintf("%s.check[%d].target", key, j)
			switch c.Kind {
			case nodeagent.Kamailio, nodeagent.OpenSIPS, nodeagent.Asterisk:
				if c.Target != proxy {
					web(at, c.Target)
				}
			case nodeagent.RTPEngine:
				add(at, c.Target, false, true)
			case nodeagent.SIP, nodeagent.Register, nodeagent.Call:
				// A SIP server has its port for both transports (RFC 3261, section 18), unless it is for TLS.
				add(at, c.Target, true, c.Transport != "tls")
			}
		}
	}
	return out
}

// checkListeners finds ports that two would open, or that a checked service has.
func (f *File) checkListeners() {
	own := f.listeners()
	for i, l := range own {
		for _, other := range own[:i] {
			f.clash(other, l, false)
		}
	}
	for _, s := range f.services() {
		for _, l := range own {
			f.clash(s, l, f.isHere(s, own))
		}
	}
}

// portOf begins what is said of a collision.
const portOf = "is the port of "

// Collides reports whether p is that two listeners would have one port.
func (p Problem) Collides() bool {
	return strings.HasPrefix(p.Text, portOf) || p.Key == sharedHTTP
}

// clash reports that b cannot have its port because of a. here: a's address is one
// of this machine.
func (f *File) clash(a, b Listener, here bool) {
	if !(a.TCP && b.TCP || a.UDP && b.UDP) || !overlap(a, b, here) {
		return
	}
	key, other := b.Key, a.Key
	if !f.Set(key) && f.Set(other) && !a.service { // tell of the one that the file has
		key, other = other, key
	}
	if f.failed(key) {
		return
	}
	what := portOf + other
	if a.service {
		what = portOf + "the service that " + other + " names"
	}
	at := b.Address
	if a.Address != b.Address {
		at += " and " + a.Address
	}
	f.d.add(key, "%s too (%s)", what, at)
}

// overlap reports whether two listeners cannot exist beside each other.
func overlap(a, b Listener, here bool) bool {
	hostA, portA, errA := net.SplitHostPort(a.Address)
	hostB, portB, errB := net.SplitHostPort(b.Address)
	if errA != nil || errB != nil || portA != portB {
		return false
	}
	ipA, ipB := hostAddr(hostA), hostAddr(hostB)
	switch {
	case strings.EqualFold(hostA, hostB):
		return true
	case wildcard(hostA, ipA):
		// A wildcard is every address of the machine, of both families: Go listens on one
		// socket for them. A service elsewhere may be at any address.
		return !a.service || here || wildcard(hostB, ipB)
	case wildcard(hostB, ipB):
		return !a.service || here
	}
	return ipA.IsValid() && ipA == ipB || loopbackName(hostA, ipB) || loopbackName(hostB, ipA)
}

// isHere reports whether a service is on this machine as far as the file tells: on
// loopback, or at an address on which a daemon of the file listens.
func (f *File) isHere(s Listener, own []Listener) bool {
	host, _, _ := net.SplitHostPort(s.Address)
	ip := hostAddr(host)
	if ip.IsLoopback() || host == "localhost" || wildcard(host, ip) {
		return true
	}
	for _, l := range own {
		if h, _, _ := net.SplitHostPort(l.Address); ip.IsValid() && hostAddr(h) == ip {
			return true
		}
	}
	return false
}

func hostAddr(host string) netip.Addr {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

func wildcard(host string, ip netip.Addr) bool {
	return host == "" || ip.IsValid() && ip.IsUnspecified()
}

// loopbackName reports whether host is a name for loopback, and ip what it stands for.
func loopbackName(host string, ip netip.Addr) bool {
	return strings.EqualFold(host, "localhost") && (ip == netip.MustParseAddr("127.0.0.1") || ip == netip.IPv6Loopback())
}
