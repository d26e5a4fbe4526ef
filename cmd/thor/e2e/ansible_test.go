//go:build e2e && boot

package e2e_test

import (
	"bytes"
	"context"
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
	needRoot(t, "systemd-nspawn")
	deb := packed(t, "thor_*_"+runtime.GOARCH+".deb")
	dist := filepath.Dir(deb)
	root, work := filepath.Join(t.TempDir(), "root"), t.TempDir()
	unpack(t, debian(t, dist), root, rootOptions...)
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute) // beside other load; three minutes alone
	defer cancel()
	cmd := exec.CommandContext(ctx, "testdata/ansible.sh", root, deb, thor, filepath.Join(filepath.Dir(dist), "deploy/ansible"), work)
	cmd.WaitDelay = 20 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	t.Logf("\n%s", lastOf(out.String(), 400))
	if err != nil || !strings.Contains(out.String(), "all done") {
		t.Errorf("it did not come to its end: %v", err)
	}
}
