package identity_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

func TestNewAuthorityIsClosedToOthersAndOpensAgain(t *testing.T) {
	for _, k := range []identity.KeyType{"", identity.P256, identity.Ed25519} {
		dir := filepath.Join(t.TempDir(), "deep", "ca")
		a, err := identity.Init(dir, domain, identity.InitOptions{Key: k})
		check(t, err)
		for name, mode := range map[string]os.FileMode{"": 0o700, "ca.key": 0o600, "ca.crt": 0o644, "crl.pem": 0o644} {
			info, err := os.Stat(filepath.Join(dir, name))
			check(t, err)
			if info.Mode().Perm() != mode {
				t.Errorf("%s has mode %o", name, info.Mode().Perm())
			}
		}
		c := a.Certificate()
		if !c.IsCA || c.MaxPathLen != 0 || !c.MaxPathLenZero || c.KeyUsage != x509.KeyUsageCertSign|x509.KeyUsageCRLSign ||
			!slices.Equal(c.Subject.Organization, []string{domain}) || time.Until(c.NotAfter) < 9*365*24*time.Hour {
			t.Errorf("%+v", c)
		}
		again, err := identity.Open(dir)
		check(t, err)
		if again.Domain() != domain || !again.Certificate().Equal(c) || !bytes.Equal(again.CertificatePEM(), a.CertificatePEM()) {
			t.Error("another authority was opened")
		}
		if _, err := identity.Init(dir, domain, identity.InitOptions{}); !errors.Is(err, identity.ErrExists) {
			t.Errorf("second Init: %v", err)
		}
	}
}

func TestAuthorityInAnEmptyDirectoryClosesIt(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Chmod(dir, 0o755))
	_, err := identity.Init(dir, domain, identity.InitOptions{})
	check(t, err)
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("mode %o", info.Mode().Perm())
	}
}

func TestAuthorityIsNotMadeOfNonsense(t *testing.T) {
	full := t.TempDir()
	check(t, os.Chmod(full, 0o755))
	check(t, os.WriteFile(filepath.Join(full, "x"), nil, 0o600))
	file := filepath.Join(full, "x")
	for name, c := range map[string]struct {
		dir, domain string
		o           identity.InitOptions
		want        error
	}{
		"no domain":          {"", "", identity.InitOptions{}, identity.ErrDomain},
		"address as domain":  {"", "192.0.2.1", identity.InitOptions{}, identity.ErrDomain},
		"domain in capitals": {"", "Example.net", identity.InitOptions{}, identity.ErrDomain},
		"domain with a dot":  {"", "example.net.", identity.InitOptions{}, identity.ErrDomain},
		"unknown key":        {"", domain, identity.InitOptions{Key: "rsa"}, identity.ErrRequest},
		"negative validity":  {"", domain, identity.InitOptions{Validity: -1}, identity.ErrRequest},
		"open directory":     {full, domain, identity.InitOptions{}, identity.ErrKeyMode},
		"a file":             {file, domain, identity.InitOptions{}, nil},
	} {
		if c.dir == "" {
			c.dir = filepath.Join(t.TempDir(), "ca")
		}
		if _, err := identity.Init(c.dir, c.domain, c.o); err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDamagedAuthorityDoesNotOpen(t *testing.T) {
	for name, c := range map[string]struct {
		want error
		edit func(dir string) error
	}{
		"no directory":           {identity.ErrFile, os.RemoveAll},
		"no certificate":         {identity.ErrFile, func(d string) error { return os.Remove(filepath.Join(d, "ca.crt")) }},
		"no key":                 {identity.ErrFile, func(d string) error { return os.Remove(filepath.Join(d, "ca.key")) }},
		"key readable by others": {identity.ErrKeyMode, func(d string) error { return os.Chmod(filepath.Join(d, "ca.key"), 0o644) }},
		"directory for all":      {identity.ErrKeyMode, func(d string) error { return os.Chmod(d, 0o777) }},
		"another key": {identity.ErrKeyMismatch, func(d string) error {
			return os.WriteFile(filepath.Join(d, "ca.key"), keyPEM(t, newKey(t)), 0o600)
		}},
		"a leaf as authority": {identity.ErrNotAuthority, func(d string) error {
			leaf, _ := newTestCA(t, "ca", nil).sign(t, goodSpec())
			return os.WriteFile(filepath.Join(d, "ca.crt"), pemOf(leaf), 0o644)
		}},
	} {
		dir := filepath.Join(t.TempDir(), "ca")
		_, err := identity.Init(dir, domain, identity.InitOptions{})
		check(t, err)
		check(t, c.edit(dir))
		if _, err := identity.Open(dir); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// SOAP clients verify the provisioning server, by address or by name.
func TestCertificateOfProvisioningServerIsForServers(t *testing.T) {
	a := newAuthority(t)
	r := request("soap1", "provisioning_server")
	r.Hosts = []string{"ngnpro.example.org"}
	cert, key, err := a.Issue(r)
	check(t, err)
	leaf := load(t, writeFiles(t, cert, key, a.CertificatePEM())).Certificate().Leaf
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		t.Errorf("use %v", leaf.ExtKeyUsage)
	}
	for _, name := range []string{"ngnpro.example.org", "soap1." + domain, leaf.IPAddresses[0].String()} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestIssuedCertificateIsInForm(t *testing.T) {
	a := newAuthority(t)
	r := request("ev1", brokerRole, "sip_proxy")
	r.Hosts = []string{"broker.example.org", "ev1.example.net"}
	r.Key = identity.Ed25519
	cert, key, err := a.Issue(r)
	check(t, err)
	c := load(t, writeFiles(t, cert, key, a.CertificatePEM()))
	id, leaf := c.Identity(), c.Certificate().Leaf
	if id.Domain != domain || id.Node != "ev1" || len(id.Roles) != 2 || len(id.Serial) != 32 {
		t.Errorf("%+v", id)
	}
	if !slices.Equal(id.Hosts, []string{"ev1.example.net", "broker.example.org"}) {
		t.Errorf("hosts %q", id.Hosts)
	}
	if _, ok := leaf.PublicKey.(ed25519.PublicKey); !ok {
		t.Errorf("key %T", leaf.PublicKey)
	}
	if got := leaf.NotAfter.Sub(leaf.NotBefore); got < identity.DefaultValidity || got > identity.DefaultValidity+time.Hour {
		t.Errorf("valid for %s", got)
	}
	if len(leaf.URIs) != 1 || leaf.IsCA || !leaf.BasicConstraintsValid || leaf.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("%+v", leaf)
	}
}

func TestRequestsThatWouldNotBeInFormAreRefused(t *testing.T) {
	a := newAuthority(t)
	edit := func(f func(*identity.Request)) identity.Request {
		r := request("gw1", "sip_proxy")
		f(&r)
		return r
	}
	many := edit(func(r *identity.Request) {
		for i := range 16 {
			r.Roles = append(r.Roles, subjects.Role(fmt.Sprintf("role_%d", i)))
		}
	})
	for name, c := range map[string]struct {
		r    identity.Request
		want error
	}{
		"no node":               {request("", "sip_proxy"), identity.ErrNode},
		"wildcard node":         {request("*", "sip_proxy"), identity.ErrNode},
		"node of the zone":      {request("proxy", "sip_proxy"), identity.ErrNode},
		"node named as role":    {request("my-thing", "my_thing"), identity.ErrNode},
		"no role":               {request("gw1"), identity.ErrRequest},
		"unknown role of ours":  {request("gw1", "thor_root"), subjects.ErrBadRole},
		"role is not one":       {request("gw1", "sip.proxy"), subjects.ErrBadRole},
		"role twice":            {request("gw1", "sip_proxy", "sip_proxy"), identity.ErrDuplicateRole},
		"17 roles":              {many, identity.ErrManyRoles},
		"no address":            {edit(func(r *identity.Request) { r.Addresses = nil }), identity.ErrRequest},
		"zero address":          {edit(func(r *identity.Request) { r.Addresses = make([]netip.Addr, 1) }), identity.ErrAddress},
		"unspecified address":   {edit(func(r *identity.Request) { r.Addresses[0] = netip.IPv4Unspecified() }), identity.ErrAddress},
		"IPv4 in IPv6":          {edit(func(r *identity.Request) { r.Addresses[0] = netip.MustParseAddr("::ffff:192.0.2.1") }), identity.ErrAddress},
		"address with zone":     {edit(func(r *identity.Request) { r.Addresses[0] = netip.MustParseAddr("fe80::1%eth0") }), identity.ErrAddress},
		"address twice":         {edit(func(r *identity.Request) { r.Addresses = append(r.Addresses, r.Addresses[0]) }), identity.ErrAddress},
		"bound of another role": {edit(func(r *identity.Request) { r.Bounds = map[subjects.Role]subjects.Bound{"media_relay": {Weight: 1}} }), identity.ErrBoundRole},
		"bound below zero":      {edit(func(r *identity.Request) { r.Bounds = map[subjects.Role]subjects.Bound{"sip_proxy": {Weight: -1}} }), identity.ErrBound},
		"bound above the range": {edit(func(r *identity.Request) { r.Bounds = map[subjects.Role]subjects.Bound{"sip_proxy": {Priority: 65536}} }), identity.ErrBound},
		"hosts of no broker":    {edit(func(r *identity.Request) { r.Hosts = []string{"a.example.net"} }), identity.ErrRequest},
		"wildcard host":         {edit(func(r *identity.Request) { r.Roles = []subjects.Role{brokerRole}; r.Hosts = []string{"*.example.net"} }), identity.ErrRequest},
		"negative validity":     {edit(func(r *identity.Request) { r.Validity = -1 }), identity.ErrRequest},
		"longer than authority": {edit(func(r *identity.Request) { r.Validity = 20 * 365 * 24 * time.Hour }), identity.ErrTooLong},
		"unknown key":           {edit(func(r *identity.Request) { r.Key = "dsa" }), identity.ErrRequest},
		"weak key":              {edit(func(r *identity.Request) { r.PublicKey = rsaPublic(1024) }), identity.ErrWeakKey},
		"the authority's key":   {edit(func(r *identity.Request) { r.PublicKey = authorityKey(t, a) }), identity.ErrRequest},
	} {
		if cert, key, err := a.Issue(c.r); !errors.Is(err, c.want) || cert != nil || key != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := a.List(); err != nil || len(all) != 0 {
		t.Errorf("the index holds %d, %v", len(all), err)
	}
}

func authorityKey(t *testing.T, a *identity.Authority) crypto.PublicKey {
	t.Helper()
	return leafOf(t, a.CertificatePEM()).PublicKey
}

func TestOperatorNeedsNoAddress(t *testing.T) {
	r := request("ops", subjects.Operator, subjects.Monitor)
	r.Addresses = nil
	_, _, err := newAuthority(t).Issue(r)
	check(t, err)
}

func TestRenewalKeepsWhatTheNodeIs(t *testing.T) {
	a := newAuthority(t)
	r := request("ev1", brokerRole)
	r.Addresses = append(r.Addresses, netip.MustParseAddr("2001:db8::1"))
	r.Hosts = []string{"broker.example.org"}
	r.Bounds = map[subjects.Role]subjects.Bound{brokerRole: {Weight: 300, Priority: 3}}
	r.Key = identity.Ed25519
	r.NotBefore, r.Validity = time.Now().Add(-2*time.Hour), time.Hour // it has expired
	old, oldKey, err := a.Issue(r)
	check(t, err)
	cert, key, err := a.Renew(old, 0, nil)
	check(t, err)
	was, err := identity.FromCertificate(leafOf(t, old))
	check(t, err)
	is := load(t, writeFiles(t, cert, key, a.CertificatePEM())).Identity()
	if is.Node != was.Node || !slices.Equal(is.Roles, was.Roles) || !slices.Equal(is.Addresses, was.Addresses) ||
		!slices.Equal(is.Hosts, was.Hosts) || !maps.Equal(is.Bounds, r.Bounds) || is.Serial == was.Serial || bytes.Equal(key, oldKey) {
		t.Errorf("was %+v, is %+v", was, is)
	}
	if _, ok := leafOf(t, cert).PublicKey.(ed25519.PublicKey); !ok {
		t.Error("another kind of key")
	}
	same, none, err := a.Renew(old, time.Hour, leafOf(t, old).PublicKey)
	check(t, err)
	if none != nil {
		t.Error("a key for a key that is held elsewhere")
	}
	load(t, writeFiles(t, same, oldKey, a.CertificatePEM()))
}

func TestRenewalIsForOwnCertificatesThatHold(t *testing.T) {
	a := newAuthority(t)
	foreign, _, err := newAuthority(t).Issue(request("gw1", "sip_proxy"))
	check(t, err)
	if _, _, err := a.Renew(foreign, 0, nil); !errors.Is(err, identity.ErrForeignCert) {
		t.Errorf("foreign: %v", err)
	}
	own, _, err := a.Issue(request("gw1", "sip_proxy"))
	check(t, err)
	_, err = a.Revoke("gw1")
	check(t, err)
	if _, _, err := a.Renew(own, 0, nil); !errors.Is(err, identity.ErrRevoked) {
		t.Errorf("revoked: %v", err)
	}
	if _, _, err := a.Renew([]byte("x"), 0, nil); !errors.Is(err, identity.ErrPEM) {
		t.Errorf("text: %v", err)
	}
}

func TestRequestFileGivesItsKeyAndNothingElse(t *testing.T) {
	a := newAuthority(t)
	key := newKey(t)
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{"evil.example.net"}}, key)
	check(t, err)
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	for _, data := range [][]byte{der, text} {
		pub, err := identity.ParseRequest(data)
		check(t, err)
		if !key.PublicKey.Equal(pub) {
			t.Error("another key")
		}
		r := request("gw1", "sip_proxy")
		r.PublicKey = pub
		cert, none, err := a.Issue(r)
		check(t, err)
		if none != nil || len(leafOf(t, cert).DNSNames) != 0 {
			t.Error("the request was believed")
		}
		load(t, writeFiles(t, cert, keyPEM(t, key), a.CertificatePEM()))
	}
	der[len(der)-1] ^= 1
	for name, data := range map[string][]byte{"forged": der, "text": []byte("x"), "a certificate": a.CertificatePEM()} {
		if _, err := identity.ParseRequest(data); !errors.Is(err, identity.ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRevocationBySerialAndByNode(t *testing.T) {
	a := newAuthority(t)
	issue := func(node string, from time.Time) *x509.Certificate {
		r := request(node, "sip_proxy")
		r.NotBefore, r.Validity = from, time.Hour
		cert, _, err := a.Issue(r)
		check(t, err)
		return leafOf(t, cert)
	}
	now := time.Now()
	expired, first, second, other := issue("gw1", now.Add(-2*time.Hour)), issue("gw1", now), issue("gw1", now), issue("gw2", now)
	var r identity.Revocations
	revoke := func(which, number string, changed bool) {
		t.Helper()
		crl, err := a.Revoke(which)
		check(t, err)
		did, err := r.Update(crl, []*x509.Certificate{a.Certificate()})
		if err != nil || did != changed || r.Lists()[0].Number != number {
			t.Fatalf("%v, %v, number %s", did, err, r.Lists()[0].Number)
		}
		if now, err := a.CRL(); err != nil || !bytes.Equal(now, crl) {
			t.Errorf("the file differs from what was returned: %v", err)
		}
	}
	colons := strings.ToUpper(fmt.Sprintf("%x", first.SerialNumber.Bytes()))
	for i := len(colons) - 2; i > 0; i -= 2 {
		colons = colons[:i] + ":" + colons[i:]
	}
	revoke(colons, "2", true)
	if !r.Revoked(first) || r.Revoked(second) {
		t.Error("by serial: not that one alone")
	}
	revoke("gw1", "3", true)
	if !r.Revoked(first) || !r.Revoked(second) || r.Revoked(expired) || r.Revoked(other) {
		t.Error("by node: not all that hold, or too many")
	}
	revoke("gw1", "3", false)
	if _, err := a.Revoke("gw3"); !errors.Is(err, identity.ErrNotIssued) {
		t.Error(err)
	}
	states := map[string]int{}
	all, err := a.List()
	check(t, err)
	for _, i := range all {
		states[i.State(time.Now())]++
	}
	if len(all) != 4 || states["revoked"] != 2 || states["expired"] != 1 {
		t.Errorf("%v", states)
	}
	if got, err := a.Show("gw2"); err != nil || len(got) != 1 || got[0].Serial != fmt.Sprintf("%x", other.SerialNumber.Bytes()) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := a.Show("gw3"); !errors.Is(err, identity.ErrNotIssued) {
		t.Error(err)
	}
}

func TestDamagedIndexIsToldAndHindersNoRevocation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := identity.Init(dir, domain, identity.InitOptions{})
	check(t, err)
	_, _, err = a.Issue(request("gw1", "sip_proxy"))
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, "issued", "00.crt"), []byte("x"), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "issued", ".left.crt.1"), []byte("x"), 0o600))
	stranger, _ := newTestCA(t, "ca", nil).sign(t, goodSpec())
	check(t, os.WriteFile(filepath.Join(dir, "issued", "01.crt"), pemOf(stranger), 0o600))
	all, err := a.List()
	if len(all) != 1 || !errors.Is(err, identity.ErrPEM) || !errors.Is(err, identity.ErrForeignCert) {
		t.Errorf("%d, %v", len(all), err)
	}
	crl, err := a.Revoke("gw1")
	if crl == nil || !errors.Is(err, identity.ErrPEM) {
		t.Errorf("%x, %v", crl, err)
	}
	if got, _ := a.Show("gw1"); len(got) != 1 || got[0].Revoked.IsZero() {
		t.Errorf("%+v", got)
	}
}

func TestDamagedListStopsRevocationInsteadOfStartingAnew(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := identity.Init(dir, domain, identity.InitOptions{})
	check(t, err)
	_, _, err = a.Issue(request("gw1", "sip_proxy"))
	check(t, err)
	path := filepath.Join(dir, "crl.pem")
	foreign := pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: newTestCA(t, "ca", nil).crl(t, 1)})
	for _, c := range []struct {
		data []byte
		want error
	}{{[]byte("x"), identity.ErrCRL}, {foreign, identity.ErrCRLUnknown}} {
		check(t, os.WriteFile(path, c.data, 0o644))
		if _, err := a.Revoke("gw1"); !errors.Is(err, c.want) {
			t.Error(err)
		}
	}
	check(t, os.Remove(path))
	if _, err := a.Revoke("gw1"); !errors.Is(err, identity.ErrFile) {
		t.Error(err)
	}
}

// childEnv makes a test process a user of the authority in that directory.
const childEnv = "THOR_TEST_AUTHORITY"

func TestChildProcessUsesAuthority(t *testing.T) {
	dir := os.Getenv(childEnv)
	if dir == "" {
		return // only for the children of the test below
	}
	useAuthority(t, dir, fmt.Sprintf("p%d", os.Getpid()))
}

func useAuthority(t *testing.T, dir, prefix string) {
	a, err := identity.Open(dir)
	check(t, err)
	for i := range 5 {
		node := fmt.Sprintf("%s-%d", prefix, i)
		_, _, err := a.Issue(request(node, "sip_proxy"))
		check(t, err)
		_, err = a.Revoke(node)
		check(t, err)
	}
}

func TestProcessesShareAnAuthorityWithoutLosingARevocation(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	a, err := identity.Init(dir, domain, identity.InitOptions{})
	check(t, err)
	var g sync.WaitGroup
	for range 2 {
		g.Go(func() {
			c := exec.Command(os.Args[0], "-test.run=^TestChildProcessUsesAuthority$")
			c.Env = append(os.Environ(), childEnv+"="+dir)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
		g.Go(func() { useAuthority(t, dir, fmt.Sprintf("g%d", time.Now().UnixNano())) })
	}
	g.Wait()
	all, err := a.List()
	check(t, err)
	for _, i := range all {
		if i.Revoked.IsZero() {
			t.Errorf("the revocation of %s is lost", i.Node)
		}
	}
	crl, err := a.CRL()
	check(t, err)
	var r identity.Revocations
	_, err = r.Update(crl, []*x509.Certificate{a.Certificate()})
	check(t, err)
	if l := r.Lists()[0]; len(all) != 20 || l.Entries != 20 || l.Number != "21" {
		t.Errorf("%d certificates, list %+v", len(all), l)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*.*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

func TestFailedInitIsNoAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "issued"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Init(dir, "example.net", identity.InitOptions{}); err == nil {
		t.Fatal("made without an index")
	}
	if _, err := identity.Open(dir); !errors.Is(err, identity.ErrFile) {
		t.Error(err)
	}
}
