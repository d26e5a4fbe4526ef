package identity_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"thor/identity"
	"thor/subjects"
)

const domain = "example.net"

// need fails where nothing may be skipped, and skips elsewhere.
func need(t *testing.T, missing bool, format string, args ...any) {
	t.Helper()
	switch {
	case !missing:
	case os.Getenv("CI") == "true":
		t.Fatalf(format, args...)
	default:
		t.Skipf(format, args...)
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	return k
}

// An atv is one attribute of a subject with a chosen string type.
type atv struct {
	oid   []int
	tag   int
	value string
}

func o(v string) []atv  { return []atv{{[]int{2, 5, 4, 10}, asn1.TagUTF8String, v}} }
func ou(v string) []atv { return []atv{{[]int{2, 5, 4, 11}, asn1.TagUTF8String, v}} }
func cn(v string) []atv { return []atv{{[]int{2, 5, 4, 3}, asn1.TagUTF8String, v}} }

func subjectOf(t testing.TB, rdns ...[]atv) []byte {
	t.Helper()
	type pair struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue
	}
	type pairSET []pair
	var seq []pairSET
	for _, rdn := range rdns {
		var set pairSET
		for _, a := range rdn {
			set = append(set, pair{a.oid, asn1.RawValue{Tag: a.tag, Bytes: []byte(a.value)}})
		}
		seq = append(seq, set)
	}
	der, err := asn1.Marshal(seq)
	check(t, err)
	return der
}

// A san is one GeneralName: 2 is a DNS name, 6 a URI, 7 an IP address.
type san struct {
	tag   int
	value string
}

func uri(s string) san { return san{6, s} }
func ip(s string) san {
	a := netip.MustParseAddr(s)
	return san{7, string(a.AsSlice())}
}

func sanExtension(t testing.TB, names ...san) pkix.Extension {
	t.Helper()
	var seq []asn1.RawValue
	for _, n := range names {
		seq = append(seq, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: n.tag, Bytes: []byte(n.value)})
	}
	der, err := asn1.Marshal(seq)
	check(t, err)
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

// A spec is a certificate to be, with nothing checked.
type spec struct {
	subject  [][]atv
	names    []san
	template x509.Certificate
	public   crypto.PublicKey
}

func goodSpec() *spec {
	return &spec{
		subject: [][]atv{o(domain), ou("sip_proxy"), ou("media_relay"), cn("gw1")},
		names:   []san{uri("spiffe://example.net/node/gw1"), ip("192.0.2.10"), ip("2001:db8::10")},
		template: x509.Certificate{
			SerialNumber: big.NewInt(0xabc), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		},
	}
}

// A testCA signs whatever it is told to, unlike an Authority.
type testCA struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newTestCA(t testing.TB, name string, parent *testCA, edit ...func(*x509.Certificate)) *testCA {
	t.Helper()
	key := newKey(t)
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), RawSubject: subjectOf(t, o(domain), cn(name)),
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	for _, e := range edit {
		e(tmpl)
	}
	up := &testCA{tmpl, key}
	if parent != nil {
		up = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, up.cert, key.Public(), up.key)
	check(t, err)
	c, err := x509.ParseCertificate(der)
	check(t, err)
	return &testCA{c, key}
}

func (ca *testCA) sign(t testing.TB, s *spec) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := newKey(t)
	public := s.public
	if public == nil {
		public = key.Public()
	}
	tmpl := s.template
	tmpl.RawSubject = subjectOf(t, s.subject...)
	if len(s.names) > 0 {
		tmpl.ExtraExtensions = append(tmpl.ExtraExtensions, sanExtension(t, s.names...))
	}
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, ca.cert, public, ca.key)
	check(t, err)
	c, err := x509.ParseCertificate(der)
	check(t, err)
	return c, key
}

func pemOf(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func leafOf(t testing.TB, certificate []byte) *x509.Certificate {
	t.Helper()
	b, _ := pem.Decode(certificate)
	if b == nil {
		t.Fatal("no PEM")
	}
	c, err := x509.ParseCertificate(b.Bytes)
	check(t, err)
	return c
}

func newAuthority(t testing.TB) *identity.Authority {
	t.Helper()
	a, err := identity.Init(filepath.Join(t.TempDir(), "ca"), domain, identity.InitOptions{})
	check(t, err)
	return a
}

func request(node string, roles ...subjects.Role) identity.Request {
	return identity.Request{Node: subjects.NodeID(node), Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}
}

// writeFiles puts the three files of a node into a directory of their own.
func writeFiles(t testing.TB, cert, key, ca []byte) identity.Files {
	t.Helper()
	dir := t.TempDir()
	f := identity.Files{Cert: filepath.Join(dir, "node.crt"), Key: filepath.Join(dir, "node.key"), CA: filepath.Join(dir, "ca.crt")}
	check(t, os.WriteFile(f.Cert, cert, 0o644))
	check(t, os.WriteFile(f.Key, key, 0o600))
	check(t, os.WriteFile(f.CA, ca, 0o644))
	return f
}

func issueFiles(t testing.TB, a *identity.Authority, r identity.Request) identity.Files {
	t.Helper()
	cert, key, err := a.Issue(r)
	check(t, err)
	return writeFiles(t, cert, key, a.CertificatePEM())
}

func load(t testing.TB, f identity.Files) *identity.Credentials {
	t.Helper()
	c, err := identity.Load(f)
	check(t, err)
	return c
}

func credentials(t testing.TB, a *identity.Authority, node string, roles ...subjects.Role) *identity.Credentials {
	t.Helper()
	return load(t, issueFiles(t, a, request(node, roles...)))
}
