package identity

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// Verify is for the accepting side of a connection made with a configuration of
// this package: it returns who the client is. The chain was verified in the
// handshake, so only cs.VerifiedChains counts; the time and the revocation
// lists are asked again, so that it may be called for a live connection later.
func (c *Credentials) Verify(cs tls.ConnectionState) (*Identity, error) {
	if len(cs.VerifiedChains) == 0 || len(cs.VerifiedChains[0]) == 0 {
		return nil, ErrNoCertificate
	}
	leaf := cs.VerifiedChains[0][0]
	if n := len(cs.PeerCertificates); n > maxChain {
		return nil, blame(leaf, fmt.Errorf("%w: %d certificates, %d allowed", ErrChainTooLong, n, maxChain))
	}
	id, err := c.peer(leaf, time.Now())
	if err != nil {
		return nil, blame(leaf, err)
	}
	if err := c.anyUsable(cs.VerifiedChains); err != nil {
		return nil, blame(leaf, err)
	}
	return id, nil
}

// VerifyBroker is Verify, and the peer must have the role thor_eventserver.
func (c *Credentials) VerifyBroker(cs tls.ConnectionState) (*Identity, error) {
	return broker(c.Verify(cs))
}

// Check verifies a chain as a peer sent it, leaf first, against the authorities
// of this moment: with it a broker finds the live connections that a change of
// authorities, time or revocation has made invalid. usage is what the leaf must
// be good for.
func (c *Credentials) Check(chain []*x509.Certificate, usage x509.ExtKeyUsage) (*Identity, error) {
	if len(chain) == 0 {
		return nil, ErrNoCertificate
	}
	now := time.Now()
	id, err := c.peer(chain[0], now)
	if err != nil {
		return nil, blame(chain[0], err)
	}
	chains, err := c.now.Load().verifyChain(chain, usage, now)
	if err != nil {
		return nil, blame(chain[0], err)
	}
	if err := c.anyUsable(chains); err != nil {
		return nil, blame(chain[0], err)
	}
	return id, nil
}

// peer checks everything about a leaf that needs no chain.
func (c *Credentials) peer(leaf *x509.Certificate, now time.Time) (*Identity, error) {
	id, err := FromCertificate(leaf)
	if err != nil {
		return nil, err
	}
	if ours := c.Identity().Domain; id.Domain != ours {
		return nil, fmt.Errorf("%w: %s, not %s", ErrForeignDomain, id.Domain, ours)
	}
	return id, id.ValidAt(now)
}

// anyUsable reports ErrRevoked unless one of the chains has no revoked member.
func (c *Credentials) anyUsable(chains [][]*x509.Certificate) error {
	var bad *x509.Certificate
	for _, chain := range chains {
		if bad = c.revoked.first(chain); bad == nil {
			return nil
		}
	}
	if bad == nil {
		return ErrUntrusted
	}
	return fmt.Errorf("%w: serial %s of %s", ErrRevoked, SerialText(bad.SerialNumber), show(bad.Issuer.String()))
}

// verifyChain is crypto/x509's verification with our limit and our errors.
func (m *material) verifyChain(chain []*x509.Certificate, usage x509.ExtKeyUsage, now time.Time) ([][]*x509.Certificate, error) {
	if len(chain) > maxChain { // first: each certificate may cost a signature check
		return nil, fmt.Errorf("%w: %d certificates, %d allowed", ErrChainTooLong, len(chain), maxChain)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	chains, err := chain[0].Verify(x509.VerifyOptions{
		Roots: m.roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err == nil {
		return chains, nil
	}
	// crypto/x509 says "unknown authority" also of one that has expired.
	for _, above := range slices.Concat(chain[1:], m.cas) {
		if terr := validAt(above.NotBefore, above.NotAfter, now); terr != nil && signs(above, chain) {
			return nil, fmt.Errorf("its authority %s: %w", show(above.Subject.String()), terr)
		}
	}
	return nil, fmt.Errorf("%w: %s", ErrUntrusted, subjects.Printable(err.Error(), 300))
}

// signs reports whether a has the name of some certificate's issuer.
func signs(a *x509.Certificate, chain []*x509.Certificate) bool {
	return slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return bytes.Equal(c.RawIssuer, a.RawSubject) })
}

func broker(id *Identity, err error) (*Identity, error) {
	if err != nil {
		return nil, err
	}
	if !id.Has(subjects.EventServer) {
		return nil, fmt.Errorf("certificate %s of node %s: %w", id.Serial, id.Node, ErrNotBroker)
	}
	return id, nil
}

// blame says which certificate err is about.
func blame(leaf *x509.Certificate, err error) error {
	return fmt.Errorf("certificate %s: %w", SerialText(leaf.SerialNumber), err)
}
