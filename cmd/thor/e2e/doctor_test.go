//go:build e2e

package e2e_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// doctor is what it says, whatever its exit code.
func (n *network) doctor(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command(thor, append([]string{"doctor"}, args...)...)
	cmd.Env = append(os.Environ(), "THOR_DIR="+n.dir)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(out)
}

// The doctor finds faults that were made, each with what to do, and nothing before; its
// bundle has what a bug report needs and no secret of the network.
func TestDoctorFindsFaults(t *testing.T) {
	need(t, "mariadbd", "mariadb-server")
	n := startNetwork(t, "127.148", "--nodes", "2", "--damping=false")
	eventually(t, 30*time.Second, "no fault is found in a whole network", func() bool {
		said := n.doctor(t)
		return !strings.Contains(said, "FAULT") && !strings.Contains(said, "PART") && !strings.Contains(said, "is version")
	})
	n.run(t, "ca", "revoke", "broker3")
	n.kill9(t, "node2")
	for _, want := range []string{
		"the certificate of broker broker3 at " + n.Brokers[2] + " is revoked",
		"node2 lost",
		"thor forget NODE",
	} {
		eventually(t, 30*time.Second, want, func() bool { return strings.Contains(n.doctor(t), want) })
	}

	file := filepath.Join(t.TempDir(), "thor.toml")
	text := fmt.Sprintf("[network]\ndomain = %q\nbrokers = [%q]\ncertificate = %q\nkey = %q\nca = %q\nstate = \"state\"\n[manager]\nhttp = \"127.0.0.1:9507\"\n[node]\n[[node.role]]\nrole = \"sip_proxy\"\n",
		n.domain, n.Brokers[0], n.Operator.Cert, n.Operator.Key, n.Operator.CA)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if said := n.doctor(t, "--config", file); !strings.Contains(said, "FAULT "+file) || !strings.Contains(said, "is the port of ") {
		t.Errorf("listeners that collide: %s", said)
	}
	n.bundle(t)
}

func (n *network) bundle(t *testing.T) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "thor.tar.gz")
	n.doctor(t, "--bundle", file)
	if fi, err := os.Stat(file); err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("%v %v", fi, err)
	}
	files := unpacked(t, file)
	for _, name := range []string{"doctor.txt", "doctor.json", "version.txt", "status.json", "network.json", "broker1/thor.toml", "broker1/log", "manager1/manager.metrics", "manager1/manager.readyz"} {
		if len(files[name]) == 0 {
			t.Errorf("%s is not in the bundle", name)
		}
	}
	if !strings.Contains(files["manager1/manager.metrics"], "thor_build_info") || !strings.Contains(files["doctor.txt"], "is revoked") {
		t.Error("pages or findings are missing")
	}
	var secrets []string
	for _, pattern := range []string{"*/password", "*/node.key", "ca/ca.key", "*/*.key"} {
		list, err := filepath.Glob(filepath.Join(n.dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for l := range strings.Lines(string(b)) {
				if l = strings.TrimSpace(l); len(l) > 8 && !strings.HasPrefix(l, "-----") {
					secrets = append(secrets, l)
				}
			}
		}
	}
	if len(secrets) < 10 {
		t.Fatalf("%d secrets to look for", len(secrets))
	}
	for name, text := range files {
		for _, s := range append(secrets, "PRIVATE KEY") {
			if strings.Contains(text, s) {
				t.Errorf("a secret is in %s", name)
			}
		}
	}
	t.Logf("%d files, %d secrets looked for", len(files), len(secrets))
}

// unpacked are the files of a bundle, by their name below its directory.
func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bundle")
	unpack(t, file, dir, "--strip-components=1")
	out := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		out[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
