package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/identity"
	"thor/overlay"
	"thor/subjects"
)

// A testNet is daemons of this program as child processes on loopback, each with
// its own configuration file and state.
type testNet struct {
	t      *testing.T
	dir    string
	ca     *identity.Authority
	broker string // its URL
}

func newTestNet(t *testing.T) *testNet {
	t.Helper()
	dir := t.TempDir()
	ca, err := identity.Init(filepath.Join(dir, "ca"), "example.net", identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &testNet{t: t, dir: dir, ca: ca, broker: "tls://" + freePort(t)}
}

// freePort is host:port, free for TCP and UDP a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// issue writes NODE.crt and NODE.key.
func (n *testNet) issue(node string, roles ...subjects.Role) {
	n.t.Helper()
	cert, key, err := n.ca.Issue(identity.Request{
		Node: subjects.NodeID(node), Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.write(node+".crt", string(cert))
	n.write(node+".key", string(key))
}

func (n *testNet) write(name, text string) {
	n.t.Helper()
	if err := os.WriteFile(filepath.Join(n.dir, name), []byte(text), 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// configure writes NODE.toml, ten lines of [network] and then text.
func (n *testNet) configure(node, text string) {
	n.t.Helper()
	n.write(node+".toml", fmt.Sprintf(`[network]
domain = "example.net"
brokers = [%q]
certificate = "%s.crt"
key = "%s.key"
ca = "ca/ca.crt"
state = "state-%s"


# line 10
%s`, n.broker, node, node, node, text))
}

// A child is one daemon that runs.
type child struct {
	t      *testing.T
	cmd    *exec.Cmd
	log    string // its file
	ended  chan struct{}
	notify *net.UnixConn // systemd's end
}

// logged is the log so far: a file, so that what was written is there.
func (c *child) logged() string {
	b, err := os.ReadFile(c.log)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// start runs a daemon on NODE.toml until the test ends, and waits for READY=1.
func (n *testNet) start(command, node string) *child {
	n.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	socket := filepath.Join(n.dir, node+".notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		n.t.Fatal(err)
	}
	c := &child{t: n.t, log: filepath.Join(n.dir, node+".log"), ended: make(chan struct{}), notify: notify}
	log, err := os.Create(c.log)
	if err != nil {
		n.t.Fatal(err)
	}
	defer log.Close()
	c.cmd = &exec.Cmd{
		Path: exe, Args: []string{"thor", command, "--config", filepath.Join(n.dir, node+".toml")},
		Env: []string{"NOTIFY_SOCKET=" + socket, "PATH=" + os.Getenv("PATH")}, Stderr: log, Stdout: log,
	}
	if err := c.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	go func() { defer close(c.ended); _ = c.cmd.Wait() }()
	n.t.Cleanup(c.stop)
	c.expect("READY=1")
	return c
}

func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(20 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.ended
		c.t.Errorf("%v did not end at SIGTERM", c.cmd.Args)
	}
	c.notify.Close()
	if code := c.cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Errorf("%v ended with %d", c.cmd.Args, code)
	}
	if c.t.Failed() {
		c.t.Logf("%v\n%s", c.cmd.Args[1:], c.logged())
	}
}

// expect waits for systemd to be told what begins with text, and returns all of it.
func (c *child) expect(text string) string {
	c.t.Helper()
	_ = c.notify.SetReadDeadline(time.Now().Add(30 * time.Second))
	b := make([]byte, 4096)
	for {
		n, err := c.notify.Read(b)
		if err != nil {
			c.t.Fatalf("systemd was not told %s: %v\n%s", text, err, c.logged())
		}
		if strings.HasPrefix(string(b[:n]), text) {
			return string(b[:n])
		}
	}
}

// reload sends SIGHUP, waits for the end of the reload, and returns what was logged meanwhile.
func (c *child) reload() string {
	c.t.Helper()
	before := len(c.logged())
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		c.t.Fatal(err)
	}
	if said := c.expect("RELOADING=1"); !strings.Contains(said, "\nMONOTONIC_USEC=") {
		c.t.Errorf("systemd was told %q", said)
	}
	c.expect("READY=1")
	return c.logged()[before:]
}

// watch is an operator's connection.
func (n *testNet) watch() *overlay.Node {
	n.t.Helper()
	n.issue("ops1", subjects.Operator)
	creds, err := identity.Load(identity.Files{
		Cert: filepath.Join(n.dir, "ops1.crt"), Key: filepath.Join(n.dir, "ops1.key"), CA: filepath.Join(n.dir, "ca", "ca.crt"),
	})
	if err != nil {
		n.t.Fatal(err)
	}
	node, err := overlay.New(overlay.Config{Credentials: creds, Brokers: []string{n.broker}})
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = node.Run(ctx) }()
	n.t.Cleanup(func() { cancel(); <-done })
	return node
}

// await waits for a status of which ok is true.
func await(t *testing.T, node *overlay.Node, what string, ok func(*subjects.Status) bool) *subjects.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for v := range node.Watch(ctx) {
		if v.Status != nil && ok(v.Status) {
			return v.Status
		}
	}
	t.Fatalf("the status never showed: %s", what)
	return nil
}
