//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/secret"
	"thor/subjects"
)

// A scene is a network in which calls outlive proxies and relays: three Kamailios with
// calls.cfg, two rtpengines, and phones behind Kamailios that resolve and fail over.
type scene struct {
	*network
	kamailio, sipp string
	rtpengine      string
	relays         [2]*exec.Cmd
	ends, stays    *answering
	first          string // where callers send everything
	ports          int    // of RTP that are taken
}

const sceneNet = "127.99"

// Where things are.
const (
	sceneDNS     = sceneNet + ".10.53:53"
	callersEdge  = sceneNet + ".50.1"
	callersPhone = sceneNet + ".50.2"
	calleesEdge  = sceneNet + ".60.1"
	calleesPhone = sceneNet + ".60.2"
	firstRTP     = 20000
)

func proxyAt(node int) string  { return fmt.Sprintf("%s.20.%d", sceneNet, node) }
func relayAt(which int) string { return fmt.Sprintf("%s.30.%d", sceneNet, which+1) }

// sceneEdge is a proxy of another network, or a phone that does as RFC 3263 says: it
// resolves each Route, and goes to the next server when one does not answer.
const sceneEdge = `#!KAMAILIO
debug=1
log_stderror=yes
children=4
disable_tcp=yes
auto_aliases=no
listen=udp:%[1]s:5060
dns_try_naptr=off
use_dns_cache=on
use_dns_failover=on
use_dst_blocklist=on # an ACK has no timeout: it goes where the INVITE was answered
dst_blocklist_expire=10
dns_srv_lb=on
dns_retr_time=1
dns_retr_no=2
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
modparam("tm", "fr_timer", 1000)
modparam("tm", "fr_inv_timer", 20000)
request_route {
	if (is_method("OPTIONS")) {
		sl_send_reply("200", "OK");
		exit;
	}
	if (is_method("CANCEL")) {
		if (t_check_trans()) t_relay();
		exit;
	}
	if (has_totag()) {
		if (!loose_route() && is_method("ACK")) {
			if (t_check_trans()) t_relay();
			exit;
		}
		if (!is_method("INVITE|ACK")) t_set_fr(0, 1500);
		t_relay();
		exit;
	}
	if (is_method("ACK")) exit;
	record_route();
	%[2]s
	t_relay();
}
`

const noLocalServices = "[node]\nhttp = \"\"\nlookup = \"\"\n"

// setsOfProxy are those of a proxy of thor up.
const setsOfProxy = `
[node.role.sets]
dispatcher_file = "sets/dispatcher.list"
rtpengine_dir = "sets/rtpengine"
trusted_file = "sets/address.list"
[[node.role.sets.dispatcher]]
members = "voicemail_server"
group = 2
[[node.role.sets.rtpengine]]
members = "media_relay"
each = true
[[node.role.sets.trusted]]
members = "sip_proxy"
group = 1
`

// newScene is ready for calls.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{first: callersEdge + ":5060", kamailio: need(t, "kamailio", "kamailio"), sipp: need(t, "sipp", "sip-tester")}
	s.rtpengine = need(t, "rtpengine", "rtpengine-daemon")
	needRoot(t, "port 53 and a resolv.conf of its own")
	s.network = startNetwork(t, sceneNet, "--nodes", "3", "--dns", sceneDNS)
	for i := range s.relays {
		s.startRelay(t, i)
		s.addNode(t, fmt.Sprintf("relay%d", i+1), relayAt(i), "media_relay", fmt.Sprintf(noLocalServices+`
[[node.role]]
role = "media_relay"
[[node.role.check]]
kind = "rtpengine"
target = "%s:2223"
interval = "500ms"
`, relayAt(i)))
	}
	s.startEdge(t, "callees", calleesEdge, fmt.Sprintf(`$du = "sip:%[1]s:5060"; if ($rU == "ends") $du = "sip:%[1]s:5070";`, calleesPhone))
	s.addNode(t, "server1", calleesEdge, "voicemail_server", fmt.Sprintf(noLocalServices+`
[[node.role]]
role = "voicemail_server"
[[node.role.check]]
kind = "sip"
target = "%s:5060"
interval = "500ms"
`, calleesEdge))
	eventually(t, 20*time.Second, "relays and server are members", func() bool {
		n := s.status().Counts()
		return n[subjects.MediaRelay] == 2 && n[subjects.VoicemailServer] == 1
	})
	shared := filepath.Join(s.dir, "calls.secret")
	if _, err := secret.Load(shared, -1); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(shared)
	if err == nil {
		err = os.WriteFile(shared, []byte(strings.Replace(string(b), "THOR_SECRET", "CALLS_SECRET", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= 3; i++ {
		s.keepSets(t, i)
	}
	for i := 1; i <= 3; i++ {
		s.startProxy(t, i, shared)
	}
	s.startEdge(t, "callers", callersEdge, `if ($hdr(X-Proxy) != $null) $du = "sip:" + $hdr(X-Proxy) + ":5060";`)
	s.stays, s.ends = s.answer(t, "stays", 5060, 16000, phoneStays), s.answer(t, "ends", 5070, 17000, phoneEnds)
	s.awaitMembers(t)
	return s
}

func (s *scene) startRelay(t testing.TB, i int) {
	t.Helper()
	dir := filepath.Join(s.dir, fmt.Sprintf("rtpengine%d", i+1))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.relays[i] = spawn(t, dir, s.rtpengine, "--foreground", "--config-file=none", "--table=-1", "--interface="+relayAt(i), "--listen-ng="+relayAt(i)+":2223",
		"--log-stderr", "--log-level=4", "--pidfile="+filepath.Join(dir, "pid"), "--port-min=30000", "--port-max=34000", "--num-threads=2")
}

// startEdge runs a Kamailio that asks the name servers of the network.
func (s *scene) startEdge(t testing.TB, name, at, first string) {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	file := filepath.Join(dir, "kamailio.cfg")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, fmt.Appendf(nil, sceneEdge, at, first), 0o600)); err != nil {
		t.Fatal(err)
	}
	argv := withResolver(t, dir, sceneDNS, s.kamailio, "-DD", "-E", "-f", file, "-P", filepath.Join(dir, "pid"), "-Y", dir, "-w", dir, "-m", "64", "-M", "8")
	spawn(t, dir, argv[0], argv[1:]...)
}

// keepSets has the agent of a node of thor up keep the sets of its Kamailio.
func (s *scene) keepSets(t testing.TB, i int) {
	t.Helper()
	node := fmt.Sprintf("node%d", i)
	dir := filepath.Join(s.dir, node)
	file := filepath.Join(dir, "thor.toml")
	b, err := os.ReadFile(file)
	if err = errors.Join(err, os.MkdirAll(filepath.Join(dir, "sets", "rtpengine"), 0o755), os.WriteFile(file, append(b, setsOfProxy...), 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.pid(t, node), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, node+" has made the files", func() bool {
		for _, f := range []string{"dispatcher.list", "address.list", "rtpengine/rtpengine", "rtpengine/version"} {
			if _, err := os.Stat(filepath.Join(dir, "sets", f)); err != nil {
				return false
			}
		}
		return true
	})
}

// startProxy has calls.cfg run beside a node of thor up.
func (s *scene) startProxy(t testing.TB, i int, shared string) {
	t.Helper()
	node, name := fmt.Sprintf("node%d", i), fmt.Sprintf("node%d-sip", i)
	s.control(t, "stop", name)
	sets := filepath.Join(s.dir, node, "sets")
	for file, values := range map[string][]string{
		"calls.cfg": {
			"/etc/thor/local.secret", filepath.Join(s.dir, node, "local.secret"), "/etc/thor/calls.secret", shared, "192.0.2.1", proxyAt(i),
			"example.net", s.domain, "127.0.0.1:9501", proxyAt(i) + ":9501", "127.0.0.1:5062", proxyAt(i) + ":5062",
		},
		"sets.cfg": {"/var/lib/thor-kamailio", sets},
	} {
		b, err := os.ReadFile(filepath.Join("../../../deploy/examples/kamailio", file))
		if err != nil {
			t.Fatal(err)
		}
		to := file
		if file == "calls.cfg" {
			to = "kamailio.cfg"
		}
		if err := os.WriteFile(filepath.Join(s.dir, name, to), []byte(strings.NewReplacer(values...).Replace(string(b))), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.control(t, "start", name)
}

// rpc asks the Kamailio of a node.
func (s *scene) rpc(t testing.TB, i int) *kamailio.Client {
	t.Helper()
	k, err := secret.Read(filepath.Join(s.dir, fmt.Sprintf("node%d", i), "local.secret"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := kamailio.NewClient(fmt.Sprintf("http://%s:5062/RPC", proxyAt(i)), k)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// awaitMembers waits until the proxies know servers, relays and each other.
func (s *scene) awaitMembers(t testing.TB) {
	t.Helper()
	for i := 1; i <= 3; i++ {
		c := s.rpc(t, i)
		eventually(t, 40*time.Second, fmt.Sprintf("node%d knows all", i), func() bool {
			ds, _ := c.Destinations(t.Context())
			rs, _ := c.Relays(t.Context())
			as, _ := c.Addresses(t.Context())
			on := slices.DeleteFunc(rs, func(r kamailio.Relay) bool { text, _ := r.Disabled.(string); return text != "" })
			return len(ds) == 1 && len(on) == 4 && len(as) == 3
		})
	}
	eventually(t, 20*time.Second, "three proxies in the status", func() bool { return s.status().Counts()[subjects.SIPProxy] == 3 })
}

// endProxy signals the Kamailio of a node, its workers too.
func (s *scene) endProxy(t testing.TB, i int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-s.pid(t, fmt.Sprintf("node%d-sip", i)), sig); err != nil {
		t.Fatal(err)
	}
}

// restoreProxy has the Kamailio of a node start anew.
func (s *scene) restoreProxy(t testing.TB, i int) {
	t.Helper()
	name := fmt.Sprintf("node%d-sip", i)
	if s.runs(t, name) { // it stands still
		s.endProxy(t, i, syscall.SIGKILL)
		eventually(t, 10*time.Second, name+" is noticed to be dead", func() bool { return !s.runs(t, name) })
	}
	s.control(t, "start", name)
	s.awaitMembers(t)
}

// dialogs is how many the Kamailio of a node has; -1: it does not say.
func (s *scene) dialogs(t testing.TB, i int) int {
	n, err := s.rpc(t, i).Dialogs(t.Context())
	if err != nil {
		return -1
	}
	return n
}
