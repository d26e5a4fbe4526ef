//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"thor/overlay"
	"thor/subjects"
)

// What other people's tools see: the nats command line tool with an operator's
// certificate, and a member in another language under a made-up role.
func TestOutsiders(t *testing.T) {
	n := startNetwork(t, "127.86", "--nodes", "2", "--damping=false") // the member comes and goes like one that flaps
	t.Run("nats tool", func(t *testing.T) { n.natsTool(t) })
	t.Run("member in Python", func(t *testing.T) { n.pythonMember(t) })
	t.Run("member in JavaScript", func(t *testing.T) { n.foreignMember(t) })
}

func (n *network) natsTool(t *testing.T) {
	bin := need(t, "nats", "none; go install github.com/nats-io/natscli/nats@v0.5.1")
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	n.run(t, "context", "--name", "under-test")
	tool := func(args ...string) string {
		t.Helper()
		cmd := exec.Command(bin, append([]string{"--context", "under-test"}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("nats %s: %v\n%s%s", strings.Join(args, " "), err, out, stderr.String())
		}
		return string(out)
	}
	if out := tool("sub", "thor.role.sip_proxy", "--count", "1", "--raw", "--wait", "10s"); !strings.Contains(out, `"node":"node1"`) {
		t.Errorf("the live view of a role: %s", out)
	}
	if out := tool("sub", "thor.>", "--count", "3", "--raw", "--wait", "10s"); !strings.Contains(out, `"v":1`) {
		t.Errorf("sub 'thor.>': %s", out)
	}
	eventually(t, 20*time.Second, "the stored snapshot is the status of the same generation", func() bool {
		stored, told := tool("kv", "get", "thor_status", "snapshot", "--raw"), n.run(t, "status", "-o", "json")
		var a, b subjects.Status
		if json.Unmarshal([]byte(stored), &a) != nil || json.Unmarshal([]byte(told), &b) != nil || a.Mark() != b.Mark() {
			return false
		}
		if strings.TrimSpace(stored) != strings.TrimSpace(told) {
			t.Fatalf("same generation, not the same:\n%s\n%s", stored, told)
		}
		return true
	})
	out := tool("server", "list")
	for _, b := range []string{"broker1", "broker2", "broker3"} {
		if !strings.Contains(out, b) {
			t.Errorf("nats server list does not show %s:\n%s", b, out)
		}
	}
}

func (n *network) foreignMember(t *testing.T) {
	need(t, "npm", "nodejs")
	dir := filepath.Join(n.dir, "member")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../../../deploy/examples/member/member.mjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "member.mjs"), script, 0o600); err != nil {
		t.Fatal(err)
	}
	npm := exec.Command("npm", "install", "--no-audit", "--no-fund", "@nats-io/transport-node@3.4.0")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	n.run(t, "ca", "issue", "--node", "fax1", "--role", "fax_server", "--ip", "127.86.40.1", "--out", filepath.Join(dir, "fax1"))
	for _, c := range []struct {
		name  string
		plain string
		end   syscall.Signal
		gone  time.Duration
	}{
		{"disciplined, kill -9", "", syscall.SIGKILL, 8 * time.Second},
		{"disciplined, closed without leave", "", syscall.SIGINT, 8 * time.Second},
		{"disciplined, leave", "", syscall.SIGTERM, 2 * time.Second},
		{"plain, kill -9", "--plain", syscall.SIGKILL, 40 * time.Second},
		{"plain, closed without leave", "--plain", syscall.SIGINT, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A second member, so that the first is not kept as the last of its role.
			keeper := n.keepRole(t, "fax_server", "127.86.41.1")
			defer keeper()
			args := []string{"member.mjs", strings.Join(n.Brokers, ","), "fax1", "fax_server", "127.86.40.1", "fax1.crt", "fax1.key", n.Operator.CA}
			if c.plain != "" {
				args = append(args, c.plain)
			}
			cmd := spawn(t, dir, "node", args...)
			eventually(t, 20*time.Second, "it is a member", func() bool {
				m := n.status().Member("fax_server", "fax1")
				return m != nil && m.State == subjects.Up && m.Plain == (c.plain != "")
			})
			if out := n.run(t, "monitor", "--once"); !strings.Contains(out, "fax_server members:") || !strings.Contains(out, "127.86.40.1") {
				t.Errorf("the monitor does not show the member:\n%s", out)
			}
			eventually(t, 5*time.Second, "DNS has it", func() bool { return n.hasAddress("fax-server."+n.domain+".", "127.86.40.1") })
			if err := cmd.Process.Signal(c.end); err != nil {
				t.Fatal(err)
			}
			eventually(t, c.gone, "it is gone", func() bool { return n.status().Member("fax_server", "fax1") == nil })
		})
	}
}

// The member in Python, by the contract of docs/wire.md alone: it is in status and DNS,
// hears its role, is a loss when it dies, and none when it leaves.
func (n *network) pythonMember(t *testing.T) {
	python := need(t, "python3", "python3")
	script, err := filepath.Abs("../../../deploy/examples/member/member.py")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	n.run(t, "ca", "issue", "--node", "fax2", "--role", "fax_server", "--ip", "127.86.40.2", "--out", filepath.Join(dir, "fax2"))
	keeper := n.keepRole(t, "fax_server", "127.86.41.1")
	defer keeper()
	there := func() bool {
		m := n.status().Member("fax_server", "fax2")
		return m != nil && m.State == subjects.Up && !m.Plain
	}
	for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		said := filepath.Join(dir, end.String())
		cmd := exec.Command(python, script, strings.TrimPrefix(n.Brokers[0], "tls://"), "fax2", "fax_server", "127.86.40.2", "fax2.crt", "fax2.key", n.Operator.CA)
		cmd.Dir = dir
		out, err := os.Create(said)
		if err != nil {
			t.Fatal(err)
		}
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		eventually(t, 10*time.Second, "it is a member", there)
		eventually(t, 5*time.Second, "DNS has it", func() bool { return n.hasAddress("fax-server."+n.domain+".", "127.86.40.2") })
		eventually(t, 10*time.Second, "it hears who is in its role", func() bool {
			b, _ := os.ReadFile(said)
			return strings.HasPrefix(string(b), "joined\n") && strings.Contains(string(b), "\nfax2 keeper\n")
		})
		if err := cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		err = cmd.Wait()
		out.Close()
		eventually(t, 8*time.Second, "it is gone", func() bool { return n.status().Member("fax_server", "fax2") == nil })
		lost := n.status().FindLost("fax_server", "fax2") != nil
		if died := end == syscall.SIGKILL; lost != died || (err == nil) == died {
			b, _ := os.ReadFile(said)
			t.Errorf("after %s: lost %v, %v, it said\n%s", end, lost, err, b)
		}
	}
}

// keepRole joins one more member of a role until the returned function is called.
func (n *network) keepRole(t *testing.T, role subjects.Role, ip string) func() {
	t.Helper()
	base := filepath.Join(t.TempDir(), "keeper")
	if _, err := os.Stat(base + ".crt"); err != nil {
		n.run(t, "ca", "issue", "--node", "keeper", "--role", string(role), "--ip", ip, "--out", base)
	}
	k, end := n.connect(t, base+".crt", base+".key")
	if _, err := k.Join(overlay.Member{Role: role, Addresses: k.Identity().Addresses}); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "the other member is there", func() bool {
		m := n.status().Member(role, "keeper")
		return m != nil && m.State == subjects.Up
	})
	return end
}
