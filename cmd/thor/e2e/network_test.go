//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/identity"
	"thor/subjects"
)

// The main job: a network of real servers is hurt in every way its operator
// knows, and at no time does a name server give an empty or failed answer, nor
// does the status go back at an observer.
func TestNetworkHealsItself(t *testing.T) {
	need(t, "kamailio", "kamailio")
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.84")
	relay := n.addRelay(t)
	mail := n.addVoicemail(t)
	dns, rec := n.resolve(t), n.record(t)

	t.Log("(a) all three proxies in DNS, all roles in the monitor")
	eventually(t, 10*time.Second, "three proxies in both name servers", func() bool { return dns.everywhere("node1", "node2", "node3") })
	eventually(t, 20*time.Second, "relay and voicemail are members", func() bool {
		s := n.status()
		return s.Member(subjects.MediaRelay, "relay1") != nil && s.Member(subjects.VoicemailServer, "mail1") != nil
	})
	eventually(t, 20*time.Second, "the database is up", func() bool {
		m := n.status().Member(subjects.Database, "database1")
		return m != nil && m.State == subjects.Up
	})
	screen := n.run(t, "monitor", "--once")
	for _, want := range []string{"sip_proxy members:", "127.84.20.1", "127.84.20.3", "media_relay members:", "thor_database members:"} {
		if !strings.Contains(screen, want) {
			t.Errorf("the monitor does not show %q:\n%s", want, screen)
		}
	}

	t.Log("(b) one Kamailio stops, its agent lives; (c) it starts again")
	agent := n.pid(t, "node1")
	n.control(t, "stop", "node1-sip")
	eventually(t, 5*time.Second, "node1 is gone from DNS", func() bool { return dns.everywhere("node2", "node3") })
	if n.pid(t, "node1") != agent {
		t.Error("the agent of node1 did not live on")
	}
	n.control(t, "start", "node1-sip")
	eventually(t, 15*time.Second, "node1 is back", func() bool { return dns.everywhere("node1", "node2", "node3") })

	t.Log("(d) kill -9 of an agent; (e) it restarts")
	n.kill9(t, "node2")
	eventually(t, 5*time.Second, "node2 is gone from DNS", func() bool { return dns.everywhere("node1", "node3") })
	n.control(t, "start", "node2")
	eventually(t, 15*time.Second, "node2 is back", func() bool { return dns.everywhere("node1", "node2", "node3") })

	t.Log("(f) drain and resume")
	n.run(t, "drain", "node3")
	eventually(t, 5*time.Second, "node3 is out of DNS", func() bool { return dns.everywhere("node1", "node2") })
	n.run(t, "resume", "node3")
	eventually(t, 5*time.Second, "node3 is back", func() bool { return dns.everywhere("node1", "node2", "node3") })

	t.Log("(g) SIGTERM of a node")
	n.control(t, "stop", "node1")
	eventually(t, 5*time.Second, "node1 is gone from DNS", func() bool { return dns.everywhere("node2", "node3") })
	n.control(t, "start", "node1")
	eventually(t, 15*time.Second, "node1 is back", func() bool { return dns.everywhere("node1", "node2", "node3") })

	rec.must("node1", "node2", "node3")
	t.Log("(h) kill -9 of the active manager")
	before := n.status()
	n.kill9(t, string(before.Manager))
	eventually(t, 20*time.Second, "a new epoch", func() bool { return n.status().Epoch > before.Epoch })
	n.control(t, "start", string(before.Manager))

	t.Log("(i) kill -9 of a broker with members on it: nobody vanishes")
	broker, members := rec.busiest()
	t.Logf("%d of the proxies are connected to %s", members, broker)
	if members == 0 {
		t.Fatal("no proxy says to which broker it is connected")
	}
	n.kill9(t, broker)
	n.hold(t, dns, 15*time.Second)
	n.control(t, "start", broker)
	n.settle(t)

	t.Log("(j) all brokers and managers dead for 20 s")
	control := []string{"broker1", "broker2", "broker3", "manager1", "manager2", "manager3"}
	for _, p := range control {
		n.kill9(t, p)
	}
	n.hold(t, dns, 20*time.Second)
	epoch := n.status().Epoch
	n.control(t, "start", control...)
	eventually(t, 40*time.Second, "a status by a new manager", func() bool { return n.status().Epoch > epoch && n.view.View().Connected })
	n.settle(t)
	n.hold(t, dns, 15*time.Second)

	t.Log("(k) MariaDB stops and returns")
	n.control(t, "stop", "mariadb")
	eventually(t, 15*time.Second, "the only location is suspect, with the reason", func() bool {
		m := n.status().Member(subjects.Database, "database1")
		return m != nil && m.State == subjects.Suspect && m.Reason != ""
	})
	n.control(t, "start", "mariadb")
	eventually(t, 30*time.Second, "the database is up again", func() bool {
		m := n.status().Member(subjects.Database, "database1")
		return m != nil && m.State == subjects.Up
	})

	t.Log("(l) a certificate is revoked")
	rec.must("node1", "node2")
	node3 := n.credentials(t, "node3")
	for _, b := range n.Brokers {
		if err := knock(node3, b); err != nil {
			t.Errorf("%s refuses node3 before the revocation: %v", b, err)
		}
	}
	n.run(t, "ca", "revoke", "node3")
	if took := eventually(t, 5*time.Second, "node3 is gone from both name servers", func() bool { return dns.everywhere("node1", "node2") }); took > time.Second {
		t.Errorf("revocation took %s, must be 1 s", took)
	}
	for _, b := range n.Brokers {
		if err := knock(node3, b); !isRefusal(err) {
			t.Errorf("%s does not refuse node3's revoked certificate: %v", b, err)
		}
	}
	n.holdFor(t, 5*time.Second, "node3 stays out", func() bool { return dns.everywhere("node1", "node2") })

	t.Log("(m) the brokers are upgraded by a rolling restart")
	for i := 1; i <= 3; i++ {
		b := fmt.Sprintf("broker%d", i)
		n.control(t, "stop", b)
		n.control(t, "start", b)
		n.settle(t)
		n.replicated(t) // or the next restart takes the last copy of the lease along
	}
	n.holdFor(t, 12*time.Second, "DNS answers stay as they are", func() bool { return dns.everywhere("node1", "node2") })

	dns.end()
	if f := append(dns.failures(), rec.failures()...); len(f) > 0 {
		t.Errorf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
	t.Logf("%d DNS queries, %d statuses seen, %d ticks and deltas heard", dns.queries.Load(), rec.updates, rec.raw)
	for _, p := range []*exec.Cmd{relay, mail} {
		if p.ProcessState != nil {
			t.Errorf("%s ended by itself", p.Path)
		}
	}
}

// credentials are those of a process of thor up.
func (n *network) credentials(t testing.TB, node string) *identity.Credentials {
	t.Helper()
	in := func(name string) string { return filepath.Join(n.dir, node, name) }
	c, err := identity.Load(identity.Files{Cert: in("node.crt"), Key: in("node.key"), CA: in("ca.crt")})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// hold asserts that DNS keeps answering with all three for d.
func (n *network) hold(t *testing.T, dns *resolver, d time.Duration) {
	t.Helper()
	n.holdFor(t, d, "DNS answers stay as they are", func() bool { return dns.everywhere("node1", "node2", "node3") })
}

func (n *network) holdFor(t *testing.T, d time.Duration, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); <-time.After(20 * time.Millisecond) {
		if !cond() {
			t.Fatalf("did not hold: %s", what)
		}
	}
	t.Logf("%6d ms  %s", d.Milliseconds(), what)
}

// replicated waits until all three brokers hold the election's bucket.
func (n *network) replicated(t *testing.T) {
	t.Helper()
	eventually(t, 60*time.Second, "the election's bucket has three copies", func() bool {
		js, err := jetstream.New(n.view.Conn())
		if err != nil {
			return false
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		s, err := js.Stream(ctx, "KV_"+subjects.ElectionBucket)
		if err != nil {
			return false
		}
		c := s.CachedInfo().Cluster
		return c != nil && c.Leader != "" && len(c.Replicas) == 2 && !slices.ContainsFunc(c.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
	})
}

// settle waits until all brokers announce themselves and a manager leads.
func (n *network) settle(t testing.TB) {
	t.Helper()
	eventually(t, 60*time.Second, "at least three brokers and three managers are up", func() bool {
		s := n.status()
		for _, role := range []subjects.Role{subjects.EventServer, subjects.Manager} {
			up := 0
			for _, m := range s.Roles[role] {
				if m.State == subjects.Up {
					up++
				}
			}
			if up < 3 {
				return false
			}
		}
		v := n.view.View()
		return v.Connected && !v.Stale
	})
}

// addNode issues a certificate and runs one more node agent beside the network.
func (n *network) addNode(t testing.TB, node, ip string, roles string, toml string) *exec.Cmd {
	t.Helper()
	dir := filepath.Join(n.dir, node)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"ca", "issue", "--node", node, "--ip", ip, "--out", filepath.Join(dir, "node")}
	for r := range strings.FieldsSeq(roles) {
		args = append(args, "--role", r)
	}
	n.run(t, args...)
	ca, err := os.ReadFile(n.Operator.CA)
	if err != nil {
		t.Fatal(err)
	}
	head := fmt.Sprintf("[network]\ndomain = %q\nbrokers = [\"%s\"]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = \"ca.crt\"\nstate = \"state\"\n",
		n.domain, strings.Join(n.Brokers, `", "`))
	for name, data := range map[string]string{"ca.crt": string(ca), "thor.toml": head + toml} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return spawn(t, dir, thor, "node", "--config", filepath.Join(dir, "thor.toml"))
}

// spawn runs a program until the test ends, its output in dir/log.
func spawn(t testing.TB, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd
}

// addRelay runs a real rtpengine and its agent.
func (n *network) addRelay(t *testing.T) *exec.Cmd {
	t.Helper()
	bin := need(t, "rtpengine", "rtpengine-daemon")
	dir := filepath.Join(n.dir, "rtpengine")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	rtp := spawn(t, dir, bin, "--foreground", "--config-file=none", "--table=-1", "--interface=127.84.30.1", "--listen-ng=127.84.30.1:2223",
		"--log-stderr", "--pidfile="+filepath.Join(dir, "pid"), "--port-min=30000", "--port-max=30100", "--num-threads=1")
	n.addNode(t, "relay1", "127.84.30.1", "media_relay", `
[[node.role]]
role = "media_relay"
[[node.role.check]]
kind = "rtpengine"
target = "127.84.30.1:2223"
interval = "500ms"
`)
	return rtp
}

// addVoicemail runs a SIPp as answering machine and its agent.
func (n *network) addVoicemail(t *testing.T) *exec.Cmd {
	t.Helper()
	bin := need(t, "sipp", "sip-tester")
	dir := filepath.Join(n.dir, "sipp")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const scenario = `<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="answer OPTIONS">
  <recv request="OPTIONS" crlf="true"></recv>
  <send><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:];tag=[pid]SIPpTag01[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0

  ]]></send>
</scenario>
`
	if err := os.WriteFile(filepath.Join(dir, "uas.xml"), []byte(scenario), 0o600); err != nil {
		t.Fatal(err)
	}
	port := 5060
	cmd := spawn(t, dir, bin, "-sf", filepath.Join(dir, "uas.xml"), "-i", "127.84.31.1", "-p", strconv.Itoa(port), "-nostdin")
	n.addNode(t, "mail1", "127.84.31.1", "voicemail_server", fmt.Sprintf(`
[[node.role]]
role = "voicemail_server"
[[node.role.check]]
kind = "sip"
target = %q
interval = "1s"
`, net.JoinHostPort("127.84.31.1", strconv.Itoa(port))))
	return cmd
}
