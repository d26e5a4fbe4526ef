package dbagent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/provisioning/store/mariadbtest"
)

// patience bounds every wait.
const patience = 20 * time.Second

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

// A mariadb is a real server with one database, "thor".
type mariadb struct {
	*mariadbtest.Server
	dir     string
	trusted *x509.CertPool
}

func newMariaDB(t *testing.T) *mariadb {
	t.Helper()
	m := startMariaDB(t)
	m.populate()
	return m
}

// startMariaDB is a server with a certificate, and with its own tables only.
func startMariaDB(t *testing.T, args ...string) *mariadb {
	t.Helper()
	m := &mariadb{dir: t.TempDir()}
	c := selfSigned(t)
	m.trusted = c.pool
	m.write(t, "cert.pem", c.cert)
	m.write(t, "key.pem", c.key)
	m.Server = mariadbtest.Start(t, mariadbtest.Fast, append(args, "--ssl-cert="+m.path("cert.pem"), "--ssl-key="+m.path("key.pem"))...)
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

func (m *mariadb) populate() {
	m.SQL("CREATE DATABASE thor; CREATE DATABASE other; CREATE TABLE thor.probe (id BIGINT PRIMARY KEY);" +
		"CREATE USER 'thor'@'%' IDENTIFIED BY '" + canary + "'; GRANT ALL ON thor.* TO 'thor'@'%'")
}

func (m *mariadb) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mariadb) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(m.path(name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
