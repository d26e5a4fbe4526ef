// Package components turns a configuration file into the configurations of the
// components behind its sections. A daemon that starts, one that reloads and the
// examination of a file all take them from here. It reads the certificates that
// the file names, and nothing else.
package components

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"

	"thor/identity"
	"thor/subjects"
)

// Addresses are the configured ones, or all of the certificate.
func Addresses(id *identity.Identity, configured []netip.Addr) []netip.Addr {
	if len(configured) > 0 || id == nil {
		return configured
	}
	return id.Addresses
}

// RolesOf is m by role; the names have been checked.
func RolesOf(m map[string]int) map[subjects.Role]int {
	out := make(map[subjects.Role]int, len(m))
	for r, n := range m {
		out[subjects.Role(r)] = n
	}
	return out
}

// Roots reads the CA of a service; no file is nil.
func Roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return pool, nil
}

// RoleList are names as roles; they have been checked.
func RoleList(names []string) []subjects.Role {
	out := make([]subjects.Role, len(names))
	for i, n := range names {
		out[i] = subjects.Role(n)
	}
	return out
}

// KeyPair reads the certificate and the key of a public authority.
func KeyPair(cert, key string) (*tls.Certificate, error) {
	c, err := os.ReadFile(cert)
	if err != nil {
		return nil, err
	}
	k, err := identity.ReadSecret(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(c, k)
	if err != nil {
		return nil, fmt.Errorf("%s with %s: %w", cert, key, err)
	}
	return &pair, nil
}
