//go:build e2e && boot

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestPackageBoots installs the packages of just packages into a Debian 12 that is
// booted for it, and lets testdata/boot.sh use it there. Making that Debian
// takes minutes, so dist keeps it.
func TestPackageBoots(t *testing.T) {
	for program, pkg := range map[string]string{"mmdebstrap": "mmdebstrap", "systemd-nspawn": "systemd-container", "tar": "tar"} {
		need(t, program, pkg)
	}
	needRoot(t, "systemd-nspawn")
	dist, err := filepath.Abs("../../../dist")
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(t.TempDir(), "root")
	unpack(t, debian(t, dist), root, rootOptions...)
	for name, arch := range map[string]string{"thor": runtime.GOARCH, "python3-thor": "all"} {
		copyInto(t, packed(t, name+"_*_"+arch+".deb"), filepath.Join(root, name+".deb"), 0o644)
	}
	copyInto(t, "testdata/boot.sh", filepath.Join(root, "boot.sh"), 0o755)
	copyInto(t, "../../../docs/operate.md", filepath.Join(root, "operate.md"), 0o644)
	copyInto(t, "testdata/boot.service", filepath.Join(root, "etc/systemd/system/boot.service"), 0o644)
	copyInto(t, thor, filepath.Join(root, "usr/local/bin/thor-ca"), 0o755) // what the authority's machine runs
	if err := os.Symlink("../boot.service", filepath.Join(root, "etc/systemd/system/multi-user.target.wants/boot.service")); err != nil {
		t.Fatal(err)
	}
	boot(t, root)
}

// boot runs the machine until boot.sh ends it with its own exit code.
func boot(t *testing.T, root string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "systemd-nspawn", "-q", "-D", root, "--register=no", "--keep-unit", "--private-network",
		fmt.Sprintf("--machine=thor-boot-%d", os.Getpid()), "--console=pipe", "-b")
	cmd.WaitDelay = 10 * time.Second
	var console bytes.Buffer
	cmd.Stdout, cmd.Stderr = &console, &console
	err := cmd.Run()
	report, _ := os.ReadFile(filepath.Join(root, "boot.log"))
	t.Logf("\n%s", report)
	if err != nil {
		t.Errorf("the machine ended with %v; its console:\n%s", err, lastOf(console.String(), 40))
	}
	if !strings.Contains(string(report), "all done") {
		t.Error("boot.sh did not come to its end")
	}
}

// debian is an archive of a minimal Debian 12, made from where this machine
// gets its own packages.
func debian(t *testing.T, dist string) string {
	t.Helper()
	archive := filepath.Join(dist, "bookworm-python.tar") // another name where other packages are in it
	if _, err := os.Stat(archive); err == nil {
		return archive
	}
	args := []string{"--variant=minbase", "--include=systemd-sysv,dbus,python3-twisted,python3-openssl,python3-cryptography", "--aptopt=" + aptOptions(t)}
	if auth, _ := filepath.Glob("/etc/apt/auth.conf.d/*"); len(auth) > 0 { // passwords of mirrors: not into the archive
		args = append(args, "--setup-hook=copy-in /etc/apt/auth.conf.d /etc/apt", "--customize-hook=rm -rf \"$1\"/etc/apt/auth.conf.d/*")
	}
	making := archive + ".new" // an interrupted one is no archive
	args = append(args, "--format=tar", "bookworm", making)
	for _, pattern := range []string{"/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources"} {
		files, _ := filepath.Glob(pattern)
		for _, f := range files {
			if b, err := os.ReadFile(f); err == nil && bytes.Contains(b, []byte("bookworm")) {
				args = append(args, f)
			}
		}
	}
	out, err := exec.Command("mmdebstrap", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, lastOf(string(out), 20))
	}
	if err := os.Rename(making, archive); err != nil {
		t.Fatal(err)
	}
	return archive
}

// aptOptions is a file with how this machine's apt fetches: proxies and timeouts.
func aptOptions(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("apt-config", "dump", "--format", "%F \"%v\";%n", "--no-empty", "Acquire::http", "Acquire::https").Output()
	if err != nil {
		t.Fatal(err)
	}
	f := filepath.Join(t.TempDir(), "apt.conf")
	if err := os.WriteFile(f, out, 0o600); err != nil {
		t.Fatal(err)
	}
	return f
}

// rootOptions unpack an archive that is the root of a machine.
var rootOptions = []string{"--numeric-owner", "--xattrs", "--exclude=./dev/*"}

func copyInto(t *testing.T, from, to string, mode os.FileMode) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, b, mode); err != nil {
		t.Fatal(err)
	}
}
