package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"thor/nodeagent"
	"thor/nodeagent/kamailio"
	"thor/nodeagent/local"
	"thor/nodeagent/opensips"
	"thor/nodeagent/sets"
	"thor/nodeagent/subscribers"
	"thor/subjects"
)

// Node configures the node agent.
type Node struct {
	// Roles that the node announces.
	Roles []Role `toml:"role" reload:"yes"`
	local.Config
	// Address of metrics and health. That of other daemons is called http: here this is the
	// service for programs of the machine.
	Metrics string `toml:"metrics" form:"listen" default:"127.0.0.1:9507" off:"yes"`
	// Group whose members may use the socket, and read a secret that is made.
	GroupName string `toml:"group" default:"(thor, where it exists)"`
	// File with the secret that programs prove over TCP to be given subscribers. It is
	// made if it is missing.
	SecretFile string `toml:"secret_file" form:"file" secret:"yes" default:"$THOR_SECRET_FILE"`
	// Address and port for commands of other nodes, over TLS with the certificates of the
	// network: xcap_server and provisioning_server tell there that a subscriber changed. Roles
	// announce the port as the attribute control_port.
	Control string `toml:"control" form:"listen" default:"(off)"`
	// Keep the profiles of the subscribers that the node serves as a sip_proxy, and
	// give them to programs of the machine.
	Subscribers *subscribers.Config `toml:"subscribers" default:"(none are kept)"`
}

// Role is one role that the node agent announces.
type Role struct {
	nodeagent.RoleConfig
	// URL of the JSON-RPC of the role's Kamailio, which is asked who is registered, and told of sets.
	Kamailio string `toml:"kamailio" default:"(none)"`
	// URL of the management interface of the role's OpenSIPS (its module mi_http, as JSON-RPC), instead of a Kamailio.
	OpenSIPS string `toml:"opensips" default:"(none)"`
	// Sets of members that the role's Kamailio or OpenSIPS holds, kept as the network status says.
	Sets *sets.Config `toml:"sets" default:"(none are kept)"`
	// Checks of the local service, which must all pass for the role to be up.
	Checks []Check `toml:"check" default:"(none: the role is up as long as the agent runs)"`
}

// Check is one probe of a local service.
type Check struct {
	nodeagent.CheckConfig
	// Authorities in PEM that the certificate of sip over tls or of https must be from.
	CA string `toml:"ca" form:"file" default:"(none: the certificate is not verified; of asterisk: those of the system)"`
}

// Proxy is the SIP proxy of the role and its URL, empty if it has none.
func (r *Role) Proxy() (kind nodeagent.Kind, url string) {
	if r.Kamailio == "" && r.OpenSIPS != "" {
		return nodeagent.OpenSIPS, r.OpenSIPS
	}
	return nodeagent.Kamailio, r.Kamailio
}

const maxSocketPath = 100 // of 107, unix(7): a new socket has a longer name for a moment

func (n *Node) fill() {
	for i := range n.Roles {
		for j := range n.Roles[i].Checks {
			c := &n.Roles[i].Checks[j]
			if kind, url := n.Roles[i].Proxy(); c.Kind == kind && c.Target == "" {
				c.Target = url
			}
			n.Roles[i].Checks[j].Fill()
		}
		if s := n.Roles[i].Sets; s != nil {
			s.Fill()
		}
	}
}

func (n *Node) check(f *File) {
	if len(n.Socket) > maxSocketPath {
		f.d.add("node.socket", "is longer than the %d bytes that a socket's name may have", maxSocketPath)
	}
	if n.GroupName != "" {
		if _, err := local.GroupID(n.GroupName); err != nil {
			f.d.add("node.group", "%v", err)
		}
	}
	n.checkSubscribers(f)
	if _, port, err := net.SplitHostPort(n.Control); err == nil && port == "0" {
		f.d.add("node.control", "port 0 cannot be announced")
	}
	nc := nodeagent.Config{Roles: n.RoleConfigs()}
	for _, p := range nc.Validate(nil) {
		if key := ProblemKey(p); !f.d.problems.Has(key) && !f.failed("node.role") {
			f.d.add(key, "%s", p.Text)
		}
	}
	for i, r := range n.Roles {
		key := fmt.Sprintf("node.role[%d]", i)
		if r.Role.Infrastructure() {
			f.d.add(key+".role", "%s is announced by its own daemon, not by the node agent", r.Role)
		}
		for j, c := range r.Checks {
			if c.Kind == nodeagent.Program && n.Socket == "" {
				f.d.add(fmt.Sprintf("%s.check[%d].kind", key, j), "program: programs join on the Unix socket, and node.socket is off")
			}
		}
		if r.Kamailio != "" {
			if _, err := kamailio.NewClient(r.Kamailio, nil); err != nil {
				f.d.add(key+".kamailio", "%s", strings.TrimPrefix(err.Error(), "kamailio: "))
			}
		}
		if r.OpenSIPS != "" {
			if _, err := opensips.NewClient(r.OpenSIPS); err != nil {
				f.d.add(key+".opensips", "%s", strings.TrimPrefix(err.Error(), "opensips: "))
			}
			if r.Kamailio != "" {
				f.d.add(key+".opensips", "the role has a kamailio too: which of them has the calls?")
			}
		}
		if r.Sets != nil {
			r.checkSets(f, key)
		}
	}
	n.checkSetFiles(f)
	n.checkWeights(f)
}

// checkWeights sees to it that subscribers are not moved from node to node by load.
func (n *Node) checkWeights(f *File) {
	for i, r := range n.Roles {
		for j, c := range r.Checks {
			key, on := "full", c.Full != 0
			if c.Weigh {
				key, on = "weigh", true
			}
			if on && !c.ReportOnly && r.Role == subjects.SIPProxy && n.Subscribers != nil {
				f.d.add(fmt.Sprintf("node.role[%d].check[%d].%s", i, j, key), "the weight of %s says which subscribers are at this node: they would move with the load", r.Role)
			}
		}
	}
}

// checkSetFiles sees to it that each file of sets has one table that is kept there.
func (n *Node) checkSetFiles(f *File) {
	by := make(map[string]string)
	for i, r := range n.Roles {
		if r.Sets == nil {
			continue
		}
		for _, file := range r.Sets.Files() {
			key := fmt.Sprintf("node.role[%d].sets.%s", i, file.Key)
			if other, ok := by[file.Path]; ok && !f.failed(key) {
				f.d.add(key, "%s is written for %s too", file.Path, other)
			}
			by[file.Path] = key
		}
	}
}

// checkSets is about the sets of the role at key.
func (r *Role) checkSets(f *File, key string) {
	switch kind, url := r.Proxy(); {
	case url == "":
		f.d.add(key+".sets", "needs the kamailio or the opensips of the role, which is told of them")
	case kind == nodeagent.OpenSIPS && r.Sets.DatabaseDir == "":
		f.d.add(key+".sets", "needs database_dir, which OpenSIPS reads")
	case kind == nodeagent.Kamailio && r.Sets.DatabaseDir != "":
		f.d.add(key+".sets.database_dir", "is for OpenSIPS: Kamailio has dispatcher_file, rtpengine_dir and trusted_file")
	}
	f.addAll(key+".sets", r.Sets.Validate())
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

// RoleConfigs are the roles without what is in other files.
func (n *Node) RoleConfigs() []nodeagent.RoleConfig {
	out := make([]nodeagent.RoleConfig, len(n.Roles))
	for i, r := range n.Roles {
		out[i] = r.RoleConfig
		for _, c := range r.Checks {
			out[i].Checks = append(out[i].Checks, c.CheckConfig)
		}
	}
	return out
}

// ProblemKey is the key in the file that a problem of the node agent is about.
func ProblemKey(p nodeagent.Problem) string {
	key := "node"
	if p.Role >= 0 {
		key = fmt.Sprintf("node.role[%d]", p.Role)
	}
	if p.Check >= 0 {
		key = fmt.Sprintf("%s.check[%d]", key, p.Check)
	}
	return strings.TrimSuffix(join(key, p.Key), ".")
}
