package dbagent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait.
const patience = 20 * time.Second

func needs(t *testing.T, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err == nil {
		return p
	}
	text := fmt.Sprintf("%s is not installed (Debian package %s)", program, pkg)
	if os.Getenv("CI") == "true" {
		t.Fatal(text)
	}
	t.Skip(text)
	return ""
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

type certificate struct {
	cert, key string // PEM
	pool      *x509.CertPool
}

// selfSigned is a certificate for 127.0.0.1.
func selfSigned(t *testing.T) certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "db"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(c)
	return certificate{
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})), pool,
	}
}

// me is the user that the server is to run as.
func me(t *testing.T) string {
	t.Helper()
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// A mariadb is a real server with one database, "thor".
type mariadb struct {
	t       *testing.T
	server  string
	dir     string
	addr    string
	args    []string // more of the server's
	trusted *x509.CertPool
	out     bytes.Buffer
	cmd     *exec.Cmd
	done    chan struct{}
}

func newMariaDB(t *testing.T) *mariadb {
	t.Helper()
	m := installMariaDB(t)
	m.start()
	m.populate()
	return m
}

// freeAddr is an address of loopback where nothing listens.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// installMariaDB is a server with its own tables only, not started yet.
func installMariaDB(t *testing.T) *mariadb {
	t.Helper()
	m := &mariadb{t: t, server: needs(t, "mariadbd", "mariadb-server"), dir: t.TempDir(), addr: freeAddr(t)}
	install := needs(t, "mariadb-install-db", "mariadb-server")
	needs(t, "mariadb", "mariadb-client")
	c := selfSigned(t)
	m.trusted = c.pool
	m.write("cert.pem", c.cert)
	m.write("key.pem", c.key)
	cmd := exec.Command(install, "--no-defaults", "--user="+me(t), "--datadir="+m.path("data"), "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve")
	cmd.Env = m.environ()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	t.Cleanup(func() {
		m.kill()
		if t.Failed() {
			t.Logf("%s", m.out.Bytes())
		}
	})
	return m
}

func (m *mariadb) populate() {
	m.t.Helper()
	m.sql("CREATE DATABASE thor; CREATE DATABASE other; CREATE TABLE thor.probe (id BIGINT PRIMARY KEY);" +
		"CREATE USER 'thor'@'%' IDENTIFIED BY '" + canary + "'; GRANT ALL ON thor.* TO 'thor'@'%'")
}

func (m *mariadb) path(name string) string { return filepath.Join(m.dir, name) }

// environ has a directory for temporary tables of its own: a server that starts
// deletes those of others in a common one.
func (m *mariadb) environ() []string { return append(os.Environ(), "TMPDIR="+m.dir) }

func (m *mariadb) write(name, text string) {
	m.t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mariadb) start() {
	m.t.Helper()
	_, port, _ := net.SplitHostPort(m.addr)
	args := append([]string{
		"--no-defaults", "--user=" + me(m.t), "--datadir=" + m.path("data"), "--socket=" + m.path("sock"),
		"--pid-file=" + m.path("pid"), "--port=" + port, "--bind-address=127.0.0.1", "--skip-log-bin", "--skip-name-resolve",
		"--performance-schema=OFF", "--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync",
		"--ssl-cert=" + m.path("cert.pem"), "--ssl-key=" + m.path("key.pem"),
	}, m.args...)
	m.cmd, m.done = exec.Command(m.server, args...), make(chan struct{})
	m.cmd.Env = m.environ()
	m.cmd.Stdout, m.cmd.Stderr = &m.out, &m.out
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func(c *exec.Cmd, done chan struct{}) { _ = c.Wait(); close(done) }(m.cmd, m.done)
	eventually(m.t, "MariaDB answers", func() bool { return m.client("SELECT 1") == nil })
}

func (m *mariadb) client(sql string) error {
	out, err := exec.Command("mariadb", "--no-defaults", "--socket="+m.path("sock"), "-uroot", "-e", sql).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", sql, err, out)
	}
	return nil
}

func (m *mariadb) sql(sql string) {
	m.t.Helper()
	if err := m.client(sql); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mariadb) signal(s syscall.Signal) {
	m.t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mariadb) kill() {
	if m.cmd != nil {
		_ = m.cmd.Process.Kill() // it may have ended
		<-m.done
	}
}

func (m *mariadb) rows(sql string) string {
	m.t.Helper()
	out, err := exec.Command("mariadb", "--no-defaults", "--socket="+m.path("sock"), "-uroot", "-BN", "-e", sql).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}
