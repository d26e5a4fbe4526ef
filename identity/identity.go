package identity

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

const (
	uriPrefix    = "spiffe://"
	maxAddresses = subjects.MaxCertified // IP SANs of one certificate; an announcement carries fewer
	minRSA       = 2048
	maxRSA       = 8192 // crypto/tls refuses more
	maxDomain    = 189  // so that a host label of 63 and a dot fit before it in 253
)

// An Identity is what a certificate says of a node. Treat it as read-only: it
// is shared. The zero value names no node.
type Identity struct {
	Domain    string
	Node      subjects.NodeID
	Roles     []subjects.Role                  // sorted, never empty
	Addresses []netip.Addr                     // what it may announce, in the certificate's order; may be empty
	Bounds    map[subjects.Role]subjects.Bound // of weight and priority, where it names any; see Bound
	Site      subjects.Site                    // its L; empty: it names none
	Hosts     []string                         // DNS SANs that are plain host names, of meaning for brokers only
	NotBefore time.Time
	NotAfter  time.Time
	Serial    string // lower-case hex, an even number of digits as openssl prints it
	Issuer    string // tells authorities apart that gave the same serial; see Revocations.Serial
}

// Has reports whether the certificate names role r.
func (id *Identity) Has(r subjects.Role) bool { return slices.Contains(id.Roles, r) }

// MayUse reports whether a is one of the certificate's addresses.
func (id *Identity) MayUse(a netip.Addr) bool { return slices.Contains(id.Addresses, a) }

// ValidAt returns ErrNotYetValid or ErrExpired, with the dates, if the
// certificate's time does not include now.
func (id *Identity) ValidAt(now time.Time) error {
	return validAt(id.NotBefore, id.NotAfter, now)
}

func validAt(from, to, now time.Time) error {
	const form = "2006-01-02 15:04:05 UTC"
	switch {
	case now.Before(from):
		return fmt.Errorf("%w: valid from %s, and this clock says %s", ErrNotYetValid, from.UTC().Format(form), now.UTC().Format(form))
	case now.After(to):
		return fmt.Errorf("%w: valid until %s, and this clock says %s", ErrExpired, to.UTC().Format(form), now.UTC().Format(form))
	}
	return nil
}

// FromCertificate reads the identity of a parsed leaf certificate, or says what
// in its form is wrong: the error wraps one of the sentinels of this package.
// It checks the form only, neither the time (see [Identity.ValidAt]) nor who
// signed it: use [Credentials.Verify] or [Credentials.Check] for a peer.
func FromCertificate(leaf *x509.Certificate) (*Identity, error) {
	if leaf == nil {
		return nil, ErrNoCertificate
	}
	if err := checkUse(leaf); err != nil {
		return nil, err
	}
	if err := checkStrength(leaf); err != nil {
		return nil, err
	}
	domain, node, err := parseURI(leaf)
	if err != nil {
		return nil, err
	}
	units, err := parseSubject(leaf.RawSubject, domain)
	if err != nil {
		return nil, err
	}
	roles := units.roles
	for _, r := range roles {
		if r.HostLabel() == string(node) {
			return nil, fmt.Errorf("%w: %q is the host name of its role %s", ErrNode, node, r)
		}
	}
	if err := checkExtendedUse(leaf, roles); err != nil {
		return nil, err
	}
	addrs, err := addresses(leaf)
	if err != nil {
		return nil, err
	}
	return &Identity{
		Domain: domain, Node: node, Roles: roles, Addresses: addrs, Bounds: units.bounds, Site: units.site, Hosts: hosts(leaf),
		NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Serial: SerialText(leaf.SerialNumber), Issuer: issuerText(leaf.RawIssuer, leaf.AuthorityKeyId),
	}, nil
}

// hosts leaves out wildcards and what is no host name; crypto/x509 reads the
// certificate itself when it verifies a name.
func hosts(c *x509.Certificate) []string {
	var out []string
	for _, h := range c.DNSNames {
		if h = strings.ToLower(h); subjects.IsHostName(h) && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return out
}

// SerialText writes a serial number as [Identity.Serial] has it.
func SerialText(n *big.Int) string {
	if n == nil {
		return ""
	}
	return fmt.Sprintf("%02x", n.Bytes())
}

func checkUse(c *x509.Certificate) error {
	switch {
	case c.BasicConstraintsValid && c.IsCA:
		return fmt.Errorf("%w: it says CA:TRUE", ErrAuthorityLeaf)
	case c.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0:
		return fmt.Errorf("%w: its key usage allows signing certificates or revocation lists", ErrAuthorityLeaf)
	case c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return ErrKeyUsage
	}
	return nil
}

func checkExtendedUse(c *x509.Certificate, roles []subjects.Role) error {
	switch {
	case !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth):
		return ErrClientAuth
	case slices.Contains(roles, subjects.EventServer) && !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth):
		return ErrServerAuth
	}
	return nil
}

// checkStrength lets in by list, so that an unknown algorithm is refused.
func checkStrength(c *x509.Certificate) error {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
	default:
		return fmt.Errorf("%w: %s", ErrWeakSignature, c.SignatureAlgorithm)
	}
	return checkKey(c.PublicKey)
}

func checkKey(public any) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return fmt.Errorf("%w: RSA of %d bits, %d to %d allowed", ErrWeakKey, n, minRSA, maxRSA)
		}
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() && k.Curve != elliptic.P384() && k.Curve != elliptic.P521() {
			return fmt.Errorf("%w: curve %s", ErrWeakKey, k.Curve.Params().Name)
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("%w: kind %T", ErrWeakKey, public)
	}
	return nil
}

// parseURI reads the raw name, since net/url would forgive upper-case schemes
// and percent signs: two spellings of one node must not exist.
func parseURI(c *x509.Certificate) (string, subjects.NodeID, error) {
	uris := rawURIs(c)
	switch {
	case len(uris) == 0:
		return "", "", ErrNoURI
	case len(uris) > 1:
		return "", "", fmt.Errorf("%w: there are %d", ErrManyURIs, len(uris))
	}
	rest, ok := strings.CutPrefix(uris[0], uriPrefix)
	if !ok {
		return "", "", fmt.Errorf("%w: %s", ErrURIScheme, show(uris[0]))
	}
	domain, path, ok := strings.Cut(rest, "/")
	if !ok {
		return "", "", fmt.Errorf("%w: %s has no path", ErrURIForm, show(uris[0]))
	}
	if err := CheckDomain(domain); err != nil {
		return "", "", fmt.Errorf("%w: %s: %w", ErrURIForm, show(uris[0]), err)
	}
	name, ok := strings.CutPrefix(path, "node/")
	if !ok {
		return "", "", fmt.Errorf("%w: %s is not below /node/", ErrURIForm, show(uris[0]))
	}
	node, err := subjects.ParseNodeID(name)
	if err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrNode, err)
	}
	return domain, node, nil
}

var oidSAN = asn1.ObjectIdentifier{2, 5, 29, 17}

// rawURIs are the uniformResourceIdentifiers (RFC 5280 4.2.1.6, [6]) as they
// stand in the certificate.
func rawURIs(c *x509.Certificate) []string {
	var uris []string
	for _, e := range c.Extensions {
		if !e.Id.Equal(oidSAN) {
			continue
		}
		var names []asn1.RawValue
		if rest, err := asn1.Unmarshal(e.Value, &names); err != nil || len(rest) > 0 {
			return nil
		}
		for _, n := range names {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
				uris = append(uris, string(n.Bytes))
			}
		}
	}
	return uris
}

// CheckDomain returns an error wrapping ErrDomain unless s is a DNS domain as
// certificates and configuration write it: host labels in lower case, at most
// 189 characters in all, no final dot, not an IP address.
func CheckDomain(s string) error {
	if len(s) > maxDomain {
		return fmt.Errorf("%w: %d characters, %d allowed", ErrDomain, len(s), maxDomain)
	}
	if !subjects.IsHostName(s) {
		return fmt.Errorf("%w: %s", ErrDomain, show(s))
	}
	return nil
}

func addresses(c *x509.Certificate) ([]netip.Addr, error) {
	if n := len(c.IPAddresses); n > maxAddresses {
		return nil, fmt.Errorf("%w: %d, %d allowed", ErrManyAddresses, n, maxAddresses)
	}
	var out []netip.Addr
	for _, ip := range c.IPAddresses {
		a, _ := netip.AddrFromSlice(ip)
		if err := checkAddress(a); err != nil {
			return nil, err
		}
		if slices.Contains(out, a) {
			return nil, fmt.Errorf("%w: %s stands twice", ErrAddress, a)
		}
		out = append(out, a)
	}
	return out, nil
}

// checkAddress keeps the rules that subjects has for announced addresses.
func checkAddress(a netip.Addr) error {
	what := ""
	switch {
	case !a.IsValid():
		what = "not an address"
	case a.IsUnspecified():
		what = "unspecified"
	case a.IsMulticast():
		what = "multicast"
	case a.Is4In6():
		what = "an IPv4 address written as IPv6"
	case a.Zone() != "":
		what = "with a zone"
	case a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		what = "broadcast"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s is %s", ErrAddress, a, what)
}

// show quotes foreign text for an error of one line.
func show(s string) string { return fmt.Sprintf("%+q", subjects.Printable(s, 120)) }
