package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thor/cmd/thor/internal/config"
)

func TestExampleConfigurationsAreGood(t *testing.T) {
	files, err := filepath.Glob("../../deploy/examples/*.toml")
	if err != nil || len(files) < 3 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, f := range files {
		if _, err := config.Load(f); err != nil {
			t.Error(err)
		}
	}
}

// systemd-analyze only warns about unknown keys, so any word on stderr fails.
func TestUnitsAreGoodAndHardened(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is missing: Debian package systemd")
		}
		t.Skip("systemd-analyze is missing: Debian package systemd")
	}
	units, err := filepath.Glob("../../deploy/systemd/*.service")
	if err != nil || len(units) != 7 {
		t.Fatalf("%d units, %v", len(units), err)
	}
	sockets, err := filepath.Glob("../../deploy/systemd/*.socket")
	if err != nil || len(sockets) != 1 {
		t.Fatalf("%d sockets, %v", len(sockets), err)
	}
	dir := t.TempDir()
	var here []string
	for _, u := range append(units, sockets...) {
		b, err := os.ReadFile(u)
		if err != nil {
			t.Fatal(err)
		}
		// The binary and its README are not installed where the test runs.
		s := strings.ReplaceAll(string(b), "/usr/bin/thor ", "/bin/true ")
		s = strings.ReplaceAll(s, "/usr/lib/thor/renew ", "/bin/true ")
		s = strings.ReplaceAll(s, "file:/usr/share/doc/thor/README.md", "https://example.net/")
		p := filepath.Join(dir, filepath.Base(u))
		if err := os.WriteFile(p, []byte(s), 0o600); err != nil {
			t.Fatal(err)
		}
		here = append(here, p)
		if filepath.Ext(p) != ".service" {
			continue
		}
		out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", p).CombinedOutput()
		if err != nil {
			t.Errorf("%s is exposed above 2.0: %v\n%s", filepath.Base(u), err, lastLines(out))
		}
	}
	cmd := exec.Command("systemd-analyze", append([]string{"verify"}, here...)...)
	cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

func lastLines(b []byte) string {
	l := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(l[max(0, len(l)-3):], "\n")
}
