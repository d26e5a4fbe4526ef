package web_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

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

// A connection of an operator ends with the certificate: a stream that is open, and
// requests that come by a connection that is kept.
func TestARevokedOperatorSeesNoMore(t *testing.T) {
	t.Parallel()
	ca := authority(t, "example.net")
	own, desk := credentials(t, ca, "web1", subjects.Monitor), credentials(t, ca, "ops1", subjects.Operator)
	_, s, _ := start(t, func(c *web.Config) { c.TLS = own.OperatorTLS() })
	conf := &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{*desk.Certificate()}}
	conf.RootCAs.AddCert(ca.Certificate())
	get := func(path string) (*tls.Conn, *bufio.Reader, *http.Response) {
		c, err := tls.Dial("tcp", s.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetDeadline(time.Now().Add(15 * time.Second)); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewReader(c)
		return c, in, ask(t, c, in, path)
	}
	_, _, stream := get("/api/events")
	kept, in, page := get("/api/status")
	if _, err := io.Copy(io.Discard, page.Body); err != nil || page.StatusCode != 200 || stream.StatusCode != 200 {
		t.Fatal(page.Status, stream.Status, err)
	}
	crl, err := ca.Revoke("ops1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Revocations().Update(crl, own.Authorities()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, stream.Body); err != nil {
		t.Errorf("the stream does not end: %v", err)
	}
	if again := ask(t, kept, in, "/api/status"); again.StatusCode != http.StatusForbidden || !again.Close {
		t.Errorf("the next request is answered %s", again.Status)
	}
}

func ask(t *testing.T, c net.Conn, in *bufio.Reader, path string) *http.Response {
	t.Helper()
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", path); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
