package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"time"

	"thor/identity/atomicfile"
)

// DefaultValidity is the life of a node's certificate. It is short because the
// revocation of a lost key must reach every broker, and expiry need not.
const DefaultValidity = 30 * 24 * time.Hour

const (
	authorityValidity = 3653 * 24 * time.Hour // ten years
	backdate          = 5 * time.Minute       // clocks of nodes differ
	lockPatience      = 10 * time.Second      // the lock is held for milliseconds
	lockPoll          = 10 * time.Millisecond
)

// The files of an authority's directory.
const (
	fileCert   = "ca.crt"
	fileKey    = "ca.key"
	fileCRL    = "crl.pem"
	dirIssued  = "issued"
	certSuffix = ".crt"
)

// A KeyType is the kind of a new key. The zero value is P256.
type KeyType string

// The kinds of keys made here. Certificates for other keys may be made too.
const (
	P256    KeyType = "p256"
	Ed25519 KeyType = "ed25519"
)

// InitOptions are the choices of a new authority.
type InitOptions struct {
	Key      KeyType       // of the authority itself
	Validity time.Duration // 0 = ten years
}

// An Authority issues and revokes the certificates of one domain. It is a
// directory:
//
//	ca.crt               its certificate, public: every node needs it
//	ca.key               its key, mode 0600; needed on no node
//	crl.pem              the current revocation list, public
//	issued/<serial>.crt  what it has issued; the keys are not kept
//
// All methods are safe for concurrent use, by several processes too.
type Authority struct {
	dir    string
	domain string
	cert   *x509.Certificate
	key    crypto.Signer
}

// Init makes a new authority for domain in dir, which is made (mode 0700) if it
// does not exist. It returns ErrExists if there is one already.
func Init(dir, domain string, o InitOptions) (*Authority, error) {
	if err := CheckDomain(domain); err != nil {
		return nil, err
	}
	if o.Validity < 0 {
		return nil, fmt.Errorf("%w: a validity of %s", ErrRequest, o.Validity)
	}
	if err := closedDir(dir); err != nil {
		return nil, err
	}
	unlock, err := lock(dir, lockPatience)
	if err != nil {
		return nil, err
	}
	defer unlock()
	for _, name := range []string{fileCert, fileKey, fileCRL} {
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", filepath.Join(dir, name), ErrExists)
		}
	}
	return create(dir, domain, o)
}

// closedDir makes dir, or takes one that is empty or that only its owner may enter.
func closedDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("make the directory of the authority: %w", err)
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		return nil
	}
	info, serr := os.Stat(dir)
	if serr != nil || !info.IsDir() {
		return fmt.Errorf("make the directory of the authority: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) == 0 {
		return os.Chmod(dir, 0o700)
	}
	return fmt.Errorf("%s: %w: mode %04o lets others in: chmod 700 %s", dir, ErrKeyMode, info.Mode().Perm(), dir)
}

// create writes the key first and the certificate last: what was interrupted
// has no certificate, and Open refuses it.
func create(dir, domain string, o InitOptions) (*Authority, error) {
	key, keyPEM, err := newKey(o.Key)
	if err != nil {
		return nil, err
	}
	cert, err := selfSigned(domain, key, o.Validity)
	if err != nil {
		return nil, err
	}
	a := &Authority{dir: dir, domain: domain, cert: cert, key: key}
	if err := os.MkdirAll(a.path(dirIssued), 0o700); err != nil {
		return nil, fmt.Errorf("make the index of certificates: %w", err)
	}
	if err := atomicfile.Write(a.path(fileKey), keyPEM, 0o600); err != nil {
		return nil, fmt.Errorf("write the authority's key: %w", err)
	}
	if _, err := a.writeCRL(nil, big.NewInt(1)); err != nil {
		return nil, err
	}
	if err := atomicfile.Write(a.path(fileCert), a.CertificatePEM(), 0o644); err != nil {
		return nil, fmt.Errorf("write the authority's certificate: %w", err)
	}
	return a, nil
}

func selfSigned(domain string, key crypto.Signer, validity time.Duration) (*x509.Certificate, error) {
	if validity == 0 {
		validity = authorityValidity
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encode the authority's key: %w", err)
	}
	// The key's digest in the name keeps an authority apart from its successor
	// for programs that go by names.
	sum := sha256.Sum256(spki)
	subject, err := subjectDER(domain, nil, nil, "", fmt.Sprintf("thor authority %x", sum[:4]))
	if err != nil {
		return nil, fmt.Errorf("encode the authority's name: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	t := &x509.Certificate{
		SerialNumber: serial, RawSubject: subject,
		NotBefore: now.Add(-backdate), NotAfter: now.Add(validity),
		BasicConstraintsValid: true, IsCA: true, MaxPathLen: 0, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's certificate: %w", err)
	}
	return x509.ParseCertificate(der)
}

// Open reads the authority in dir.
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf(`%s: %w: no authority is there; make one with "thor ca init"`, dir, ErrFile)
	case err == nil && info.Mode().Perm()&0o022 != 0:
		return nil, fmt.Errorf("%s: %w: mode %04o lets others replace the key: chmod 700 %s", dir, ErrKeyMode, info.Mode().Perm(), dir)
	}
	certs, err := readAuthorities(a.path(fileCert))
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("%s: %w: it holds %d certificates, not one", a.path(fileCert), ErrFile, len(certs))
	}
	a.cert = certs[0]
	if len(a.cert.Subject.Organization) != 1 || CheckDomain(a.cert.Subject.Organization[0]) != nil {
		return nil, fmt.Errorf("%s: %w: its O is not the domain", a.path(fileCert), ErrNotAuthority)
	}
	a.domain = a.cert.Subject.Organization[0]
	if a.key, err = readKey(a.path(fileKey)); err != nil {
		return nil, err
	}
	if !sameKey(a.key.Public(), a.cert.PublicKey) {
		return nil, fmt.Errorf("%s: %w %s", a.path(fileKey), ErrKeyMismatch, a.path(fileCert))
	}
	return a, nil
}

func (a *Authority) path(name string) string { return filepath.Join(a.dir, name) }

// Domain is the domain whose nodes it certifies.
func (a *Authority) Domain() string { return a.domain }

// Certificate is the authority's own. It is shared and read-only.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// CertificatePEM is what every node needs as its CA file.
func (a *Authority) CertificatePEM() []byte { return certPEM(a.cert.Raw) }

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der})
}

func newKey(t KeyType) (crypto.Signer, []byte, error) {
	var key crypto.Signer
	var err error
	switch t {
	case "", P256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, nil, fmt.Errorf("%w: key type %s; %s and %s are known", ErrRequest, show(string(t)), P256, Ed25519)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a key: %w", err)
	}
	return key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// newSerial is 128 random bits (RFC 5280 4.1.2.2 allows 160): no counter has to
// survive a restored backup.
func newSerial() (*big.Int, error) {
	b := make([]byte, 16)
	for {
		if _, err := rand.Read(b); err != nil {
			return nil, fmt.Errorf("make a serial number: %w", err)
		}
		if b[0] != 0 { // always 32 hex digits
			return new(big.Int).SetBytes(b), nil
		}
	}
}
