package web_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thor/identity"
	"thor/monitor/web"
	"thor/overlay/subscriber"
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

// browser is a client that trusts ca and shows a certificate; nil: none.
func browser(ca *identity.Authority, c *identity.Credentials) *tls.Config {
	conf := &tls.Config{RootCAs: x509.NewCertPool()}
	conf.RootCAs.AddCert(ca.Certificate())
	if c != nil {
		conf.Certificates = []tls.Certificate{*c.Certificate()}
	}
	return conf
}

func TestBeyondLoopbackOperatorsAloneGetThePage(t *testing.T) {
	ca, other := authority(t, "example.net"), authority(t, "example.net")
	own := credentials(t, ca, "web1", subjects.Monitor)
	if desk := credentials(t, ca, "desk", subjects.Monitor, subjects.Operator); len(desk.Certificate().Leaf.DNSNames) > 0 {
		t.Error("an operator's certificate is one for servers")
	}
	_, s, _ := start(t, func(c *web.Config) { c.TLS = own.OperatorTLS() })
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
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: browser(ca, c.cert), DisableKeepAlives: true}}
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
	conf := browser(ca, desk)
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

// Where a subscriber is registered is for operators by TLS alone.
func TestWhereASubscriberIsRegistered(t *testing.T) {
	ca := authority(t, "example.net")
	own, desk := credentials(t, ca, "web1", subjects.Monitor), credentials(t, ca, "ops1", subjects.Operator)
	var asked []string
	devices := []web.Registered{{Node: "n1", Contact: subscriber.Contact{Address: "192.0.2.7", Port: 5060, Transport: "udp", UserAgent: canary, Expires: 60}}}
	registered := func(_ context.Context, by subjects.NodeID, role subjects.Role, key string) ([]web.Registered, error) {
		asked = append(asked, string(by)+" "+string(role)+" "+key)
		return devices, nil
	}
	const path = "/api/registered?role=sip_proxy&key=a%40d.example"
	_, _, plain := start(t, func(c *web.Config) { c.Registered = registered })
	if r, body := get(t, "GET", plain+path, nil); r.StatusCode != http.StatusNotFound || len(asked) > 0 {
		t.Error("over plain HTTP: ", r.Status, body, asked)
	}
	_, lookup := get(t, "GET", plain+"/api/lookup?role=sip_proxy&key=a%40d.example", nil)
	if !strings.Contains(lookup, `"registered":false`) {
		t.Error(lookup)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: browser(ca, desk), DisableKeepAlives: true}}
	read := func(s *web.Server, path string) (int, string) {
		t.Helper()
		r, err := client.Get("https://" + s.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	_, silent, _ := start(t, func(c *web.Config) { c.TLS = own.OperatorTLS() })
	if code, body := read(silent, path); code != http.StatusNotFound {
		t.Error("the certificate may not ask: ", code, body)
	}
	_, s, _ := start(t, func(c *web.Config) { c.TLS, c.Registered = own.OperatorTLS(), registered })
	code, body := read(s, path)
	var got struct{ Devices []web.Registered }
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != 200 || !slices.Equal(got.Devices, devices) {
		t.Error(code, body, err)
	}
	if len(asked) != 1 || asked[0] != "ops1 sip_proxy a@d.example" {
		t.Error(asked)
	}
	if _, body := read(s, "/api/lookup?role=sip_proxy&key=a%40d.example"); !strings.Contains(body, `"registered":true`) {
		t.Error(body)
	}
}

// Operators of one desk, or behind one address, do not count as one client.
func TestOperatorsAreToldApartByTheirCertificates(t *testing.T) {
	ca := authority(t, "example.net")
	_, s, _ := start(t, func(c *web.Config) { c.TLS = credentials(t, ca, "web1", subjects.Monitor).OperatorTLS() })
	follow := func(conf *tls.Config) int {
		t.Helper()
		c, err := tls.Dial("tcp", s.Addr().String(), conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return ask(t, c, bufio.NewReader(c), "/api/events").StatusCode
	}
	first, second := browser(ca, credentials(t, ca, "ops1", subjects.Operator)), browser(ca, credentials(t, ca, "ops2", subjects.Operator))
	for range 64 {
		if code := follow(first); code != http.StatusOK {
			t.Fatal(code)
		}
	}
	if code := follow(first); code != http.StatusTooManyRequests {
		t.Errorf("one more of the first: %d", code)
	}
	if code := follow(second); code != http.StatusOK {
		t.Errorf("the second: %d", code)
	}
}
