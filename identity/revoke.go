package identity

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"

	"thor/identity/atomicfile"
)

// Revoke revokes one certificate by its serial (hex, with or without colons),
// or all certificates of a node that have not expired, and returns the new
// revocation list, which its brokers must get. When there is nothing left to
// revoke it returns the current list and changes nothing; when nothing of that
// name was ever issued here it returns ErrNotIssued. If a file of the index is
// damaged, what could be read is revoked: the list is then returned beside an
// error that names the file.
func (a *Authority) Revoke(which string) (crlDER []byte, err error) {
	unlock, err := lock(a.dir, lockPatience)
	if err != nil {
		return nil, err
	}
	defer unlock()
	crl, err := a.readCRL()
	if err != nil {
		return nil, err
	}
	targets, damage := a.Show(which)
	if len(targets) == 0 {
		return nil, damage
	}
	now := time.Now()
	entries, changed := crl.RevokedCertificateEntries, false
	for _, t := range targets {
		if !t.Revoked.IsZero() || now.After(t.NotAfter) {
			continue
		}
		entries = append(entries, x509.RevocationListEntry{SerialNumber: t.Certificate.SerialNumber, RevocationTime: now.UTC().Truncate(time.Second)})
		changed = true
	}
	if !changed {
		return crl.Raw, damage
	}
	der, err := a.writeCRL(entries, new(big.Int).Add(crl.Number, big.NewInt(1)))
	if err != nil {
		return nil, err
	}
	return der, damage
}

// CRL is the current revocation list, DER.
func (a *Authority) CRL() ([]byte, error) {
	crl, err := a.readCRL()
	if err != nil {
		return nil, err
	}
	return crl.Raw, nil
}

func (a *Authority) readCRL() (*x509.RevocationList, error) {
	path := a.path(fileCRL)
	data, err := readUpTo(path, false, maxCRL)
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(data)
	if b == nil || b.Type != pemCRL {
		return nil, fmt.Errorf("%s: %w: no -----BEGIN %s----- in it", path, ErrCRL, pemCRL)
	}
	crl, err := x509.ParseRevocationList(b.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %v", path, ErrCRL, err)
	}
	if err := crl.CheckSignatureFrom(a.cert); err != nil {
		return nil, fmt.Errorf("%s: %w: %v", path, ErrCRLUnknown, err)
	}
	if crl.Number == nil {
		return nil, fmt.Errorf("%s: %w: it has no number", path, ErrCRL)
	}
	return crl, nil
}

// writeCRL signs a list and puts it in place. Entries stay for ever: their
// number is small, and a broker's clock may be wrong. The list ends with the
// authority, since there is no schedule by which a newer one would come.
func (a *Authority) writeCRL(entries []x509.RevocationListEntry, number *big.Int) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number: number, ThisUpdate: time.Now().Add(-backdate), NextUpdate: a.cert.NotAfter,
		RevokedCertificateEntries: entries,
	}, a.cert, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign the revocation list: %w", err)
	}
	if err := atomicfile.Write(a.path(fileCRL), pem.EncodeToMemory(&pem.Block{Type: pemCRL, Bytes: der}), 0o644); err != nil {
		return nil, fmt.Errorf("write the revocation list: %w", err)
	}
	return der, nil
}
