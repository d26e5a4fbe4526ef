//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"thor/subjects"
)

// The screen of 2009 has five roles on one address. Here they are four
// processes of one node, which share its certificate and nothing else: the
// death of one takes its own entries along and no other.
func TestFiveRolesInFourProcesses(t *testing.T) {
	n := startNetwork(t, "127.87", "--nodes", "2")
	defer n.keepRole(t, subjects.MediaRelay, "127.87.41.1")() // or the box would be kept as the last of the role
	b := n.newBox(t, "box", "127.87.50.1")
	processes := []struct {
		name  string
		start func() *exec.Cmd
		own   []subjects.Role
	}{
		{"node", func() *exec.Cmd { return b.daemon(t, "node") }, []subjects.Role{subjects.MediaRelay, subjects.SIPProxy}},
		{"dns", func() *exec.Cmd { return b.daemon(t, "dns") }, []subjects.Role{subjects.DNSManager}},
		{"manager", func() *exec.Cmd { return b.daemon(t, "manager") }, []subjects.Role{subjects.Manager}},
		{"monitor", func() *exec.Cmd { return b.monitor(t) }, []subjects.Role{subjects.Monitor}},
	}
	running := make(map[string]*exec.Cmd)
	for _, p := range processes {
		running[p.name] = p.start()
	}
	for _, p := range processes {
		b.await(t, p.name+" is there", subjects.Up, p.own...)
	}
	screen := n.run(t, "monitor", "--once")
	if got := strings.Count(screen, "127.87.50.1"); got != 5 {
		t.Errorf("the monitor shows the address %d times, not under five roles:\n%s", got, screen)
	}
	n.settle(t)
	rec := n.record(t)
	for _, p := range processes {
		t.Logf("kill -9 of the process of %v", p.own)
		rec.mustBe(b.others(p.own))
		if err := running[p.name].Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		b.await(t, p.name+" is gone", "", p.own...)
		_ = running[p.name].Wait() // killed
		running[p.name] = p.start()
		b.await(t, p.name+" is back", subjects.Up, p.own...)
	}
	if f := rec.failures(); len(f) > 0 {
		t.Errorf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
}

// A box is a node of several processes.
type box struct {
	*network
	node subjects.NodeID
	dir  string
}

func (n *network) newBox(t *testing.T, node, ip string) *box {
	t.Helper()
	b := &box{network: n, node: subjects.NodeID(node), dir: filepath.Join(n.dir, node)}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	args := []string{"ca", "issue", "--node", node, "--ip", ip, "--out", filepath.Join(b.dir, "node")}
	for _, r := range []subjects.Role{subjects.MediaRelay, subjects.SIPProxy, subjects.DNSManager, subjects.Manager, subjects.Monitor} {
		args = append(args, "--role", string(r))
	}
	n.run(t, args...)
	spawn(t, b.dir, thor, "sip-responder", "--listen", ip+":5060")
	for name, section := range map[string]string{
		"node": fmt.Sprintf("[[node.role]]\nrole = \"media_relay\"\n[[node.role.check]]\nkind = \"tcp\"\ntarget = \"%s:5060\"\ninterval = \"500ms\"\n"+
			"[[node.role]]\nrole = \"sip_proxy\"\n[[node.role.check]]\nkind = \"sip\"\ntarget = \"%s:5060\"\ninterval = \"500ms\"\n", ip, ip),
		"dns":     fmt.Sprintf("[dns]\nlisten = [\"%s:5353\"]\n", ip),
		"manager": "[manager]\npriority = 60\n",
	} {
		toml := fmt.Sprintf("[network]\ndomain = %q\nbrokers = [\"%s\"]\ncertificate = \"node.crt\"\nkey = \"node.key\"\nca = %q\nstate = \"%s.state\"\n%s",
			n.domain, strings.Join(n.Brokers, `", "`), n.Operator.CA, name, section)
		if err := os.WriteFile(filepath.Join(b.dir, name+".toml"), []byte(toml), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *box) daemon(t *testing.T, name string) *exec.Cmd {
	return spawn(t, b.dir, thor, name, "--config", name+".toml")
}

// monitor runs the terminal monitor on a terminal, as a member.
func (b *box) monitor(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(thor, "monitor", "--myself", "--config", "node.toml")
	cmd.Dir = b.dir
	cmd.Env = append(os.Environ(), "TERM=xterm-256color")
	terminal, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 110, Rows: 30})
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, terminal) }() // ends with the monitor
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = terminal.Close()
	})
	return cmd
}

// await waits until the box has all of the roles in a state, or has them no more.
func (b *box) await(t *testing.T, what string, state subjects.State, roles ...subjects.Role) {
	t.Helper()
	eventually(t, 15*time.Second, what, func() bool {
		s := b.status()
		return !slices.ContainsFunc(roles, func(r subjects.Role) bool {
			m := s.Member(r, b.node)
			return state == "" && m != nil || state != "" && (m == nil || m.State != state)
		})
	})
}

// others are all entries of the status that are up, but for the box's own roles.
func (b *box) others(own []subjects.Role) (out []entry) {
	for role, ms := range b.status().Roles {
		for _, m := range ms {
			if m.State == subjects.Up && (m.Node != b.node || !slices.Contains(own, role)) {
				out = append(out, entry{role, m.Node})
			}
		}
	}
	return out
}
