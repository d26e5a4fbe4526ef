package identity_test

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thor/identity"
	"thor/subjects"
)

// What a request asks for is read back as a wish; the certificate says what the
// authority was asked to certify.
func TestWishesOfARequestAreReadAndNotFollowed(t *testing.T) {
	a := newAuthority(t)
	w := request("gw1", "sip_proxy", "thor_operator")
	w.Bounds = map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: 200}}
	w.Hosts = []string{"evil.example.net"}
	csr, key, err := identity.NewRequest("example.org", w)
	check(t, err)
	r, err := identity.ReadRequest(csr)
	check(t, err)
	if r.Fault != nil || r.Domain != "example.org" || r.Node != "gw1" || !slices.Equal(r.Roles, []string{"sip_proxy", "thor_operator", "sip_proxy:weight:200"}) ||
		!slices.Equal(r.Addresses, w.Addresses) || !slices.Equal(r.Hosts, w.Hosts) {
		t.Errorf("read as %+v", r)
	}

	given := request("gw2", "media_relay")
	given.Addresses = []netip.Addr{netip.MustParseAddr("192.0.2.77")}
	given.PublicKey = r.PublicKey
	cert, none, err := a.Issue(given)
	check(t, err)
	id, err := identity.FromCertificate(leafOf(t, cert))
	check(t, err)
	if none != nil || id.Node != "gw2" || id.Domain != a.Domain() || !slices.Equal(id.Roles, given.Roles) || !slices.Equal(id.Addresses, given.Addresses) || len(id.Hosts)+len(id.Bounds) > 0 {
		t.Errorf("certified %+v", id)
	}
	load(t, writeFiles(t, cert, key, a.CertificatePEM()))

	file := filepath.Join(t.TempDir(), "key")
	check(t, os.WriteFile(file, key, 0o600))
	again, err := identity.NewRequestFor(file, "", w)
	check(t, err)
	second, err := identity.ReadRequest(again)
	check(t, err)
	if identity.KeyText(second.PublicKey) != identity.KeyText(r.PublicKey) || second.Domain != "" {
		t.Errorf("a request for the key of a file: %+v", second)
	}
}

// A key on two hosts cannot be revoked for one of them.
func TestAKeyIsOfOneNode(t *testing.T) {
	a := newAuthority(t)
	csr, _, err := identity.NewRequest("", request("gw1", "sip_proxy"))
	check(t, err)
	r, err := identity.ReadRequest(csr)
	check(t, err)
	sign := func(node string) ([]byte, error) {
		given := request(node, "sip_proxy")
		given.PublicKey = r.PublicKey
		cert, _, err := a.Issue(given)
		return cert, err
	}
	cert, err := sign("gw1")
	check(t, err)
	_, err = sign("gw2")
	if !errors.Is(err, identity.ErrRequest) || !strings.Contains(err.Error(), "that of node gw1") {
		t.Errorf("for another node: %v", err)
	}
	other, _, err := a.Issue(request("gw3", "sip_proxy"))
	check(t, err)
	if _, _, err := a.Renew(other, 0, r.PublicKey); !errors.Is(err, identity.ErrRequest) {
		t.Errorf("as the renewal of another node: %v", err)
	}
	if _, err := sign("gw1"); err != nil {
		t.Errorf("for the same node: %v", err)
	}
	if _, _, err := a.Renew(cert, 0, r.PublicKey); err != nil {
		t.Errorf("as its renewal: %v", err)
	}
	_, err = a.Revoke("gw1")
	check(t, err)
	if _, err := sign("gw2"); err != nil {
		t.Errorf("once the other node is revoked: %v", err)
	}
}

func TestAFileOfTwoRequestsIsRefused(t *testing.T) {
	csr, _, err := identity.NewRequest("", request("gw1", "sip_proxy"))
	check(t, err)
	if r, err := identity.ReadRequest(append(csr, csr...)); !errors.Is(err, identity.ErrRequest) || r != nil {
		t.Errorf("%+v %v", r, err)
	}
	if _, err := identity.ReadRequest(append(csr, "\nmade by hand\n"...)); err != nil {
		t.Errorf("with text behind it: %v", err)
	}
}

func FuzzInspect(f *testing.F) {
	csr, key, err := identity.NewRequest("", request("gw1", "sip_proxy"))
	check(f, err)
	a := newAuthority(f)
	f.Add(csr)
	f.Add(append(a.CertificatePEM(), key...))
	crl, err := a.CRL()
	check(f, err)
	f.Add(crl)
	f.Fuzz(func(t *testing.T, data []byte) {
		objects, err := identity.Inspect(data)
		if (err == nil) != (len(objects) > 0) {
			t.Errorf("%d objects, %v", len(objects), err)
		}
	})
}
