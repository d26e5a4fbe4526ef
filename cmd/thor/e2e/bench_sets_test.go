//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/nodeagent/kamailio"
)

// An edge is a Kamailio beside a node agent of its own that keeps its dispatcher: group 1
// are the proxies, group 2 programs that come and go.
type edge struct {
	proxy *kamailio.Client
}

const edgeRole = `
[node]
http = ""
lookup = ""
[[node.role]]
role = "sip_edge"
kamailio = "http://%[1]s/RPC"
[node.role.sets]
dispatcher_file = "dispatcher.list"
[[node.role.sets.dispatcher]]
members = "sip_proxy"
[[node.role.sets.dispatcher]]
members = "fax_server"
group = 2
`

const edgeProxy = `#!KAMAILIO
debug=1
log_stderror=yes
children=1
tcp_children=2
auto_aliases=no
tcp_accept_no_cl=yes
listen=udp:%[1]s
listen=tcp:%[1]s
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "xhttp.so"
loadmodule "jsonrpcs.so"
loadmodule "dispatcher.so"
modparam("jsonrpcs", "transport", 1)
modparam("dispatcher", "list_file", "%[2]s/dispatcher.list")
modparam("dispatcher", "reload_delta", 0)
request_route { exit; }
event_route[xhttp:request] {
  if ($hu == "/RPC") { jsonrpc_dispatch(); exit; }
  xhttp_reply("404", "Not Found", "text/plain", "");
}
`

func (n *network) addEdge(t testing.TB, node, address string) *edge {
	t.Helper()
	bin, rpc := need(t, "kamailio", "kamailio"), address+":5090"
	c, err := kamailio.NewClient("http://"+rpc+"/RPC", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	n.addNode(t, node, address, "sip_edge", fmt.Sprintf(edgeRole, rpc))
	dir := filepath.Join(n.dir, node)
	eventually(t, 20*time.Second, "the agent has made the file", func() bool { _, err := os.Stat(filepath.Join(dir, "dispatcher.list")); return err == nil })
	cfg := filepath.Join(dir, "kamailio.cfg")
	if err := os.WriteFile(cfg, fmt.Appendf(nil, edgeProxy, rpc, dir), 0o600); err != nil {
		t.Fatal(err)
	}
	spawn(t, dir, bin, "-f", cfg, "-DD", "-E", "-m", "64", "-M", "8", "-Y", dir, "-w", dir, "-P", filepath.Join(dir, "pid"))
	return &edge{c}
}

// holds is what Kamailio has: "1 127.0.0.1 A 2 127.0.0.2 D".
func (e *edge) holds(t testing.TB) string {
	ds, err := e.proxy.Destinations(t.Context())
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, d := range ds {
		host := strings.TrimSuffix(strings.TrimPrefix(d.URI, "sip:"), ":5060")
		out = append(out, fmt.Sprintf("%d %s %s", d.Group, host, d.Flags[:1]))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

// addresses of the nodes of the bench.
const (
	edgeAt = "127.85.70.1"
	faxOne = "127.85.71.1"
	faxTwo = "127.85.71.2"
)

// sets samples how long a change takes to Kamailio's dispatcher: node2 is drained and
// resumed, or a program joins and leaves by kill -9.
func (b *bench) sets(drains bool) {
	b.t.Helper()
	net := b.network()
	for _, n := range []string{"edge1", "edgefax1", "edgefax2"} {
		_ = os.RemoveAll(filepath.Join(net.dir, n)) // of the other row
	}
	e := net.addEdge(b.t, "edge1", edgeAt)
	stays, comes := net.addJoiner(b.t, "edgefax1", faxOne), net.addJoiner(b.t, "edgefax2", faxTwo)
	stays.start(b.t)
	defer stays.kill(b.t)
	var proxies string
	eventually(b.t, 60*time.Second, "Kamailio has the members", func() bool {
		proxies = e.holds(b.t)
		return strings.Count(proxies, "1 127") == 3 && strings.HasSuffix(proxies, "A 2 "+faxOne+" A")
	})
	change := func(what, want string, act func()) {
		b.moment()
		began := time.Now()
		act()
		eventually(b.t, 60*time.Second, what, func() bool { return e.holds(b.t) == want })
		b.took(time.Since(began))
	}
	node2 := net.status().Member("sip_proxy", "node2").Address().String()
	for range b.n {
		if drains {
			change("node2 is disabled", strings.Replace(proxies, node2+" A", node2+" D", 1), b.ask("drain"))
			change("node2 is active", proxies, b.ask("resume"))
			continue
		}
		change("the program is there", proxies+" 2 "+faxTwo+" A", func() { comes.start(b.t) })
		change("the program is gone", proxies, func() { comes.kill(b.t) })
	}
}
