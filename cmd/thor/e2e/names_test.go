//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

const (
	namesNet  = "127.86"
	namesTTL  = 10 * time.Second // of a role's records
	detection = 3 * time.Second  // of a service that died, by the checks of thor up
)

// namesServer answers calls by itself, statelessly.
const namesServer = `#!KAMAILIO
debug=1
log_stderror=yes
disable_tcp=no
listen=udp:%[1]s:5060
listen=tcp:%[1]s:5060
loadmodule "sl.so"
loadmodule "textops.so"
request_route {
	if (method == "ACK") exit;
	append_to_reply("Contact: <sip:test@%[1]s:5060>\r\n");
	sl_send_reply("200", "OK");
}
`

// namesEdge relays calls to whom DNS names for the domain, and to the next if one does not
// answer.
const namesEdge = `#!KAMAILIO
debug=1
log_stderror=yes
children=4
disable_tcp=yes
listen=udp:%s:5060
dns_try_naptr=off
use_dns_cache=on
use_dns_failover=on
dns_srv_lb=on
dns_retr_time=1
dns_retr_no=2
loadmodule "tm.so"
loadmodule "sl.so"
modparam("tm", "fr_timer", 700)
modparam("tm", "fr_inv_timer", 5000)
request_route {
	if (method == "ACK") exit;
	seturi("sip:test@%s");
	t_relay();
}
`

// Resolvers with caches, callers that know a name alone, and a proxy with a resolver of
// its own follow the members.
func TestCallersFindMembersByName(t *testing.T) {
	kamailio, sipp := need(t, "kamailio", "kamailio"), need(t, "sipp", "sip-tester")
	needRoot(t, "port 53 and a resolv.conf of its own")
	n := startNetwork(t, namesNet)
	for i := 1; i <= 3; i++ {
		n.answersCalls(t, i)
	}
	r := n.resolvers(t)
	direct := n.resolve(t)
	eventually(t, 20*time.Second, "three members in both name servers", func() bool { return direct.everywhere("node1", "node2", "node3") })
	cached := newResolver(n.domain, r, 100*time.Millisecond, dns.TypeSRV, dns.TypeA)
	cached.addresses = direct.addresses
	for _, s := range cached.servers {
		cached.wg.Go(func() { cached.ask(s, cached.types...) })
	}
	t.Cleanup(cached.end)
	eventually(t, namesTTL+5*time.Second, "three members in both resolvers", func() bool { return cached.everywhere("node1", "node2", "node3") })

	edge := n.edge(t, kamailio, r[0])
	calls := &caller{t: t, sipp: sipp, dir: t.TempDir()}
	for i, resolver := range r {
		calls.keep(fmt.Sprintf("%s.50.%d", namesNet, i+1), n.domain, resolver)
	}
	calls.keep(namesNet+".50.3", edge, "")
	t.Cleanup(func() { calls.end() })

	t.Log("(a) a member drains: no call fails, and resolvers forget it within its TTL")
	n.run(t, "drain", "node3")
	eventually(t, 5*time.Second, "node3 is out of DNS", func() bool { return direct.everywhere("node1", "node2") })
	eventually(t, namesTTL+2*time.Second, "node3 is out of both resolvers", func() bool { return cached.everywhere("node1", "node2") })
	n.control(t, "stop", "node3-sip")
	calls.all(t, 6, "while a member left") // nobody calls what nobody names
	n.control(t, "start", "node3-sip")
	n.run(t, "resume", "node3")
	eventually(t, 15*time.Second, "node3 is back", func() bool { return direct.everywhere("node1", "node2", "node3") })
	eventually(t, namesTTL+2*time.Second, "node3 is back in both resolvers", func() bool { return cached.everywhere("node1", "node2", "node3") })
	if f := calls.failures(""); len(f) > 0 {
		t.Errorf("calls failed while members came and went as planned:\n%s", strings.Join(f, "\n"))
	}

	t.Log("(b) a member dies: the proxy fails over at once, the others when its TTL has passed")
	n.control(t, "stop", "node1-sip")
	eventually(t, detection, "node1 is out of DNS", func() bool { return direct.everywhere("node2", "node3") })
	eventually(t, namesTTL+2*time.Second, "node1 is out of both resolvers", func() bool { return cached.everywhere("node2", "node3") })
	calls.forget() // those that were placed before
	calls.all(t, 9, "after a member died")
	if f := calls.failures(""); len(f) > 0 {
		t.Errorf("calls failed after every resolver had forgotten the dead member:\n%s", strings.Join(f, "\n"))
	}
	calls.end()
	if f := calls.everFailed(namesNet + ".50.3"); len(f) > 0 {
		t.Errorf("the proxy did not fail over:\n%s", strings.Join(f, "\n"))
	}
	t.Logf("%s", calls)
	direct.end()
	cached.end()
	for _, f := range append(direct.failures(), cached.failures()...) {
		t.Error(f)
	}
	n.compareNameServers(t)
}

// compareNameServers has the command compare them, both and one.
func (n *network) compareNameServers(t *testing.T) {
	t.Helper()
	n.settle(t)
	if out := n.run(t, "dns", "check", "--no-parent"); !strings.Contains(out, "server dns2") || !strings.HasSuffix(out, "\nno differences\n") {
		t.Errorf("two name servers:\n%s", out)
	}
	n.kill9(t, "dns2")
	if out := n.run(t, "dns", "check", "--no-parent", "--wait", "1s"); !strings.Contains(out, "DIFFERS unreachable dns2: ") && strings.Contains(out, "dns2") {
		t.Errorf("one of them is dead:\n%s", out)
	}
}

// answersCalls has the SIP server of a node of thor up answer calls, which need no account.
func (n *network) answersCalls(t *testing.T, node int) {
	t.Helper()
	name := fmt.Sprintf("node%d-sip", node)
	n.control(t, "stop", name)
	file := filepath.Join(n.dir, name, "kamailio.cfg")
	if err := os.WriteFile(file, fmt.Appendf(nil, namesServer, fmt.Sprintf("%s.20.%d", namesNet, node)), 0o600); err != nil {
		t.Fatal(err)
	}
	n.control(t, "start", name)
}

// resolvers runs unbound and BIND, which ask the network's name servers and cache what they
// hear. It returns where they answer.
func (n *network) resolvers(t *testing.T) []string {
	t.Helper()
	unbound, named := need(t, "unbound", "unbound"), need(t, "named", "bind9")
	var stub, forward strings.Builder
	for _, s := range n.DNS {
		host, port, _ := net.SplitHostPort(s)
		fmt.Fprintf(&stub, "\tstub-addr: %s@%s\n", host, port)
		fmt.Fprintf(&forward, "%s port %s; ", host, port)
	}
	addresses := []string{namesNet + ".30.1", namesNet + ".30.2"}
	file := func(name, format string, args ...any) string {
		dir := filepath.Join(n.dir, name)
		path := filepath.Join(dir, "conf")
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(path, fmt.Appendf(nil, format, args...), 0o600)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := file("unbound", `server:
	interface: %s
	access-control: 127.0.0.0/8 allow
	directory: %q
	chroot: ""
	username: ""
	pidfile: ""
	do-daemonize: no
	use-syslog: no
	do-not-query-localhost: no
	num-threads: 1
	module-config: "iterator"
	local-zone: "test." nodefault
remote-control:
	control-enable: no
stub-zone:
	name: %s
%s`, addresses[0], filepath.Join(n.dir, "unbound"), n.domain, &stub)
	spawn(t, filepath.Dir(conf), unbound, "-d", "-c", conf)
	// BIND listens at addresses that an interface has, and not at all that reach the host.
	if out, err := exec.Command("ip", "addr", "replace", addresses[1]+"/32", "dev", "lo").CombinedOutput(); err != nil {
		t.Fatalf("ip addr: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("ip", "addr", "del", namesNet+".30.2/32", "dev", "lo").Run() })
	conf = file("named", `options {
	directory %q;
	listen-on port 53 { %s; };
	listen-on-v6 { none; };
	pid-file none;
	session-keyfile none;
	recursion yes;
	allow-query { 127.0.0.0/8; };
	dnssec-validation no;
	managed-keys-directory ".";
	empty-zones-enable no;
};
controls { };
zone %q { type forward; forward only; forwarders { %s}; };
`, filepath.Join(n.dir, "named"), addresses[1], n.domain, &forward)
	spawn(t, filepath.Dir(conf), named, "-g", "-n", "1", "-c", conf)
	for i := range addresses {
		addresses[i] = net.JoinHostPort(addresses[i], "53")
		eventually(t, 20*time.Second, addresses[i]+" resolves", func() bool {
			var q dns.Msg
			a, _, err := (&dns.Client{Timeout: time.Second}).Exchange(q.SetQuestion("proxy."+n.domain+".", dns.TypeA), addresses[i])
			return err == nil && len(a.Answer) > 0
		})
	}
	return addresses
}

// withResolver are the arguments that run a program with a resolv.conf of its own.
func withResolver(t testing.TB, dir, resolver string, argv ...string) []string {
	t.Helper()
	if resolver == "" {
		return argv
	}
	host, _, _ := net.SplitHostPort(resolver)
	file := filepath.Join(dir, "resolv.conf."+host)
	if err := os.WriteFile(file, []byte("nameserver "+host+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return append([]string{"unshare", "-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file}, argv...)
}

// edge runs a proxy that finds the members by the resolver, and returns its address.
func (n *network) edge(t *testing.T, kamailio, resolver string) string {
	t.Helper()
	dir, at := filepath.Join(n.dir, "edge"), namesNet+".40.1"
	file := filepath.Join(dir, "kamailio.cfg")
	if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(file, fmt.Appendf(nil, namesEdge, at, n.domain), 0o600)); err != nil {
		t.Fatal(err)
	}
	argv := withResolver(t, dir, resolver, kamailio, "-DD", "-E", "-f", file, "-P", filepath.Join(dir, "pid"), "-Y", dir, "-w", dir, "-m", "32", "-M", "4")
	spawn(t, dir, argv[0], argv[1:]...)
	return at
}

// A caller places one call after the other from several addresses, each a SIPp of its own:
// it resolves a name once only.
type caller struct {
	t    *testing.T
	sipp string
	dir  string
	stop chan struct{}
	wg   sync.WaitGroup

	mu     sync.Mutex
	placed map[string]int
	good   map[string]int
	failed []failedCall
	since  int // of failed: those before are forgotten
	ended  bool
}

type failedCall struct {
	from, text string
	started    time.Time
}

// keep places calls to a host, "proxy." in front of a domain, until end.
func (c *caller) keep(from, to, resolver string) {
	if c.stop == nil {
		c.stop, c.placed, c.good = make(chan struct{}), make(map[string]int), make(map[string]int)
	}
	if resolver != "" {
		to = "proxy." + to
	}
	c.wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-c.stop:
				return
			default:
			}
			c.call(from, to, resolver, 6000+i%1000)
		}
	})
}

func (c *caller) call(from, to, resolver string, port int) {
	began := time.Now()
	argv := withResolver(c.t, c.dir, resolver, c.sipp, to+":5060", "-sn", "uac", "-m", "1", "-d", "10", "-i", from, "-p", strconv.Itoa(port),
		"-recv_timeout", "3000", "-timeout", "6s", "-timeout_error", "-nostdin")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = c.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.placed[from]++
	if err == nil {
		c.good[from]++
		return
	}
	text := fmt.Sprintf("%s from %s to %s: %v after %s\n%s", began.Format("15:04:05.000"), from, to, err, time.Since(began), out[max(0, len(out)-1500):])
	c.failed = append(c.failed, failedCall{from, text, began})
}

// all waits until each caller has placed so many more calls.
func (c *caller) all(t *testing.T, more int, what string) {
	t.Helper()
	count := func() map[string]int {
		c.mu.Lock()
		defer c.mu.Unlock()
		out := make(map[string]int)
		for from, n := range c.placed {
			out[from] = n
		}
		return out
	}
	before := count()
	eventually(t, 60*time.Second, fmt.Sprintf("%d calls of each %s", more, what), func() bool {
		now := count()
		for from := range now {
			if now[from] < before[from]+more {
				return false
			}
		}
		return len(now) == 3
	})
}

// forget waits for the calls under way and forgets what failed until now.
func (c *caller) forget() {
	c.all(c.t, 1, "that were under way")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = len(c.failed)
}

// failures are those of one caller, or of all, that are not forgotten.
func (c *caller) failures(from string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return texts(c.failed[c.since:], from)
}

// everFailed are those of one caller since the start.
func (c *caller) everFailed(from string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return texts(c.failed, from)
}

func texts(calls []failedCall, from string) (out []string) {
	for _, f := range calls {
		if from == "" || f.from == from {
			out = append(out, f.text)
		}
	}
	return out
}

func (c *caller) end() {
	c.mu.Lock()
	first := !c.ended && c.stop != nil
	c.ended = true
	c.mu.Unlock()
	if first {
		close(c.stop)
	}
	c.wg.Wait()
}

func (c *caller) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []string
	for from, n := range c.placed {
		parts = append(parts, fmt.Sprintf("%d of %d calls of %s", c.good[from], n, from))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
