//go:build e2e

package e2e_test

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// On a machine with nothing installed thor up says what it does without, in one
// line each, and the nodes have something to check all the same.
func TestUpWithoutKamailioAndMariaDB(t *testing.T) {
	unshare, sh, env := need(t, "unshare", "util-linux"), need(t, "sh", "dash"), need(t, "env", "coreutils")
	// In a mount namespace of its own, where servers are installed there is nothing.
	const hide = `for d in /usr/local/sbin /usr/sbin; do mount -t tmpfs none $d || exit; done; exec "$@"`
	n := &network{dir: t.TempDir(), domain: "thor.test", under: []string{
		unshare, "--mount", "--map-root-user", sh, "-c", hide, "sh", env, "PATH=" + t.TempDir(),
	}}
	n.launch(t, "127.88", "--nodes", "2")
	said, err := os.ReadFile(n.said)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Kamailio is not installed", "MariaDB is not installed"} {
		var lines []string
		for l := range strings.Lines(string(said)) {
			if strings.Contains(l, want) {
				lines = append(lines, l)
			}
		}
		if len(lines) != 1 || !strings.Contains(lines[0], "Debian package") {
			t.Errorf("%q is in %d lines, which name the Debian package:\n%s", want, len(lines), said)
		}
	}
	for _, p := range n.Processes {
		if strings.HasSuffix(p.Name, "-sip") && p.Command != "thor" {
			t.Errorf("%s runs %s", p.Name, p.Command)
		}
		if p.Command == "database" || p.Command == "provisioning" {
			t.Errorf("%s runs without a database server", p.Name)
		}
	}
	dns := n.resolve(t)
	eventually(t, 10*time.Second, "both are in DNS", func() bool { return dns.everywhere("node1", "node2") })
	if err := syscall.Kill(n.pid(t, "node2-sip"), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the node of the killed responder is gone from DNS", func() bool { return dns.everywhere("node1") })
	n.control(t, "start", "node2-sip")
	eventually(t, 15*time.Second, "it is back", func() bool { return dns.everywhere("node1", "node2") })
	dns.end()
	if f := dns.failures(); len(f) > 0 {
		t.Errorf("%d faults:\n%s", len(f), strings.Join(f[:min(len(f), 20)], "\n"))
	}
}
