//go:build e2e

// Package e2e_test runs whole thor networks with real servers beside them and
// breaks them on purpose. It is slow, needs the Debian packages that .ci/run
// installs, and uses loopback addresses only.
package e2e_test

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thor/identity"
)

var thor string // the binary under test: THOR_BINARY, or it is built for the run

func TestMain(m *testing.M) {
	if conf := os.Getenv(attackEnv); conf != "" {
		if err := runAttack(conf); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if thor = os.Getenv("THOR_BINARY"); thor != "" {
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "thor-e2e-")
	if err != nil {
		panic(err)
	}
	thor = filepath.Join(dir, "thor")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", thor, "thor/cmd/thor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is packaged
	out, err := build.CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// need fails, or skips outside CI, when a program is absent.
func need(t testing.TB, program, pkg string) string {
	t.Helper()
	p, err := exec.LookPath(program)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing: Debian package %s", program, pkg)
		}
		t.Skipf("%s is missing: Debian package %s", program, pkg)
	}
	return p
}

// needRoot fails, or skips outside CI, without root, and says what it is for.
func needRoot(t testing.TB, what string) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("root is needed for " + what)
	}
	t.Skip("root is needed for " + what)
}

// unpack makes dir of an archive, with further options of tar.
func unpack(t testing.TB, archive, dir string, options ...string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", append([]string{"-C", dir, "-xf", archive}, options...)...).CombinedOutput(); err != nil {
		t.Fatalf("unpack %s: %v: %s", archive, err, out)
	}
}

// eventually waits for a condition and says what it was when it does not come.
func eventually(t testing.TB, within time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !cond() {
		if time.Since(began) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		<-time.After(5 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%6d ms  %s", took.Milliseconds(), what)
	return took
}

// client is an HTTP client that trusts the network's authority and shows the operator's certificate.
func (n *network) client(t testing.TB, timeout time.Duration) *http.Client {
	t.Helper()
	creds, err := identity.Load(identity.Files{Cert: n.Operator.Cert, Key: n.Operator.Key, CA: n.Operator.CA})
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: creds.Roots(), Certificates: []tls.Certificate{*creds.Certificate()}}, MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: timeout}
}

// knock makes a TLS handshake with a certificate and waits for the first word of
// the broker: with TLS 1.3 it refuses only after the client believes itself
// connected.
func knock(creds *identity.Credentials, broker string) error {
	u, err := url.Parse(broker)
	if err != nil {
		return err
	}
	c, err := (&net.Dialer{Timeout: 3 * time.Second}).Dial("tcp", u.Host)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(3 * time.Second))
	cfg := creds.ClientTLS()
	cfg.ServerName = u.Hostname()
	s := tls.Client(c, cfg)
	if err := s.Handshake(); err != nil {
		return err
	}
	_, err = s.Read(make([]byte, 1))
	return err
}

// isRefusal reports whether err is the broker's answer to a bad certificate, and
// not one of the many ways to reach no broker.
func isRefusal(err error) bool {
	return err != nil && strings.Contains(err.Error(), "remote error: tls: bad certificate")
}
