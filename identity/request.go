package identity

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"thor/subjects"
)

const pemRequest = "CERTIFICATE REQUEST"

// A SigningRequest is what a PKCS #10 request says. The key is proven: the sender
// holds the private one. All else is a wish, in the sender's words, that an
// authority shows to its operator and does not follow.
type SigningRequest struct {
	PublicKey crypto.PublicKey
	Domain    string
	Node      string
	Roles     []string // and bounds, as OUs write them
	Site      string   // the L, or all of them
	Addresses []netip.Addr
	Hosts     []string
	Fault     error // why Domain, Node and Roles could not be read; nil: they could
}

// NewRequest makes a key and a request for its certificate, both PEM. What w wants
// besides the key is a wish: the authority decides. domain may be empty.
func NewRequest(domain string, w Request) (request, key []byte, err error) {
	signer, key, err := newKey(w.Key)
	if err != nil {
		return nil, nil, err
	}
	request, err = signRequest(domain, &w, signer)
	return request, key, err
}

// NewRequestFor is NewRequest for the key of a file, which stays in use.
func NewRequestFor(keyFile, domain string, w Request) (request []byte, err error) {
	signer, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	return signRequest(domain, &w, signer)
}

func signRequest(domain string, w *Request, signer crypto.Signer) ([]byte, error) {
	if _, err := subjects.ParseNodeID(string(w.Node)); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrRequest, ErrNode, err)
	}
	if err := bounds(w.Bounds).check(w.Roles); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if _, err := subjects.ParseSite(string(w.Site)); err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrRequest, ErrSite, err)
	}
	t := &x509.CertificateRequest{DNSNames: w.Hosts}
	if domain != "" {
		if err := CheckDomain(domain); err != nil {
			return nil, err
		}
		t.URIs = []*url.URL{{Scheme: "spiffe", Host: domain, Path: "/node/" + string(w.Node)}}
	}
	for _, a := range w.Addresses {
		if err := checkAddress(a); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		t.IPAddresses = append(t.IPAddresses, a.AsSlice())
	}
	var err error
	if t.RawSubject, err = subjectDER(domain, slices.Sorted(slices.Values(w.Roles)), w.Bounds, w.Site, string(w.Node)); err != nil {
		return nil, fmt.Errorf("encode the name of %s: %w", w.Node, err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, t, signer)
	if err != nil {
		return nil, fmt.Errorf("sign the request of %s: %w", w.Node, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemRequest, Bytes: der}), nil
}

// ReadRequest reads a PKCS #10 request in PEM or DER, after checking that its sender
// holds the private key.
func ReadRequest(data []byte) (*SigningRequest, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%w: it is larger than %d bytes", ErrRequest, maxFile)
	}
	if bytes.Contains(data, []byte("-----BEGIN")) {
		b, rest := pem.Decode(data)
		if b == nil || b.Type != pemRequest && b.Type != "NEW "+pemRequest {
			return nil, fmt.Errorf("%w: no -----BEGIN CERTIFICATE REQUEST----- in it", ErrRequest)
		}
		if bytes.Contains(rest, []byte("-----BEGIN")) {
			return nil, fmt.Errorf("%w: more than one object in it: sign each from a file of its own", ErrRequest)
		}
		data = b.Bytes
	}
	c, err := x509.ParseCertificateRequest(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrRequest, err)
	}
	if err := c.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: its sender does not hold the key: %v", ErrRequest, err)
	}
	if err := checkKey(c.PublicKey); err != nil {
		return nil, err
	}
	r := &SigningRequest{PublicKey: c.PublicKey, Hosts: c.DNSNames}
	for _, ip := range c.IPAddresses {
		if a, ok := netip.AddrFromSlice(ip); ok {
			r.Addresses = append(r.Addresses, a.Unmap())
		}
	}
	names, err := parseNames(c.RawSubject)
	r.Fault = err
	for _, n := range names {
		switch {
		case n.oid.Equal(oidOrganization):
			r.Domain = n.value
		case n.oid.Equal(oidUnit):
			r.Roles = append(r.Roles, n.value)
		case n.oid.Equal(oidLocality):
			r.Site = strings.TrimPrefix(r.Site+" "+n.value, " ")
		case n.oid.Equal(oidCommonName):
			r.Node = n.value
		}
	}
	return r, nil
}

// ParseRequest is the key of ReadRequest.
func ParseRequest(data []byte) (crypto.PublicKey, error) {
	r, err := ReadRequest(data)
	if err != nil {
		return nil, err
	}
	return r.PublicKey, nil
}

// KeyText is a short name of a public key, by which two people compare it:
// "SHA256:" and the digest of its SubjectPublicKeyInfo, as ssh writes its own.
func KeyText(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "unknown"
	}
	sum := sha256.Sum256(der)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}
