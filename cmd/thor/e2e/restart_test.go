//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/subjects"
)

// thor restart gives every daemon a new process, one after the other: at no time are
// two brokers, both name servers or both proxies away. A member's certificate may not.
func TestDaemonsAreRestartedOneByOne(t *testing.T) {
	n := startNetwork(t, "127.71", "--nodes", "2")
	n.thor(t, 0, "wait", "healthy", "--timeout", "60s")
	least := n.least(t, subjects.EventServer, subjects.DNSManager, subjects.SIPProxy)

	node1 := filepath.Join(n.dir, "node1")
	out := n.thor(t, 1, "restart", "--brokers", strings.Join(n.Brokers, ","), "--cert", filepath.Join(node1, "node.crt"), "--key", filepath.Join(node1, "node.key"), "--ca", n.Operator.CA)
	if !strings.Contains(out, "the certificate does not permit this subject") {
		t.Errorf("a member's certificate: %s", out)
	}
	plan := n.thor(t, 0, "restart", "--dry-run")
	lines := strings.Split(strings.TrimSpace(plan), "\n")
	before := n.daemons(t)
	if len(lines) != len(before) || !strings.HasPrefix(lines[0], "1/") || !strings.Contains(lines[0], "broker of broker1") {
		t.Fatalf("the plan of %d daemons:\n%s", len(before), plan)
	}

	began := time.Now()
	t.Log("\n" + n.thor(t, 0, "restart"))
	t.Logf("%d daemons restarted in %s", len(lines), time.Since(began).Round(100*time.Millisecond))
	for name, pid := range n.daemons(t) {
		if pid == 0 || pid == before[name] {
			t.Errorf("%s has process %d, as before", name, pid)
		}
	}
	n.thor(t, 0, "wait", "healthy", "--timeout", "20s")
	for role, want := range map[subjects.Role]int{subjects.EventServer: 2, subjects.DNSManager: 1, subjects.SIPProxy: 1} {
		if got := least()[role]; got < want {
			t.Errorf("there were %d %s at a time, want %d at least", got, role, want)
		}
	}
	log, err := os.ReadFile(filepath.Join(n.dir, "broker1", "audit.log"))
	if err != nil || !strings.Contains(string(log), `"who":"operator","act":"restart","what":"broker of broker1","from":"operator","outcome":"ok"`) {
		t.Errorf("broker1's audit log, %v:\n%s", err, log)
	}

	n.control(t, "stop", "broker3")
	eventually(t, 20*time.Second, "a broker is missed", func() bool { return len(n.status().Roles[subjects.EventServer]) == 2 })
	pid := n.pid(t, "manager1")
	n.kill9(t, "node2") // the loss makes it degraded; a broker that was stopped has left
	eventually(t, 20*time.Second, "node2 is lost", func() bool { return len(n.status().Lost) > 0 })
	n.thor(t, 3, "wait", "healthy", "--timeout", "2s")
	if out := n.thor(t, 3, "restart", "manager1"); !strings.Contains(out, "nothing was done, the network is degraded") {
		t.Errorf("degraded: %s", out)
	}
	if n.pid(t, "manager1") != pid {
		t.Error("a degraded network was restarted")
	}
	if out := n.thor(t, 0, "restart", "manager1", "--force"); !strings.Contains(out, "1/1 manager of manager1 restarted") {
		t.Errorf("--force: %s", out)
	}
}

// thor runs a command that must end with the exit code, and returns both outputs.
func (n *network) thor(t testing.TB, code int, args ...string) string {
	t.Helper()
	cmd := exec.Command(thor, args...)
	cmd.Env = append(os.Environ(), "THOR_DIR="+n.dir, "THOR_CA_DIR="+filepath.Join(n.dir, "ca"))
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Fatalf("thor %s: exit code %d, want %d (%v)\n%s", strings.Join(args, " "), got, code, err, out)
	}
	return string(out)
}

// daemons are the process numbers of thor's own daemons, by name.
func (n *network) daemons(t testing.TB) map[string]int {
	t.Helper()
	n.reload(t)
	out := make(map[string]int)
	for _, p := range n.Processes {
		switch p.Command {
		case "broker", "manager", "node", "dns", "database", "provisioning", "web":
			out[p.Name] = p.PID
		}
	}
	return out
}

// least follows the status and tells how few members roles had at a time.
func (n *network) least(t testing.TB, roles ...subjects.Role) func() map[subjects.Role]int {
	var mu sync.Mutex
	fewest := make(map[subjects.Role]int)
	for _, r := range roles {
		fewest[r] = len(n.status().Roles[r])
	}
	done := make(chan struct{})
	ctx := t.Context()
	go func() {
		defer close(done)
		for v := range n.view.Watch(ctx) {
			if v.Status == nil {
				continue
			}
			mu.Lock()
			for _, r := range roles {
				fewest[r] = min(fewest[r], len(v.Status.Roles[r]))
			}
			mu.Unlock()
		}
	}()
	t.Cleanup(func() { <-done })
	return func() map[subjects.Role]int {
		mu.Lock()
		defer mu.Unlock()
		out := make(map[subjects.Role]int)
		for r, k := range fewest {
			out[r] = k
		}
		return out
	}
}
