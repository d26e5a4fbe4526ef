//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thor/cmd/thor/e2e/faults"
	"thor/cmd/thor/e2e/trace"
	"thor/identity"
	"thor/subjects"
)

const faultDomain = "lab.example"

// faultTopology is the network that the lab breaks: three hosts with everything, two
// with agents alone.
var faultTopology = faults.Topology{
	Core:   []string{"host1", "host2", "host3"},
	Agents: map[string][]string{"host4": {"proxy4", "proxy6"}, "host5": {"proxy5", "proxy7"}},
}

// addressOf are the addresses of nodes. Those of a host's second node are on its
// loopback interface: only its own service check asks for them.
var addressOf = map[string]string{
	"host1": "192.0.2.1", "host2": "192.0.2.2", "host3": "192.0.2.3",
	"proxy4": "192.0.2.4", "proxy6": "192.0.2.14", "proxy5": "192.0.2.5", "proxy7": "192.0.2.15",
}

// faultNet is that network, and what watches it.
type faultNet struct {
	*lab
	topology faults.Topology
	log      *trace.Log
	desk     *host
	byName   map[string]*host
	daemons  map[string]*daemonProc // by process name
	order    []string               // of processes
	brokers  []string
	ca       string // directory of the authority, on the desk
	damping  bool
	nextCA   string
	roles    map[string][]subjects.Role // of certificates
	builds   []string                   // of thor, by number: this one and, where it is asked for, a former one
	slow     *slowLink
	wan      *wan // between sites; nil: the network has none
	watchers *watchers
	probes   *probes

	mu       sync.Mutex
	services map[string]net.Listener // by process name
	stutters map[string]context.CancelFunc
	creds    []*identity.Credentials // of observers and probes
}

// daemonProc is a process that the lab stops and starts.
type daemonProc struct {
	trace.Process
	p    *process
	twin *process
	dir  string // of its state
	http string // address of its metrics, on its host
}

// labAllowed skips where namespaces cannot be made, and says why.
func labAllowed(t *testing.T) {
	t.Helper()
	for program, pkg := range map[string]string{"ip": "iproute2", "nft": "nftables", "tc": "iproute2"} {
		need(t, program, pkg)
	}
	needRoot(t, "the network namespaces of the lab")
	failed := make(chan error)
	go func() { // without UnlockOSThread the thread ends with the goroutine
		runtime.LockOSThread()
		failed <- errors.Join(unix.Unshare(unix.CLONE_NEWNET), unix.Unshare(unix.CLONE_NEWNS))
	}()
	if err := <-failed; err != nil {
		t.Skipf("network namespaces are not allowed here: %v", err)
	}
}

// newFaultNet makes hosts, certificates and files. Nothing runs yet.
func newFaultNet(t *testing.T, topology faults.Topology, log *trace.Log, damping bool) *faultNet {
	t.Helper()
	f := &faultNet{
		lab: newLab(t), topology: topology, log: log, byName: make(map[string]*host), daemons: make(map[string]*daemonProc), ca: "ca", damping: damping,
		services: make(map[string]net.Listener), stutters: make(map[string]context.CancelFunc),
		roles: make(map[string][]subjects.Role), builds: []string{thor},
	}
	f.nft(t, "table inet faults {\n"+
		"set cut { type ipv4_addr . ipv4_addr; }\nset port { type ipv4_addr . ipv4_addr . inet_service; }\n"+
		"chain cut { type filter hook forward priority 0;\n"+
		"ip saddr . ip daddr @cut drop\nip saddr . ip daddr . tcp dport @port drop\nip saddr . ip daddr . tcp sport @port drop\n}\n"+
		"chain loss { type filter hook forward priority 10; }\n}\n")
	for i, name := range topology.Hosts() {
		address := fmt.Sprintf("192.0.2.%d", i+1)
		if len(topology.Sites) > 0 { // one node a host, named like it, with an address that no other network's node has
			address = fmt.Sprintf("192.0.2.%d", i+101)
			addressOf[name] = address
		}
		f.byName[name] = f.host(t, name, address, address, "192.0.2.254")
	}
	f.desk = f.host(t, "desk", "203.0.113.10", "203.0.113.10", "203.0.113.254")
	if len(topology.Sites) > 0 {
		f.wan = f.newWAN(t)
	}
	f.desk.thor(t, "ca", "init", "--domain", faultDomain)
	f.trust(t)
	for _, h := range f.topology.Core {
		f.brokers = append(f.brokers, fmt.Sprintf("tls://%s:%d", addressOf[h], trace.ClientPort))
	}
	for _, h := range f.topology.Core {
		f.disk(t, f.byName[h])
		f.certify(t, h, append([]subjects.Role{subjects.EventServer, subjects.Manager, subjects.DNSManager}, f.agentRoles(h)...)...)
		f.plan(t, h, h, trace.Broker, subjects.EventServer)
		f.plan(t, h, h, trace.Manager, subjects.Manager)
		f.plan(t, h, h, trace.NameServer, subjects.DNSManager)
		f.plan(t, h, h, trace.Agent, f.agentRoles(h)[0])
	}
	for h, nodes := range f.topology.Agents {
		for i, n := range nodes {
			if i > 0 {
				f.ip(t, "-n", f.byName[h].ns, "addr", "add", addressOf[n]+"/32", "dev", "lo")
			}
			f.certify(t, n, f.agentRoles(n)...)
			f.plan(t, h, n, trace.Agent, subjects.SIPProxy)
		}
	}
	slices.Sort(f.order)
	return f
}

// disk gives a host a small disk of its own, for the state of its processes.
func (f *faultNet) disk(t *testing.T, h *host) {
	t.Helper()
	dir := filepath.Join(h.dir, "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("thor-lab", dir, "tmpfs", 0, "size=48m,mode=0700"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// certify issues the certificate of a node, or a new one, on the desk.
func (f *faultNet) certify(t *testing.T, node string, roles ...subjects.Role) {
	t.Helper()
	args := []string{"ca", "issue", "--ca-dir", f.ca, "--node", node, "--ip", addressOf[node], "--out", node}
	c := &trace.Certified{Node: subjects.NodeID(node), Roles: roles, Addresses: []string{addressOf[node]}}
	for _, r := range roles {
		args = append(args, "--role", string(r))
	}
	if site := f.topology.Site(node); site != "" { // a node is named like its host there
		args = append(args, "--site", site)
	}
	for _, suffix := range []string{".key", ".crt"} { // a new one replaces no key by itself
		_ = os.Remove(filepath.Join(f.desk.dir, node+suffix))
	}
	f.onDesk(t, args...)
	f.roles[node] = roles
	f.log.Add(trace.Line{Certified: c})
}

// onDesk runs a command of the operator.
func (f *faultNet) onDesk(t *testing.T, args ...string) string {
	t.Helper()
	out, err := f.desk.try(args...)
	if err != nil {
		t.Fatalf("thor %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// plan makes the directory and the configuration of a process.
func (f *faultNet) plan(t *testing.T, hostName, node, program string, role subjects.Role) {
	t.Helper()
	h := f.byName[hostName]
	name := node + "/" + program
	state := filepath.Join(h.dir, "state", node+"-"+program)
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	f.install(t, h, node)
	http := fmt.Sprintf("127.0.0.1:%d", 9100+len(f.order))
	for file, listen := range map[string]string{node + "-" + program + ".toml": http, node + "-" + program + "-twin.toml": ""} {
		if err := os.WriteFile(filepath.Join(h.dir, file), []byte(f.config(hostName, node, program, listen)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f.daemons[name] = &daemonProc{
		Process: trace.Process{Name: name, Host: hostName, Node: subjects.NodeID(node), Program: program, Role: role},
		dir:     state,
		http:    http,
		p: &process{
			host: h, name: node + "-" + program, argv: []string{thor, program, "--config", node + "-" + program + ".toml"},
			env: []string{"THOR_STATE=" + state},
		},
	}
	if program == trace.Agent {
		f.daemons[name].Also = f.agentRoles(node)[1:]
	}
	f.order = append(f.order, name)
}

// agentRoles are the roles of a node's agent. In a network with sites they are two, but on hosts
// of the core: an answer of a name server holds eight proxies.
func (f *faultNet) agentRoles(node string) []subjects.Role {
	switch {
	case f.wan == nil:
		return []subjects.Role{subjects.SIPProxy}
	case slices.Contains(f.topology.Core, node):
		return []subjects.Role{"media"}
	}
	return []subjects.Role{subjects.SIPProxy, "media"}
}

// install brings a node's certificate, and the authorities, from the desk to its host.
func (f *faultNet) install(t *testing.T, h *host, node string) {
	t.Helper()
	for from, to := range map[string]string{node + ".key": node + ".key", node + ".crt": node + ".crt", f.authorities(): node + "-ca.crt"} {
		b, err := os.ReadFile(filepath.Join(f.desk.dir, from))
		if err == nil {
			err = os.WriteFile(filepath.Join(h.dir, to), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// authorities is the file that all trust at present.
func (f *faultNet) authorities() string {
	if _, err := os.Stat(filepath.Join(f.desk.dir, "bundle.crt")); err == nil {
		return "bundle.crt"
	}
	return filepath.Join(f.ca, "ca.crt")
}

// config is the file of a process.
func (f *faultNet) config(hostName, node, program, http string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[network]\ndomain = %q\nbrokers = [\"%s\"]\ncertificate = \"%s.crt\"\nkey = \"%[3]s.key\"\nca = \"%[3]s-ca.crt\"\nstate = \"state\"\nhttp = %q\n[log]\nformat = \"json\"\n",
		faultDomain, strings.Join(f.brokers, `", "`), node, http)
	a := addressOf[hostName]
	switch program {
	case trace.Broker:
		var routes []string
		for _, h := range f.topology.Core {
			routes = append(routes, fmt.Sprintf("tls://%s:%d", addressOf[h], trace.RoutePort))
		}
		fmt.Fprintf(&b, "[broker]\nlisten = \"%s:%d\"\ncluster_listen = \"%[1]s:%[3]d\"\nroutes = [\"%[4]s\"]\n", a, trace.ClientPort, trace.RoutePort, strings.Join(routes, `", "`))
		fmt.Fprintf(&b, "compress_routes = %t\n", os.Getenv(labCompress) != "")
	case trace.Manager:
		fmt.Fprintf(&b, "[manager]\ndamping = %t\n", f.damping)
	case trace.NameServer:
		fmt.Fprintf(&b, "[dns]\nlisten = [\"%s:53\"]\nslice = 8\n", a)
	case trace.Agent:
		b.WriteString("[node]\nhttp = \"\"\nlookup = \"\"\n")
		for _, r := range f.agentRoles(node) {
			fmt.Fprintf(&b, "[[node.role]]\nrole = %q\n[[node.role.check]]\nkind = \"tcp\"\ntarget = \"%s:5060\"\ninterval = \"500ms\"\ntimeout = \"400ms\"\n", r, addressOf[node])
		}
	}
	return b.String()
}

// start runs everything and waits until it is one network.
func (f *faultNet) start(t *testing.T) {
	t.Helper()
	t.Cleanup(func() { f.keepLogs(t) })
	for _, name := range f.order {
		d := f.daemons[name]
		if d.Program == trace.Agent {
			f.serve(t, d)
		}
		d.p.run(t)
		t.Cleanup(func() { d.p.kill(t) })
		f.log.Add(trace.Line{Process: &d.Process})
	}
}

// serve opens the service of an agent, or opens it again.
func (f *faultNet) serve(t *testing.T, d *daemonProc) {
	t.Helper()
	var l net.Listener
	var err error
	if e := d.p.host.enter(func() { l, err = net.Listen("tcp", addressOf[string(d.Node)]+":5060") }); e != nil || err != nil {
		t.Fatal(e, err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.services[d.Name] = l
	t.Cleanup(func() { _ = l.Close() })
}

// load reads the certificate of a node that the desk keeps.
func (f *faultNet) load(t *testing.T, node string) *identity.Credentials {
	t.Helper()
	in := func(name string) string { return filepath.Join(f.desk.dir, name) }
	c, err := identity.Load(identity.Files{Cert: in(node + ".crt"), Key: in(node + ".key"), CA: in("trusted.crt")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// trust writes the file that observers and operators trust.
func (f *faultNet) trust(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(f.desk.dir, f.authorities()))
	if err == nil {
		err = os.WriteFile(filepath.Join(f.desk.dir, "trusted.crt"), b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// pause waits, or until the test is over.
func pause(t *testing.T, d time.Duration) {
	select {
	case <-time.After(d):
	case <-t.Context().Done():
	}
}
