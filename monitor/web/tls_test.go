package web_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"thor/identity"
	"thor/monitor/web"
	"thor/subjects"
)

// credentials are those of a node that the authority certifies.
func credentials(t *testing.T, ca *identity.Authority, node string, roles ...subjects.Role) *identity.Credentials {
	t.Helper()
	cert, key, err := ca.Issue(identity.Request{Node: subjects.NodeID(node), Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	f := identity.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.crt")}
	for path, b := range map[string][]byte{f.Cert: cert, f.Key: key, f.CA: ca.CertificatePEM()} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := identity.Load(f)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func authority(t *testing.T, domain string) *identity.Authority {
	t.Helper()
	ca, err := identity.Init(t.TempDir(), domain, identity.InitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func TestBeyondLoopbackOperatorsAloneGetThePage(t *testing.T) {
	ca, other := authority(t, "example.net"), authority(t, "example.net")
	own := credentials(t, ca, "web1", subjects.Monitor)
	if desk := credentials(t, ca, "desk", subjects.Monitor, subjects.Operator); len(desk.Certificate().Leaf.DNSNames) > 0 {
		t.Error("an operator's certificate is one for servers")
	}
	_, s, _ := start(t, func(c *web.Config) { c.TLS = own.OperatorTLS() })
	roots := x509.NewCertPool()
	roots.AddCert(ca.Certificate())
	for _, c := range []struct {
		name string
		cert *identity.Credentials
		ok   bool
	}{
		{"an operator", credentials(t, ca, "ops1", subjects.Operator), true},
		{"a monitor", credentials(t, ca, "mon1", subjects.Monitor), false},
		{"a proxy", credentials(t, ca, "proxy1", subjects.SIPProxy), false},
		{"an operator of another authority", credentials(t, other, "ops1", subjects.Operator), false},
		{"none", nil, false},
	} {
		conf := &tls.Config{RootCAs: roots}
		if c.cert != nil {
			conf.Certificates = []tls.Certificate{*c.cert.Certificate()}
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true}}
		r, err := client.Get("https://" + s.Addr().String() + "/api/status")
		if err == nil {
			r.Body.Close()
		}
		if (err == nil && r.StatusCode == 200) != c.ok {
			t.Errorf("%s: %v %v", c.name, r, err)
		}
	}
}
