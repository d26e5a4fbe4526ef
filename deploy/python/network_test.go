package python_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/identity"
	"thor/manager"
	"thor/nodeagent"
	"thor/nodeagent/control"
	"thor/nodeagent/join"
	"thor/nodeagent/local"
	"thor/overlay"
	"thor/subjects"
)

const patience = 30 * time.Second

// python is Debian's: other ones do not see its packages.
const python = "/usr/bin/python3"

// needTwisted skips where the package cannot run; CI installs what it needs.
func needTwisted(t *testing.T) {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import twisted, OpenSSL, cryptography").CombinedOutput(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("%v: %s", err, out)
		}
		t.Skip("needs python3-twisted and python3-openssl")
	}
}

// A network is a broker, an active manager, and members.
type network struct {
	*testing.T
	brokers *brokertest.Net
	manager *overlay.Node
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	needTwisted(t)
	n := &network{T: t, brokers: brokertest.Start(t)}
	n.manager, _ = n.connect(n.brokers.Credentials("m1", subjects.Manager))
	m, err := manager.New(manager.Config{
		Overlay: n.manager, Domain: brokertest.Domain, Addresses: n.manager.Identity().Addresses, Lookup: map[subjects.Role]int{subjects.SIPProxy: 10},
	})
	if err != nil {
		t.Fatal(err)
	}
	running(t, "manager", m.Run)
	return n
}

// running runs something until stop, or the end of the test.
func running(t *testing.T, what string, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// files are those of a node at an address.
func (n *network) files(node, address string, roles ...subjects.Role) identity.Files {
	return n.brokers.Issue(identity.Request{Node: subjects.NodeID(node), Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr(address)}})
}

func (n *network) credentials(f identity.Files) *identity.Credentials {
	n.Helper()
	c, err := identity.Load(f)
	if err != nil {
		n.Fatal(err)
	}
	return c
}

func (n *network) connect(c *identity.Credentials) (on *overlay.Node, stop func()) {
	n.Helper()
	on, err := overlay.New(overlay.Config{Credentials: c, Brokers: n.brokers.URLs(), StateDir: n.TempDir()})
	if err != nil {
		n.Fatal(err)
	}
	return on, running(n.T, "overlay", on.Run)
}

// join adds a member that is a process of its own.
func (n *network) join(node, address string, m overlay.Member) (*overlay.Node, *overlay.Membership) {
	n.Helper()
	on, _ := n.connect(n.credentials(n.files(node, address, m.Role)))
	ms, err := on.Join(m)
	if err != nil {
		n.Fatal(err)
	}
	return on, ms
}

// await waits until the members of role are as described: "node state, …".
func (n *network) await(role subjects.Role, want string) {
	n.Helper()
	brokertest.Eventually(n.T, patience, string(role), func() error {
		var got []string
		if s := n.manager.View().Status; s != nil {
			for _, m := range s.Roles[role] {
				got = append(got, fmt.Sprintf("%s %s", m.Node, m.State))
			}
		}
		if text := strings.Join(got, ", "); text != want {
			return fmt.Errorf("%q, want %q", text, want)
		}
		return nil
	})
}

// An agent is the node agent of the machine on which programs run.
type agent struct {
	*network
	socket string
	roles  []nodeagent.RoleConfig
	creds  *identity.Credentials
	files  identity.Files
	env    []string // of its programs

	changed chan string // keys that the control port was told of
	port    *control.Port

	agent *nodeagent.Agent
	node  *overlay.Node
	stop  func()
}

func (n *network) newAgent(roles ...nodeagent.RoleConfig) *agent {
	n.Helper()
	dir, err := os.MkdirTemp("", "p") // short: a socket's name is
	if err != nil {
		n.Fatal(err)
	}
	n.Cleanup(func() { _ = os.RemoveAll(dir) })
	var names []subjects.Role
	for _, r := range roles {
		names = append(names, r.Role)
	}
	files := n.files("node1", "127.0.93.1", names...)
	return &agent{network: n, socket: filepath.Join(dir, "s"), roles: roles, files: files, creds: n.credentials(files), changed: make(chan string, 100)}
}

func byProgram(role subjects.Role) nodeagent.RoleConfig {
	return nodeagent.RoleConfig{Role: role, Checks: []nodeagent.CheckConfig{{Kind: nodeagent.Program}}}
}

// start begins the agent's process, as it were.
func (a *agent) start() {
	a.Helper()
	var stopNet func()
	a.node, stopNet = a.connect(a.creds)
	var err error
	if a.agent, err = nodeagent.New(nodeagent.Config{Overlay: a.node, Roles: a.roles}); err != nil {
		a.Fatal(err)
	}
	log := zerolog.New(zerolog.NewTestWriter(a.T))
	programs := join.New(a.agent, a.node, log)
	here, err := local.New(local.Config{Source: a.node, Socket: a.socket, Group: -1, SocketPages: programs.Pages()})
	if err != nil {
		a.Fatal(err)
	}
	a.port, err = control.New(control.Config{
		Listen: "127.0.93.1:0", Credentials: a.creds, View: a.node.View, Programs: programs.Command, Log: log,
		Changed: func(_ context.Context, key string) error { a.changed <- key; return nil },
	})
	if err != nil {
		a.Fatal(err)
	}
	stopPort := running(a.T, "control port", a.port.Run)
	<-a.port.Ready()
	stopAgent := running(a.T, "agent", a.agent.Run)
	stopHere := running(a.T, "local", here.Run)
	a.stop = func() { stopPort(); stopAgent(); stopHere(); stopNet() }
	<-here.Ready()
}

// A program is tests/program.py.
type program struct {
	*agent
	cmd    *exec.Cmd
	in     io.WriteCloser
	lines  chan map[string]any
	seen   []string // the newest lines
	ended  chan error
	ticked map[string]any // the line about its recurrent call; nil: not yet
}

func (a *agent) run(roles ...string) *program {
	a.Helper()
	conf := a.TempDir()
	if err := os.Mkdir(filepath.Join(conf, "tls"), 0o700); err != nil {
		a.Fatal(err)
	}
	for name, from := range map[string]string{"node.crt": a.files.Cert, "node.key": a.files.Key, "ca.pem": a.files.CA} {
		b, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(filepath.Join(conf, "tls", name), b, 0o600)
		}
		if err != nil {
			a.Fatal(err)
		}
	}
	p := &program{agent: a, lines: make(chan map[string]any, 1000), ended: make(chan error, 1)}
	p.cmd = exec.Command(python, append([]string{"-X", "dev", "-W", "error::ResourceWarning", "tests/program.py", "127.0.93.1"}, roles...)...)
	p.cmd.Env = append(os.Environ(), "PYTHONPATH=.", "PYTHONDONTWRITEBYTECODE=1", "THOR_SOCKET="+a.socket, "THOR_CONFIG_DIR="+conf)
	p.cmd.Env = append(p.cmd.Env, a.env...)
	p.cmd.Stderr = &logged{t: a.T}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		p.in, err = p.cmd.StdinPipe()
	}
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		a.Fatal(err)
	}
	go func() {
		s := bufio.NewScanner(out)
		s.Buffer(nil, 1<<20)
		for s.Scan() {
			var v map[string]any
			if json.Unmarshal(s.Bytes(), &v) != nil {
				v = map[string]any{"text": s.Text()}
			}
			p.lines <- v
		}
		close(p.lines)
		p.ended <- p.cmd.Wait()
	}()
	a.Cleanup(func() { _ = p.cmd.Process.Kill() })
	return p
}

// logged is standard error of a program, as lines of the test's log.
type logged struct{ t *testing.T }

func (l *logged) Write(b []byte) (int, error) {
	l.t.Logf("program: %s", strings.TrimSpace(string(b)))
	return len(b), nil
}

// command has the program do something.
func (p *program) command(words ...string) {
	p.Helper()
	if _, err := fmt.Fprintln(p.in, strings.Join(words, " ")); err != nil {
		p.Error(err)
	}
}

// expect waits for a line that has the key and is what ok wants; it returns it.
func (p *program) expect(key string, ok func(map[string]any) error) map[string]any {
	p.Helper()
	last := errors.New("no such line")
	end := time.After(patience)
	for {
		select {
		case l, more := <-p.lines:
			if !more {
				p.Fatalf("the program ended before %q: %v, after %v", key, last, p.seen)
			}
			p.seen = append(p.seen[max(0, len(p.seen)-9):], fmt.Sprint(l))
			if _, has := l["ticks"]; has { // said once, at any time
				p.ticked = l
			}
			if _, has := l[key]; !has {
				continue
			}
			if last = ok(l); last == nil {
				return l
			}
		case <-end:
			p.Fatalf("%q: %v, after %v", key, last, p.seen)
		}
	}
}

// is says that the value of a key prints as text.
func is(key, text string) func(map[string]any) error {
	return func(l map[string]any) error {
		if got := fmt.Sprint(l[key]); got != text {
			return fmt.Errorf("%s is %s, want %s", key, got, text)
		}
		return nil
	}
}

// members waits for an event with these members of the role, by node.
func (p *program) members(role string, nodes ...any) {
	p.Helper()
	p.expect("event", func(l map[string]any) error {
		of, _ := l["members"].(map[string]any)
		if got := fmt.Sprint(of[role]); got != fmt.Sprintf("%v", nodes) && (len(nodes) > 0 || of[role] != nil) {
			return fmt.Errorf("%s is %s, want %v", role, got, nodes)
		}
		return nil
	})
}

// exit waits for the end of the program, which is no failure.
func (p *program) exit() {
	p.Helper()
	for range p.lines {
	}
	if err := <-p.ended; err != nil {
		p.Errorf("the program ended: %v", err)
	}
}
