//go:build e2e && boot

package e2e_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestAnsibleMakesANetwork has deploy/ansible make a network of three booted machines:
// keys and requests on them, certificates by the authority here. A second run changes
// nothing, and says so before.
func TestAnsibleMakesANetwork(t *testing.T) {
	need(t, "mmdebstrap", "mmdebstrap")
	need(t, "systemd-nspawn", "systemd-container")
	need(t, "ansible-playbook", "ansible-core")
	if os.Getuid() != 0 {
		t.Skip("systemd-nspawn needs root")
	}
	dist, err := filepath.Abs("../../../dist")
	if err != nil {
		t.Fatal(err)
	}
	debs, err := filepath.Glob(filepath.Join(dist, "thor_*_"+runtime.GOARCH+".deb"))
	if err != nil || len(debs) != 1 {
		t.Fatalf("%d packages thor in dist (just packages makes one), %v", len(debs), err)
	}
	work := t.TempDir()
	root := filepath.Join(work, "root")
	unpack(t, debian(t, dist), root)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "testdata/ansible.sh", root, debs[0], thor, filepath.Join(filepath.Dir(dist), "deploy/ansible"), filepath.Join(work, "run"))
	if err := os.Mkdir(filepath.Join(work, "run"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err = cmd.Run()
	t.Logf("\n%s", lastOf(out.String(), 150))
	if err != nil || !strings.Contains(out.String(), "all done") {
		t.Errorf("it did not come to its end: %v", err)
	}
}
