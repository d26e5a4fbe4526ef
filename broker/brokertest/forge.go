package brokertest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// Forge makes a certificate that the network's authority has really signed, in
// the good form for node and roles unless edit breaks it: what Issue refuses to
// make, another authority may.
func (n *Net) Forge(node string, roles []subjects.Role, edit func(*x509.Certificate)) tls.Certificate {
	n.t.Helper()
	return forge(n.t, n.Authority.Certificate(), n.authorityKey(), node, roles, edit)
}

func (n *Net) authorityKey() crypto.Signer {
	n.t.Helper()
	data, err := os.ReadFile(filepath.Join(n.dir, "ca", "ca.key"))
	if err != nil {
		n.t.Fatal(err)
	}
	b, _ := pem.Decode(data)
	key, err := x509.ParsePKCS8PrivateKey(b.Bytes)
	if err != nil {
		n.t.Fatal(err)
	}
	return key.(crypto.Signer)
}

func forge(t testing.TB, ca *x509.Certificate, caKey crypto.Signer, node string, roles []subjects.Role, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		URIs:        []*url.URL{{Scheme: "spiffe", Host: Domain, Path: "/node/" + node}},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	// A name type per RDN: pkix.Name would put all OUs into one.
	name := pkix.RDNSequence{{{Type: []int{2, 5, 4, 10}, Value: Domain}}}
	for _, r := range roles {
		name = append(name, pkix.RelativeDistinguishedNameSET{{Type: []int{2, 5, 4, 11}, Value: string(r)}})
	}
	if c.RawSubject, err = asn1.Marshal(name); err != nil {
		t.Fatal(err)
	}
	if edit != nil {
		edit(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// Present are the options of a client that shows cert, whatever it is worth;
// none if cert is nil. The broker is verified by nothing but its authority.
func (n *Net) Present(cert *tls.Certificate, edit ...func(*tls.Config)) []nats.Option {
	pool := x509.NewCertPool()
	pool.AddCert(n.Authority.Certificate())
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS13}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	for _, f := range edit {
		f(c)
	}
	return []nats.Option{nats.Secure(c), nats.TLSHandshakeFirst(), nats.NoReconnect(), nats.Timeout(10 * time.Second)}
}
