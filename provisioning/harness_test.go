package provisioning_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"thor/provisioning"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

const (
	adminUser     = "admin"
	adminPassword = "s3cret & <sûre>"
)

// a running server with what a client needs.
type running struct {
	*provisioning.Server
	url    string
	ca     string // file
	client *http.Client
	pushed *recordedPushes
}

type recordedPushes struct {
	mu   sync.Mutex
	keys []string
}

func (p *recordedPushes) Deliver(_ context.Context, ns provisioning.Notices) []subjects.NodeID {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range ns {
		p.keys = append(p.keys, n.Key)
	}
	return nil
}

func (p *recordedPushes) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	ks := p.keys
	p.keys = nil
	return ks
}

// config is a good one, with a store.
func config(t testing.TB, store provisioning.Records) provisioning.Config {
	cert, _ := certificate(t)
	return provisioning.Config{
		Listen: "127.0.0.1:0", Store: store, Admins: []provisioning.Admin{{User: adminUser, Password: adminPassword}},
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
	}
}

// start runs a server until the test ends.
func start(t testing.TB, cfg provisioning.Config) *running {
	t.Helper()
	cert, ca := certificate(t)
	cfg.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	pushed := &recordedPushes{}
	if cfg.Pusher == nil {
		cfg.Pusher = pushed
	}
	s, err := provisioning.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-s.Ready():
	case err := <-done:
		done <- err
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(ca)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no CA")
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16}
	t.Cleanup(tr.CloseIdleConnections)
	return &running{s, "https://" + s.Addr().String(), ca, &http.Client{Transport: tr}, pushed}
}

// certificate is one for the loopback address, and the file of its authority:
// itself.
func certificate(t testing.TB) (*tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// populated is a store with two resellers' domains and an account.
func populated(t testing.TB) *fakeStore {
	t.Helper()
	f, ctx, admin := newFakeStore(), context.Background(), ngnpro.Viewer{Admin: true}
	for _, c := range []struct {
		user     string
		reseller int
	}{{"reseller1", 0}, {"customer1", 101}, {"reseller2", 0}} {
		if _, err := f.records().Customers.Add(ctx, admin, &ngnpro.CustomerAccount{Username: &c.user, Password: ptr("pw-" + c.user), Reseller: &c.reseller}); err != nil {
			t.Fatal(err)
		}
	}
	for domain, owner := range map[string][2]int{"example.com": {102, 101}, "example.net": {0, 103}} {
		if err := f.records().Domains.Add(ctx, admin, &ngnpro.SipDomain{Domain: domain, Customer: &owner[0], Reseller: &owner[1]}); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"example.com", "example.net"} {
		if _, _, err := f.records().Accounts.Add(ctx, admin, &ngnpro.SipAccount{
			ID: ngnpro.SipID{Username: "alice", Domain: d}, Password: ptr("pw"), FirstName: ptr("Alice"),
			Groups: &[]string{"free-pstn"}, Timeout: ptr(35), Prepaid: ptr(true),
		}); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// need fails, or skips outside CI, when a program is absent.
func need(t *testing.T, program, pkg string) string {
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
