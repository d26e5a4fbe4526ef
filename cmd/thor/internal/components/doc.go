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
)

// Addresses are the configured ones, or all of the certificate.
func Addresses(id *identity.Identity, configured []netip.Addr) []netip.Addr {
	if len(configured) > 0 || id == nil {
		return configured
	}
	return id.Addresses
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
