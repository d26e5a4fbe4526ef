package provisioning_test

import (
	"bytes"
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
	"thor/provisioning/login"
	"thor/provisioning/store"
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

func (p *recordedPushes) Deliver(_ context.Context, ns store.Notices) []subjects.NodeID {
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
func config(t testing.TB, s *store.Store) provisioning.Config {
	cert, _ := certificate(t)
	return provisioning.Config{
		Listen: "127.0.0.1:0", Store: s, Admins: []login.Admin{{User: adminUser, Password: adminPassword}},
		Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil },
		Apex: func(context.Context) (*provisioning.Apex, error) {
			return &provisioning.Apex{Email: "hostmaster@net.example", TTL: 3600, Minimum: 10, Retry: 3600, Expire: 604800, Serial: 7, Nameservers: []string{"ns1.net.example", "ns2.net.example"}}, nil
		},
	}
}

// newServer is a server that does not run.
func newServer(t testing.TB, s *store.Store) *provisioning.Server {
	t.Helper()
	p, err := provisioning.New(config(t, s))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// background runs f until end or the end of the test.
func background(t testing.TB, f func(context.Context) error) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	end = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(end)
	return end
}

func awaitAddr(t testing.TB, s *provisioning.Server) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); s.Addr() == nil; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatal("the server does not listen")
		}
	}
}

// start runs a server until the test ends, and waits for its store.
func start(t testing.TB, cfg provisioning.Config) *running {
	t.Helper()
	r := serve(t, cfg)
	select {
	case <-r.Ready():
	case <-time.After(patience):
		t.Fatal("the server is not ready")
	}
	return r
}

// serve is start without waiting for the store.
func serve(t testing.TB, cfg provisioning.Config) *running {
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
	background(t, s.Run)
	awaitAddr(t, s)
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

// unusedStore is for servers that never call it.
func unusedStore(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.New(store.Config{Source: store.Fixed{}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A buffer may be written to while it is read.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
