package mariadbtest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// layout are the options that decide how large the data directory is; the
// template and the servers have to agree.
var layout = []string{"--innodb-log-file-size=16M", "--innodb-data-file-path=ibdata1:3M:autoextend"}

// template is the data directory that every server copies. It is made by the
// first process that needs it and kept for the next test runs, apart for each
// version of the server.
func template(t testing.TB) string {
	t.Helper()
	install := need(t, "mariadb-install-db", "mariadb-server")
	version, err := exec.Command("mariadbd", "--no-defaults", "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(string(version) + strings.Join(layout, " ")))
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	base := filepath.Join(cache, fmt.Sprintf("thor-mariadbtest-%d", os.Getuid()))
	if err := os.MkdirAll(base, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(base, hex.EncodeToString(sum[:6]))
	defer lock(t, dir+".lock")()
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	fresh, err := os.MkdirTemp(base, "new-")
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"--no-defaults", "--user=" + me(t), "--datadir=" + fresh, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve",
	}, layout...)
	if out, err := exec.Command(install, args...).CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lock keeps other processes from making the template at the same time.
func lock(t testing.TB, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { _ = f.Close() }
}
