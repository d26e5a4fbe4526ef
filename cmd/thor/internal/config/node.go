package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/subscribers"
	"thor/overlay/setting"
	"thor/subjects"
)

// Node configures the node agent.
type Node struct {
	// Roles that the node announces.
	Roles []Role `toml:"role" reload:"yes"`
	local.Config
	// Group whose members may use the socket, and read a secret that is made.
	GroupName string `toml:"group" default:"(thor, where it exists)"`
	// File with the secret that programs prove over TCP to be given subscribers. It is
	// made if it is missing.
	SecretFile string `toml:"secret_file" form:"file" default:"$THOR_SECRET_FILE"`
	// Keep the profiles of the subscribers that the node serves as a sip_proxy, and
	// give them to programs of the machine.
	Subscribers *subscribers.Config `toml:"subscribers" default:"(none are kept)"`
}

// Role is one role that the node agent announces.
type Role struct {
	// Name of the role. It must be in the certificate.
	Role subjects.Role `toml:"role" required:"yes"`
	// Addresses that the role announces. They must be in the certificate.
	Addresses []netip.Addr `toml:"addresses" default:"(those of the certificate)"`
	// Priority that the role announces.
	Priority int `toml:"priority" unit:"lower is preferred" range:"1..65535" default:"(none)"`
	// Share of the work.
	Weight int `toml:"weight" unit:"100 is usual" range:"1..65535" default:"(100)"`
	// Version of the service's software, for show.
	Version string `toml:"version" default:"(none)"`
	// What the role wants others to know, such as control_port.
	Attrs map[string]string `toml:"attrs" default:"(none)"`
	// URL of the JSON-RPC of the role's Kamailio, which is asked who is registered.
	Kamailio string `toml:"kamailio" default:"(none)"`
	// Checks of the local service, which must all pass for the role to be up.
	Checks []Check `toml:"check" default:"(none: the role is up as long as the agent runs)"`
}

// Check is one probe of a local service.
type Check struct {
	// How the service is asked: by SIP OPTIONS, ng ping, TCP connection, HTTP GET or a program that exits with 0.
	Kind string `toml:"kind" oneof:"sip rtpengine tcp http command" required:"yes"`
	// Address to ask: host:port, or a URL for http.
	Target string `toml:"target" default:"(none, required but for command)"`
	// Transport of sip.
	Transport string `toml:"transport" oneof:"udp tcp tls" default:"(udp)"`
	// Absolute path of a program, and its arguments.
	Command []string `toml:"command" default:"(none, required for command)"`
	// Status codes of sip and http that count as alive.
	Expect []int `toml:"expect" unit:"status code" range:"200..699" default:"(of sip every final one but 503, of http 200 to 299)"`
	// Authorities in PEM that the certificate of sip over tls or of https must be from.
	CA string `toml:"ca" form:"file" default:"(none: the certificate is not verified)"`
	// Time from probe to probe.
	Interval time.Duration `toml:"interval" default:"2s" range:"100ms.."`
	// Time that a probe may take.
	Timeout time.Duration `toml:"timeout" default:"1s" range:"..Interval"`
	// Probes in a row that must pass before a check that failed counts as passing. The first of all decides alone.
	Rise int `toml:"rise" unit:"probes" default:"2" range:"1..100"`
	// Probes in a row that must fail before a check that passed counts as failing.
	Fall int `toml:"fall" unit:"probes" default:"2" range:"1..100"`
}

const maxSocketPath = 100 // of 107, unix(7): a new socket has a longer name for a moment

func (n *Node) fill() {
	for i := range n.Roles {
		for j := range n.Roles[i].Checks {
			setting.Fill(&n.Roles[i].Checks[j])
		}
	}
}

func (n *Node) check(f *File) {
	if len(n.Roles) == 0 && !f.failed("node.role") {
		f.d.add("node", "announces nothing: add [[node.role]]")
	}
	if len(n.Socket) > maxSocketPath {
		f.d.add("node.socket", "is longer than the %d bytes that a socket's name may have", maxSocketPath)
	}
	if n.GroupName != "" {
		if _, err := local.GroupID(n.GroupName); err != nil {
			f.d.add("node.group", "%v", err)
		}
	}
	n.checkSubscribers(f)
	seen := make(map[subjects.Role]int)
	for i := range n.Roles {
		r, key := &n.Roles[i], fmt.Sprintf("node.role[%d]", i)
		if r.Role.Infrastructure() {
			f.d.add(key+".role", "%s is announced by its own daemon, not by the node agent", r.Role)
		}
		if j, dup := seen[r.Role]; dup && r.Role != "" {
			f.d.add(key+".role", "%s is announced by node.role[%d] already", r.Role, j)
		}
		seen[r.Role] = i
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
	if n.Subscribers == nil {
		return
	}
	if !slices.ContainsFunc(n.Roles, func(r Role) bool { return r.Role == subjects.SIPProxy }) {
		f.d.add("node.subscribers", "is for a node with the role %s", subjects.SIPProxy)
	}
	if n.HTTP == "" || f.failed("node.http") {
		return
	}
	host, _, _ := net.SplitHostPort(n.HTTP)
	if addr, err := netip.ParseAddr(host); host != "localhost" && (err != nil || !addr.IsLoopback()) {
		f.d.add("node.http", "%q is not on loopback, where subscribers are given with the digests of their passwords", n.HTTP)
	}
}

func (f *File) checkCheck(key string, c *Check) {
	need := func(key, value string) bool {
		if value == "" && !f.failed(key) {
			f.d.add(key, "is missing")
		}
		return value != ""
	}
	switch c.Kind {
	case "sip", "rtpengine", "tcp":
		if need(key+".target", c.Target) {
			f.hostPort(key+".target", c.Target)
		}
	case "http":
		if u, err := url.Parse(c.Target); need(key+".target", c.Target) &&
			(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			f.d.add(key+".target", "%q is not a URL like \"http://127.0.0.1:8080/health\"", c.Target)
		}
	case "command":
		if len(c.Command) == 0 || !filepath.IsAbs(c.Command[0]) {
			f.d.add(key+".command", "is a list that begins with an absolute path")
		}
	}
}
