package identity

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

const (
	maxFile  = 1 << 20 // bytes of a PEM file; 10 MB of "certificate" is a mistake
	maxChain = 5       // certificates of a chain, leaf and authority included
)

const pemCertificate = "CERTIFICATE"

func readMaterial(f Files, now time.Time) (*material, error) {
	chain, err := readCertificates(f.Cert)
	if err != nil {
		return nil, err
	}
	id, err := FromCertificate(chain[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	key, err := readKey(f.Key)
	if err != nil {
		return nil, err
	}
	if !sameKey(key.Public(), chain[0].PublicKey) {
		return nil, fmt.Errorf("%s: %w %s; use the key that was made with it", f.Key, ErrKeyMismatch, f.Cert)
	}
	cas, err := readAuthorities(f.CA)
	if err != nil {
		return nil, err
	}
	m := &material{id: id, cas: cas, roots: x509.NewCertPool(), cert: &tls.Certificate{PrivateKey: key, Leaf: chain[0]}}
	for _, ca := range cas {
		m.roots.AddCert(ca)
	}
	for _, c := range chain {
		m.cert.Certificate = append(m.cert.Certificate, c.Raw)
	}
	if err := id.ValidAt(now); err != nil {
		return nil, fmt.Errorf("%s: %w; %s", f.Cert, err, adviseTime(err))
	}
	if _, err := m.verifyChain(chain, x509.ExtKeyUsageClientAuth, now); err != nil {
		if errors.Is(err, ErrUntrusted) {
			return nil, fmt.Errorf("%s: %w; %s must hold the authority that signed it", f.Cert, err, f.CA)
		}
		return nil, fmt.Errorf("%s: %w", f.Cert, err)
	}
	return m, nil
}

func adviseTime(err error) string {
	if errors.Is(err, ErrNotYetValid) {
		return "set the clock, or wait"
	}
	return `get a new one ("thor ca renew"), or set the clock`
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path, false)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(certs) > maxChain {
		return nil, fmt.Errorf("%s: %w: %d certificates, %d allowed", path, ErrChainTooLong, len(certs), maxChain)
	}
	return certs, nil
}

// readAuthorities has no limit of its own on the number: a bundle is not a chain.
func readAuthorities(path string) ([]*x509.Certificate, error) {
	data, err := readFile(path, false)
	if err != nil {
		return nil, err
	}
	certs, err := parseCertificates(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, c := range certs {
		if err := checkAuthority(c); err != nil {
			return nil, fmt.Errorf("%s: certificate %d (%s): %w; list authorities only", path, i+1, show(c.Subject.String()), err)
		}
	}
	return certs, nil
}

func checkAuthority(c *x509.Certificate) error {
	if !c.BasicConstraintsValid || !c.IsCA {
		return fmt.Errorf("%w: it does not say CA:TRUE", ErrNotAuthority)
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return fmt.Errorf("%w: its key usage does not allow signing certificates", ErrNotAuthority)
	}
	return checkKey(c.PublicKey)
}

// parseCertificates reads the CERTIFICATE blocks of data; there is at least one.
func parseCertificates(data []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		if b.Type != pemCertificate {
			continue
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%w: certificate %d: %v", ErrPEM, len(certs)+1, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%w: a file with -----BEGIN CERTIFICATE----- is needed", ErrPEM)
	}
	return certs, nil
}

func readKey(path string) (crypto.Signer, error) {
	data, err := readFile(path, true)
	if err != nil {
		return nil, err
	}
	key, err := parseKey(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// parseKey never puts a byte of the key into its error.
func parseKey(data []byte) (crypto.Signer, error) {
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			return nil, fmt.Errorf("%w: a file with -----BEGIN PRIVATE KEY----- is needed", ErrPEM)
		}
		if !strings.HasSuffix(b.Type, "PRIVATE KEY") {
			continue // openssl ecparam writes EC PARAMETERS first
		}
		if b.Type == "ENCRYPTED PRIVATE KEY" || b.Headers["DEK-Info"] != "" {
			return nil, fmt.Errorf("%w: a daemon cannot be asked for a password; write it in clear with openssl pkey", ErrKeyEncrypted)
		}
		for _, parse := range []func([]byte) (any, error){
			x509.ParsePKCS8PrivateKey,
			func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
			func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
		} {
			if k, err := parse(b.Bytes); err == nil {
				if s, ok := k.(crypto.Signer); ok {
					return s, checkKey(s.Public())
				}
				return nil, fmt.Errorf("%w: kind %T", ErrWeakKey, k)
			}
		}
		return nil, fmt.Errorf("%w: the private key is damaged or of an unknown kind", ErrPEM)
	}
}

func sameKey(a, b any) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

func readFile(path string, secret bool) ([]byte, error) { return readUpTo(path, secret, maxFile) }

// readUpTo reads a whole regular file of at most max bytes. A secret one must
// be closed to all but its owner and this process.
func readUpTo(path string, secret bool, max int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case path == "":
		return nil, fmt.Errorf("%w: no file name given for it", ErrFile)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w: it does not exist", path, ErrFile)
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %v", path, ErrFile, bare(err))
	case !info.Mode().IsRegular(): // before opening: a FIFO would block
		return nil, fmt.Errorf("%s: %w: it is not a regular file", path, ErrFile)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", path, ErrFile, bare(err))
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", path, ErrFile, bare(err))
	}
	if mode := info.Mode().Perm(); secret && !closed(mode, accessList(f), os.Geteuid()) {
		return nil, fmt.Errorf("%s: %w (mode %04o): chmod 600 %s", path, ErrKeyMode, mode, path)
	}
	data, err := io.ReadAll(io.LimitReader(f, max+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %v", path, ErrFile, bare(err))
	case len(data) == 0:
		return nil, fmt.Errorf("%s: %w: it is empty", path, ErrFile)
	case int64(len(data)) > max:
		return nil, fmt.Errorf("%s: %w: it is larger than %d bytes", path, ErrFile, max)
	}
	return data, nil
}

// bare drops the path that a PathError repeats.
func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
