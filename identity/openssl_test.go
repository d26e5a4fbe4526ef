package identity_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"thor/identity"
	"thor/subjects"
)

func runOpenSSL(t *testing.T, dir string, name string, args ...string) {
	t.Helper()
	_, err := exec.LookPath("openssl")
	need(t, err != nil, "openssl is missing: Debian package openssl")
	c := exec.Command(name, args...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// The recipe is the one the README quotes.
func TestCertificatesMadeWithOpenSSLAloneWork(t *testing.T) {
	recipe, err := filepath.Abs("testdata/openssl.sh")
	check(t, err)
	dir := t.TempDir()
	runOpenSSL(t, ".", "sh", recipe, dir)
	path := func(name string) string { return filepath.Join(dir, name) }
	creds := func(node string) *identity.Credentials {
		return load(t, identity.Files{Cert: path(node + ".crt"), Key: path(node + ".key"), CA: path("ca.crt")})
	}
	ev1, gw1, gw2 := creds("ev1"), creds("gw1"), creds("gw2")
	if id := gw1.Identity(); id.Node != "gw1" || len(id.Roles) != 2 || !id.Has(subjects.MediaRelay) || len(id.Addresses) != 1 ||
		id.Bound("sip_proxy").Weight != 200 || id.Bound("media_relay").Weight != 100 {
		t.Errorf("%+v", id)
	}
	for _, host := range []string{"ev1.example.net", "192.0.2.1"} {
		if cerr, serr, _ := handshake(t, called(gw1.ClientTLS(), host), ev1.ServerTLS()); cerr != nil || serr != nil {
			t.Fatalf("%s: %v, %v", host, cerr, serr)
		}
	}
	if cerr, serr, _ := handshake(t, called(ev1.RouteTLS(), "ev1.example.net"), ev1.RouteTLS()); cerr != nil || serr != nil {
		t.Fatalf("route: %v, %v", cerr, serr)
	}
	list, err := os.ReadFile(path("crl.pem"))
	check(t, err)
	changed, err := ev1.Revocations().Update(list, ev1.Authorities())
	if !changed || err != nil {
		t.Fatal(changed, err)
	}
	for _, c := range []*identity.Credentials{gw1, gw2} {
		if id := c.Identity(); ev1.Revocations().Serial(id.Serial, id.Issuer) != (c == gw2) {
			t.Errorf("%s by its serial %s of %s", id.Node, id.Serial, id.Issuer)
		}
	}
	if _, serr, _ := handshake(t, called(gw2.ClientTLS(), "192.0.2.1"), ev1.ServerTLS()); !errors.Is(serr, identity.ErrRevoked) {
		t.Errorf("revoked: %v", serr)
	}
}

func TestSubjectsThatOpenSSLMakes(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, "cnf"), []byte("[req]\ndistinguished_name=dn\n[dn]\n"), 0o600))
	for name, c := range map[string]struct {
		subject string
		want    error
	}{
		"single": {"/O=example.net/OU=sip_proxy/OU=media_relay/CN=gw1", nil},
		"multi":  {"/O=example.net/OU=sip_proxy+OU=media_relay/CN=gw1", identity.ErrMultiValued},
		"comma":  {"/O=example.net/OU=sip_proxy,OU=media_relay/CN=gw1", identity.ErrSeparator},
		"site":   {"/O=example.net/OU=sip_proxy/L=eu-west-1/CN=gw1", nil},
		"sites":  {"/O=example.net/OU=sip_proxy/L=ams/L=fra/CN=gw1", identity.ErrManySites},
		"town":   {"/O=example.net/OU=sip_proxy/L=New York/CN=gw1", identity.ErrSite},
	} {
		runOpenSSL(t, dir, "openssl", "req", "-x509", "-config", "cnf", "-multivalue-rdn", "-subj", c.subject,
			"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "key", "-out", name,
			"-addext", "basicConstraints=CA:FALSE", "-addext", "extendedKeyUsage=clientAuth",
			"-addext", "subjectAltName=URI:spiffe://example.net/node/gw1")
		data, err := os.ReadFile(filepath.Join(dir, name))
		check(t, err)
		id, err := identity.FromCertificate(leafOf(t, data))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil && (id.Site == "eu-west-1") != (name == "site") {
			t.Errorf("%s: site %q", name, id.Site)
		}
	}
}

// The authority's own work is judged by a program that is not ours.
func TestOpenSSLVerifiesWhatTheAuthorityMakes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := identity.Init(dir, domain, identity.InitOptions{})
	check(t, err)
	for _, node := range []string{"gw1", "gw2"} {
		cert, _, err := a.Issue(request(node, "sip_proxy"))
		check(t, err)
		check(t, os.WriteFile(filepath.Join(dir, node+".crt"), cert, 0o644))
	}
	_, err = a.Revoke("gw2")
	check(t, err)
	verify := []string{"verify", "-x509_strict", "-crl_check", "-CAfile", "ca.crt", "-CRLfile", "crl.pem", "-purpose", "sslclient"}
	runOpenSSL(t, dir, "openssl", append(verify, "gw1.crt")...)
	c := exec.Command("openssl", append(verify, "gw2.crt")...)
	c.Dir = dir
	if out, err := c.CombinedOutput(); err == nil || !strings.Contains(string(out), "revoked") {
		t.Errorf("%v: %s", err, out)
	}
}
