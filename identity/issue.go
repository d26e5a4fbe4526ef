package identity

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"thor/identity/atomicfile"
	"thor/subjects"
)

// A Request is what a new certificate shall say.
type Request struct {
	Node      subjects.NodeID
	Roles     []subjects.Role
	Bounds    map[subjects.Role]subjects.Bound // more than the default weight or priority; zero fields: the default
	Site      subjects.Site                    // where the node is; empty: the certificate does not say
	Addresses []netip.Addr                     // needed by every role but thor_operator and thor_monitor
	Hosts     []string                         // further host names of a server that clients verify; <node>.<domain> is always one
	Validity  time.Duration                    // 0 = DefaultValidity
	NotBefore time.Time                        // zero = five minutes ago
	Key       KeyType                          // of the new key
	PublicKey crypto.PublicKey                 // certify this key instead of making one
}

func (r *Request) check() error {
	if _, err := subjects.ParseNodeID(string(r.Node)); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrRequest, ErrNode, err)
	}
	if len(r.Roles) == 0 {
		return fmt.Errorf("%w: no role", ErrRequest)
	}
	needs := false
	for _, role := range r.Roles {
		if _, err := subjects.ParseRole(string(role)); err != nil {
			return fmt.Errorf("%w: %w", ErrRequest, err)
		}
		needs = needs || role != subjects.Operator && role != subjects.Monitor
	}
	if needs && len(r.Addresses) == 0 {
		return fmt.Errorf("%w: no address, and a member announces at least one", ErrRequest)
	}
	if len(r.Hosts) > 0 && !serves(r.Roles) {
		return fmt.Errorf("%w: host names are for %s, %s and %s only", ErrRequest, subjects.EventServer, subjects.ProvisioningServer, subjects.Monitor)
	}
	for _, h := range r.Hosts {
		if !subjects.IsHostName(h) {
			return fmt.Errorf("%w: %s is not a host name", ErrRequest, show(h))
		}
	}
	if err := bounds(r.Bounds).check(r.Roles); err != nil {
		return fmt.Errorf("%w: %w", ErrRequest, err)
	}
	if _, err := subjects.ParseSite(string(r.Site)); err != nil {
		return fmt.Errorf("%w: %w: %w", ErrRequest, ErrSite, err)
	}
	if r.Validity < 0 {
		return fmt.Errorf("%w: a validity of %s", ErrRequest, r.Validity)
	}
	if r.PublicKey != nil {
		return checkKey(r.PublicKey)
	}
	return nil
}

// Issue makes a certificate, followed by its key unless r.PublicKey is set. The
// key is not kept. What FromCertificate would refuse is not issued.
func (a *Authority) Issue(r Request) (certificate, key []byte, err error) {
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(a.dir, lockPatience)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	return a.issue(r)
}

// issue is called with the lock held and r checked.
func (a *Authority) issue(r Request) (certificate, key []byte, err error) {
	pub := r.PublicKey
	if pub == nil {
		var s crypto.Signer
		if s, key, err = newKey(r.Key); err != nil {
			return nil, nil, err
		}
		pub = s.Public()
	}
	if sameKey(pub, a.cert.PublicKey) {
		return nil, nil, fmt.Errorf("%w: its key is the authority's own", ErrRequest)
	}
	if r.PublicKey != nil {
		if err := a.keyIsOf(r.Node, pub); err != nil {
			return nil, nil, err
		}
	}
	t, err := a.template(r)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, pub, a.key)
	if err != nil {
		return nil, nil, fmt.Errorf("sign the certificate of %s: %w", r.Node, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, fmt.Errorf("read the certificate of %s again: %w", r.Node, err)
	}
	if _, err := FromCertificate(leaf); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	certificate = certPEM(der)
	if err := atomicfile.Write(a.issuedPath(SerialText(leaf.SerialNumber)+certSuffix), certificate, 0o644); err != nil {
		return nil, nil, fmt.Errorf("note the certificate of %s: %w", r.Node, err)
	}
	return certificate, key, nil
}

// keyIsOf refuses a key that a certificate of another node holds: a key that was copied to
// two hosts could not be revoked for one of them. Certificates that are revoked or have
// ended do not count, so that a host may get another name. What of the index cannot be read
// is not compared.
func (a *Authority) keyIsOf(node subjects.NodeID, key crypto.PublicKey) error {
	list, err := a.List()
	if list == nil && err != nil {
		return err
	}
	now := time.Now()
	for _, i := range list {
		if s := i.State(now); i.Node != node && s != stateRevoked && s != stateExpired && sameKey(i.Certificate.PublicKey, key) {
			return fmt.Errorf("%w: its key is that of node %s, certificate %s: make a key of its own on each host, or revoke that certificate if this is the same host under another name",
				ErrRequest, i.Node, i.Serial)
		}
	}
	return nil
}

func (a *Authority) issuedPath(name string) string { return filepath.Join(a.dir, dirIssued, name) }

func (a *Authority) template(r Request) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	roles := slices.Sorted(slices.Values(r.Roles))
	subject, err := subjectDER(a.domain, roles, r.Bounds, r.Site, string(r.Node))
	if err != nil {
		return nil, fmt.Errorf("encode the name of %s: %w", r.Node, err)
	}
	from, validity := r.NotBefore, r.Validity
	if validity == 0 {
		validity = DefaultValidity
	}
	to := from.Add(validity)
	if from.IsZero() {
		now := time.Now()
		from, to = now.Add(-backdate), now.Add(validity)
	}
	if from.Before(a.cert.NotBefore) && r.NotBefore.IsZero() {
		from = a.cert.NotBefore
	}
	if to.After(a.cert.NotAfter) {
		return nil, fmt.Errorf("%w: until %s, and the authority ends %s; ask for less, or make a new authority",
			ErrTooLong, to.UTC().Format(time.DateOnly), a.cert.NotAfter.UTC().Format(time.DateOnly))
	}
	t := &x509.Certificate{
		SerialNumber: serial, RawSubject: subject, NotBefore: from, NotAfter: to,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		URIs:                  []*url.URL{{Scheme: "spiffe", Host: a.domain, Path: "/node/" + string(r.Node)}},
	}
	for _, ip := range r.Addresses {
		if err := checkAddress(ip); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRequest, err)
		}
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	if serves(roles) {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
		own := string(r.Node) + "." + a.domain
		t.DNSNames = append([]string{own}, slices.DeleteFunc(slices.Clone(r.Hosts), func(h string) bool { return h == own })...)
	}
	return t, nil
}

// serves reports whether one of the roles is a TLS server: brokers, the
// provisioning server for its SOAP clients, and the web view for browsers, which is
// not an operator.
func serves(roles []subjects.Role) bool {
	return slices.Contains(roles, subjects.EventServer) || slices.Contains(roles, subjects.ProvisioningServer) ||
		slices.Contains(roles, subjects.Monitor) && !slices.Contains(roles, subjects.Operator)
}

// Renew issues the successor of a certificate, which may have expired but must
// be of this authority and not revoked: same node, roles, bounds, site, addresses and
// host names. With a public key (see [ParseRequest], or the old certificate's own)
// it certifies that and returns no key; with nil it makes a new key.
func (a *Authority) Renew(certificate []byte, validity time.Duration, public crypto.PublicKey) (newCertificate, key []byte, err error) {
	certs, err := parseCertificates(certificate)
	if err != nil {
		return nil, nil, err
	}
	old := certs[0]
	if !a.signed(old) {
		return nil, nil, fmt.Errorf("certificate %s: %w", SerialText(old.SerialNumber), ErrForeignCert)
	}
	id, err := FromCertificate(old)
	if err != nil {
		return nil, nil, err
	}
	r := Request{
		Node: id.Node, Roles: id.Roles, Bounds: id.Bounds, Site: id.Site, Addresses: id.Addresses, Hosts: id.Hosts,
		Validity: validity, PublicKey: public,
	}
	if _, ok := old.PublicKey.(ed25519.PublicKey); ok {
		r.Key = Ed25519
	}
	if err := r.check(); err != nil {
		return nil, nil, err
	}
	unlock, err := lock(a.dir, lockPatience) // so that no revocation slips in between
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	crl, err := a.readCRL()
	if err != nil {
		return nil, nil, err
	}
	if at, ok := revokedAt(crl, old.SerialNumber); ok {
		return nil, nil, fmt.Errorf("certificate %s: %w since %s; issue a new one instead", id.Serial, ErrRevoked, at.UTC().Format(time.DateOnly))
	}
	return a.issue(r)
}

// signed reports whether c is this authority's work, at whatever time.
func (a *Authority) signed(c *x509.Certificate) bool {
	return bytes.Equal(c.RawIssuer, a.cert.RawSubject) &&
		a.cert.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// An Issued is a certificate in the authority's index.
type Issued struct {
	Identity
	Revoked     time.Time // zero: it is not
	Certificate *x509.Certificate
}

const (
	stateRevoked = "revoked"
	stateExpired = "expired"
)

// State is "valid", "revoked", "expired" or "not yet valid" at now.
func (i *Issued) State(now time.Time) string {
	switch err := i.ValidAt(now); {
	case !i.Revoked.IsZero():
		return stateRevoked
	case errors.Is(err, ErrExpired):
		return stateExpired
	case err != nil:
		return "not yet valid"
	}
	return "valid"
}

// List returns all that was issued, by node and then by end of validity. A file
// of the index that cannot be read is left out and named in the error, beside
// which the rest is still returned.
func (a *Authority) List() ([]Issued, error) {
	crl, err := a.readCRL()
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(a.path(dirIssued))
	if err != nil {
		return nil, fmt.Errorf("read the index of certificates: %w", err)
	}
	var out []Issued
	var errs []error
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), certSuffix) || strings.HasPrefix(e.Name(), ".") {
			continue // what an interrupted write left
		}
		i, err := a.readIssued(e.Name(), crl)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, *i)
	}
	slices.SortFunc(out, func(x, y Issued) int {
		if c := strings.Compare(string(x.Node), string(y.Node)); c != 0 {
			return c
		}
		if c := x.NotAfter.Compare(y.NotAfter); c != 0 {
			return c
		}
		return strings.Compare(x.Serial, y.Serial)
	})
	return out, errors.Join(errs...)
}

func (a *Authority) readIssued(name string, crl *x509.RevocationList) (*Issued, error) {
	path := a.issuedPath(name)
	certs, err := readCertificates(path)
	if err != nil {
		return nil, err
	}
	id, err := FromCertificate(certs[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if !a.signed(certs[0]) {
		return nil, fmt.Errorf("%s: %w", path, ErrForeignCert)
	}
	i := &Issued{Identity: *id, Certificate: certs[0]}
	i.Revoked, _ = revokedAt(crl, certs[0].SerialNumber)
	return i, nil
}

func revokedAt(crl *x509.RevocationList, serial *big.Int) (time.Time, bool) {
	for _, e := range crl.RevokedCertificateEntries {
		if e.SerialNumber.Cmp(serial) == 0 {
			return e.RevocationTime, true
		}
	}
	return time.Time{}, false
}

// Show returns what was issued under a serial (hex, with or without colons) or
// to a node; ErrNotIssued if there is nothing.
func (a *Authority) Show(which string) ([]Issued, error) {
	all, err := a.List()
	out := pick(all, which)
	if len(out) == 0 && err == nil {
		err = fmt.Errorf("%s: %w", show(which), ErrNotIssued)
	}
	return out, err
}

func pick(all []Issued, which string) []Issued {
	serial := strings.ToLower(strings.ReplaceAll(which, ":", ""))
	bySerial := func(i Issued) bool { return i.Serial != serial }
	if out := slices.DeleteFunc(slices.Clone(all), bySerial); len(out) > 0 {
		return out
	}
	return slices.DeleteFunc(slices.Clone(all), func(i Issued) bool { return string(i.Node) != which })
}
