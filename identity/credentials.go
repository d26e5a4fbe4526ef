package identity

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Files names the PEM files of a node.
type Files struct {
	// Certificate of the node in PEM: the leaf, then its intermediates if there are any.
	Cert string `toml:"certificate" form:"file" required:"yes" env:"THOR_CERT"`
	// Private key in PEM, as PKCS #8, SEC 1 or PKCS #1. Only its owner may read it.
	Key string `toml:"key" form:"file" secret:"yes" required:"yes" env:"THOR_KEY"`
	// One or more authorities in PEM: both old and new while the authority changes.
	CA string `toml:"ca" form:"file" required:"yes" env:"THOR_CA"`
}

// Credentials are a node's certificate, key and authorities, which may be
// replaced while in use, and the revocation lists it knows. All methods are
// safe for concurrent use.
type Credentials struct {
	files   Files
	reload  sync.Mutex
	now     atomic.Pointer[material]
	revoked Revocations
}

// material is one consistent set of what the files held. Immutable.
type material struct {
	id    *Identity
	cert  *tls.Certificate
	cas   []*x509.Certificate
	roots *x509.CertPool
}

// Load reads and checks the three files. The error is one line that names the
// file and says what to do; it wraps a sentinel of this package.
func Load(f Files) (*Credentials, error) {
	m, err := readMaterial(f, time.Now())
	if err != nil {
		return nil, err
	}
	c := &Credentials{files: f}
	c.now.Store(m)
	return c, nil
}

// Reload reads the files again. What is bad, or is of another node or domain,
// is not taken: the last good set stays in use and the error says why. Callers
// may call it on SIGHUP, or when a file's time changes. Connections that exist
// go on; new ones use the new set.
func (c *Credentials) Reload() error {
	c.reload.Lock()
	defer c.reload.Unlock()
	m, err := readMaterial(c.files, time.Now())
	if err != nil {
		return err
	}
	if old := c.Identity(); m.id.Node != old.Node || m.id.Domain != old.Domain {
		return fmt.Errorf("%s: %w: %s of %s, and this is %s of %s; restart to change the node",
			c.files.Cert, ErrOtherNode, m.id.Node, m.id.Domain, old.Node, old.Domain)
	}
	c.now.Store(m)
	return nil
}

// Identity is what the current certificate says. It is shared and read-only.
func (c *Credentials) Identity() *Identity { return c.now.Load().id }

// Certificate is the current certificate with its key and intermediates. It is
// shared and read-only.
func (c *Credentials) Certificate() *tls.Certificate { return c.now.Load().cert }

// Roots is the pool of the current authorities. It is shared and read-only.
func (c *Credentials) Roots() *x509.CertPool { return c.now.Load().roots }

// Authorities are the certificates of the CA file.
func (c *Credentials) Authorities() []*x509.Certificate { return slices.Clone(c.now.Load().cas) }

// Revocations is the set that every verification here asks. It starts empty
// and survives Reload.
func (c *Credentials) Revocations() *Revocations { return &c.revoked }
