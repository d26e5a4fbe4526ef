package config

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/subscribers"
	"thor/subjects"
)

// Node configures the node agent.
type Node struct {
	Roles []Role `toml:"role" reload:"yes"`
	// What programs of the same machine are told; "" turns a service off.
	HTTP   *string `toml:"http"`   // host:port; default 127.0.0.1:9501
	Lookup *string `toml:"lookup"` // host:port of the line service; default 127.0.0.1:9500
	// Programs that can ask on a Unix socket, where the kernel says who asks. Over
	// TCP, subscribers are given to those that prove they know the secret.
	Socket     *string `toml:"socket"`      // path; default THOR_SOCKET, which the unit sets to /run/thor/node.sock; else off
	Group      string  `toml:"group"`       // whose members may use the socket, and read a secret that is made; default thor, where it exists
	SecretFile string  `toml:"secret_file"` // made if missing; default THOR_SECRET_FILE, which the unit sets to /etc/thor/local.secret; else none
	// Subscribers has the node keep the profiles of those it serves as a
	// sip_proxy, and give them on HTTP; absent: it keeps none.
	Subscribers *Subscribers `toml:"subscribers"`
}

// Subscribers bounds what a node keeps of subscribers.
type Subscribers struct {
	Max   int           `toml:"max"`   // profiles; default 100000
	Grace time.Duration `toml:"grace"` // for which those of others are kept after the lookup changed; default 60s
}

// Role is one role that the node agent announces.
type Role struct {
	Role      string            `toml:"role"`
	Addresses []netip.Addr      `toml:"addresses"` // default: the certificate's
	Priority  int               `toml:"priority"`
	Weight    int               `toml:"weight"`
	Version   string            `toml:"version"`
	Attrs     map[string]string `toml:"attrs"`
	Kamailio  string            `toml:"kamailio"` // URL of its JSON-RPC, to tell who is registered
	Checks    []Check           `toml:"check"`
}

// Check is one probe of a local service.
type Check struct {
	Kind      string        `toml:"kind"`      // sip, rtpengine, tcp, http, command
	Target    string        `toml:"target"`    // host:port, or a URL for http
	Transport string        `toml:"transport"` // sip: udp (default), tcp, tls
	Command   []string      `toml:"command"`
	Expect    []int         `toml:"expect"`   // sip, http: status codes that count as alive
	CA        string        `toml:"ca"`       // sip over tls, https: PEM file of the service's CA
	Interval  time.Duration `toml:"interval"` // default 2s
	Timeout   time.Duration `toml:"timeout"`  // default 1s, or the interval if that is shorter
	Rise      int           `toml:"rise"`     // successes before it counts as up again; default 2
	Fall      int           `toml:"fall"`     // failures before it counts as down; default 2
}

const maxSocketPath = 100 // of 107, unix(7): a new socket has a longer name for a moment

func (n *Node) check(f *File) {
	if len(n.Roles) == 0 && !f.failed("node.role") {
		f.d.add("node", "announces nothing: add [[node.role]]")
	}
	for key, p := range map[string]*string{"node.http": n.HTTP, "node.lookup": n.Lookup} {
		if p != nil && *p != "" {
			f.hostPort(key, *p)
		}
	}
	if n.Socket != nil && len(*n.Socket) > maxSocketPath {
		f.d.add("node.socket", "is longer than the %d bytes that a socket's name may have", maxSocketPath)
	}
	if n.Group != "" {
		if _, err := local.GroupID(n.Group); err != nil {
			f.d.add("node.group", "%v", err)
		}
	}
	n.checkSubscribers(f)
	seen := make(map[string]int)
	for i := range n.Roles {
		r, key := &n.Roles[i], fmt.Sprintf("node.role[%d]", i)
		if f.require(key+".role", r.Role) {
			role, err := subjects.ParseRole(r.Role)
			if err != nil {
				f.d.add(key+".role", "%v", err)
			} else if role.Infrastructure() {
				f.d.add(key+".role", "%s is announced by its own daemon, not by the node agent", role)
			}
			if j, dup := seen[r.Role]; dup {
				f.d.add(key+".role", "%s is announced by node.role[%d] already", r.Role, j)
			}
			seen[r.Role] = i
		}
		f.priority(key+".priority", r.Priority)
		f.priority(key+".weight", r.Weight)
		if r.Kamailio != "" {
			if _, err := kamailio.NewClient(r.Kamailio, nil); err != nil {
				f.d.add(key+".kamailio", "%s", strings.TrimPrefix(err.Error(), "kamailio: "))
			}
		}
		for j := range r.Checks {
			f.checkCheck(fmt.Sprintf("%s.check[%d]", key, j), &r.Checks[j])
		}
	}
}

// checkSubscribers sees to it that digests of passwords stay on the machine.
func (n *Node) checkSubscribers(f *File) {
	s := n.Subscribers
	if s == nil {
		return
	}
	if s.Max < 0 {
		f.d.add("node.subscribers.max", "%d is less than 1", s.Max)
	}
	if s.Grace != 0 && (s.Grace < time.Second || s.Grace > time.Hour) {
		f.d.add("node.subscribers.grace", "%s is not within 1s and 1h", s.Grace)
	}
	if !slices.ContainsFunc(n.Roles, func(r Role) bool { return r.Role == string(subjects.SIPProxy) }) {
		f.d.add("node.subscribers", "is for a node with the role %s", subjects.SIPProxy)
	}
	if n.HTTP == nil || f.failed("node.http") {
		return
	}
	host, _, _ := net.SplitHostPort(*n.HTTP)
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		f.d.add("node.http", "%q is not on loopback, where subscribers are given with the digests of their passwords", *n.HTTP)
	}
}

func (f *File) checkCheck(key string, c *Check) {
	if f.failed(key + ".kind") {
		return
	}
	switch c.Kind {
	case "sip", "rtpengine", "tcp":
		if f.require(key+".target", c.Target) {
			f.hostPort(key+".target", c.Target)
		}
	case "http":
		if u, err := url.Parse(c.Target); f.require(key+".target", c.Target) &&
			(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			f.d.add(key+".target", "%q is not a URL like \"http://127.0.0.1:8080/health\"", c.Target)
		}
	case "command":
		if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
			f.d.add(key+".command", "is a list that begins with an absolute path")
		}
	default:
		f.d.add(key+".kind", "%q is not sip, rtpengine, tcp, http or command", c.Kind)
	}
	if !slices.Contains([]string{"", "udp", "tcp", "tls"}, c.Transport) {
		f.d.add(key+".transport", "%q is not udp, tcp or tls", c.Transport)
	}
	if c.Interval != 0 && c.Interval < 100*time.Millisecond {
		f.d.add(key+".interval", "%s is shorter than 100ms", c.Interval)
	}
	interval := cmp.Or(c.Interval, 2*time.Second)
	if c.Timeout > interval {
		f.d.add(key+".timeout", "%s is longer than the interval of %s", c.Timeout, interval)
	}
	if c.Rise < 0 || c.Rise > 100 || c.Fall < 0 || c.Fall > 100 {
		f.d.add(key, "rise and fall are 1 to 100")
	}
}

func (n *Node) fill(f *File) {
	for p, def := range map[**string]string{&n.HTTP: local.DefaultHTTP, &n.Lookup: local.DefaultLines} {
		if *p == nil {
			*p = &def
		}
	}
	if n.Socket == nil {
		path := os.Getenv("THOR_SOCKET")
		n.Socket = &path
	}
	f.abs(n.Socket)
	set(&n.SecretFile, os.Getenv("THOR_SECRET_FILE"))
	f.abs(&n.SecretFile)
	if s := n.Subscribers; s != nil {
		set(&s.Max, subscribers.DefaultMax)
		set(&s.Grace, subscribers.DefaultGrace)
	}
	for i := range n.Roles {
		for j := range n.Roles[i].Checks {
			c := &n.Roles[i].Checks[j]
			set(&c.Interval, 2*time.Second)
			set(&c.Timeout, min(time.Second, c.Interval))
			set(&c.Rise, 2)
			set(&c.Fall, 2)
			f.abs(&c.CA)
		}
	}
}
