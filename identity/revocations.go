package identity

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"
)

const maxCRL = 8 << 20 // bytes; some 200,000 entries

const pemCRL = "X509 CRL"

// Revocations is the set of certificates that authorities have revoked: the
// newest certificate revocation list (RFC 5280 5) of each. It never goes back
// to an older list, and a list past its nextUpdate still holds, for a revoked
// certificate does not become good when an authority falls silent: see
// [CRL.Overdue]. The zero value is empty; all methods are safe for concurrent use.
type Revocations struct {
	mu      sync.RWMutex
	lists   map[issuerKey]*revocationList
	version uint64
}

// issuerKey tells apart two authorities of one name but different keys.
type issuerKey [sha256.Size]byte

type revocationList struct {
	crl     *x509.RevocationList
	issuer  *x509.Certificate
	serials map[string]time.Time // big.Int bytes of the serial: when it was revoked
}

// A CRL describes one list that is held.
type CRL struct {
	Issuer     string // subject of the authority
	Number     string // decimal
	ThisUpdate time.Time
	NextUpdate time.Time // zero: the authority names none
	Entries    int
}

// Overdue reports whether the authority promised a newer list before now. The
// list still holds.
func (l CRL) Overdue(now time.Time) bool { return !l.NextUpdate.IsZero() && now.After(l.NextUpdate) }

// Update takes a list, or several in PEM, if it is signed by one of the
// authorities and its number is higher than that of the list held of the same
// authority. The very list that is held is no error and no change. changed is
// true if any list was taken, also beside an error about another one.
func (r *Revocations) Update(data []byte, authorities []*x509.Certificate) (changed bool, err error) {
	if len(data) > maxCRL {
		return false, fmt.Errorf("%w: %d bytes, %d allowed", ErrCRL, len(data), maxCRL)
	}
	ders, err := crlBlocks(data)
	if err != nil {
		return false, err
	}
	var errs []error
	for _, der := range ders {
		did, err := r.update(der, authorities)
		changed = changed || did
		errs = append(errs, err)
	}
	return changed, errors.Join(errs...)
}

func crlBlocks(data []byte) ([][]byte, error) {
	if !bytes.Contains(data, []byte("-----BEGIN")) || len(data) > 0 && data[0] == 0x30 {
		return [][]byte{data}, nil
	}
	var ders [][]byte
	for {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		if b.Type == pemCRL {
			ders = append(ders, b.Bytes)
		}
	}
	if len(ders) == 0 {
		return nil, fmt.Errorf("%w: no -----BEGIN %s----- in it", ErrCRL, pemCRL)
	}
	return ders, nil
}

func (r *Revocations) update(der []byte, authorities []*x509.Certificate) (bool, error) {
	l, err := parseCRL(der, authorities)
	if err != nil {
		return false, err
	}
	key := keyOf(l.issuer)
	r.mu.Lock()
	defer r.mu.Unlock()
	if held := r.lists[key]; held != nil {
		if bytes.Equal(held.crl.Raw, l.crl.Raw) {
			return false, nil
		}
		if l.crl.Number.Cmp(held.crl.Number) <= 0 {
			return false, fmt.Errorf("%w: number %s, and %s is held", ErrCRLRollback, l.crl.Number, held.crl.Number)
		}
	}
	if r.lists == nil {
		r.lists = make(map[issuerKey]*revocationList)
	}
	r.lists[key] = l
	r.version++
	return true, nil
}

func parseCRL(der []byte, authorities []*x509.Certificate) (*revocationList, error) {
	crl, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrCRL, err)
	}
	issuer, err := signerOf(crl, authorities)
	if err != nil {
		return nil, err
	}
	if err := complete(crl); err != nil {
		return nil, err
	}
	l := &revocationList{crl: crl, issuer: issuer, serials: make(map[string]time.Time, len(crl.RevokedCertificateEntries))}
	for _, e := range crl.RevokedCertificateEntries {
		l.serials[string(e.SerialNumber.Bytes())] = e.RevocationTime
	}
	return l, nil
}

func signerOf(crl *x509.RevocationList, authorities []*x509.Certificate) (*x509.Certificate, error) {
	err := errors.New("no authority has its issuer's name")
	for _, a := range authorities {
		if !bytes.Equal(a.RawSubject, crl.RawIssuer) {
			continue
		}
		if err = crl.CheckSignatureFrom(a); err == nil {
			return a, nil
		}
	}
	return nil, fmt.Errorf("%w: %v", ErrCRLUnknown, err)
}

var oidAuthorityKey = asn1.ObjectIdentifier{2, 5, 29, 35}

// complete refuses a list that is not the whole truth about its authority: a
// delta, a part by distribution point, an indirect list. All of these have a
// critical extension (RFC 5280 5.2.4, 5.2.5, 5.3.3).
func complete(crl *x509.RevocationList) error {
	if crl.Number == nil {
		return fmt.Errorf("%w: it has no number; without one an old list cannot be told from a new one", ErrCRL)
	}
	for _, e := range crl.Extensions {
		if e.Critical && !e.Id.Equal(oidAuthorityKey) {
			return fmt.Errorf("%w: critical extension %s; a complete list is needed", ErrCRL, e.Id)
		}
	}
	for _, c := range crl.RevokedCertificateEntries {
		for _, e := range c.Extensions {
			if e.Critical {
				return fmt.Errorf("%w: critical extension %s in an entry", ErrCRL, e.Id)
			}
		}
	}
	return nil
}

func keyOf(c *x509.Certificate) issuerKey {
	h := sha256.New()
	h.Write(c.RawSubject)
	h.Write(c.RawSubjectPublicKeyInfo)
	return issuerKey(h.Sum(nil))
}

// Version rises whenever a list is taken.
func (r *Revocations) Version() uint64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.version
}

// Serial reports whether a certificate that is known by its [Identity]'s Serial
// and Issuer only is revoked. Without an issuer the serial alone counts.
func (r *Revocations) Serial(serial, issuer string) bool {
	n, ok := new(big.Int).SetString(serial, 16)
	if !ok {
		return false
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, l := range r.lists {
		if _, listed := l.serials[string(n.Bytes())]; listed && (issuer == "" || l.issued(issuer)) {
			return true
		}
	}
	return false
}

// issued reports whether issuer stands for the authority of l. A certificate may
// name its authority's key or leave that out.
func (l *revocationList) issued(issuer string) bool {
	return issuer == issuerText(l.issuer.RawSubject, l.issuer.SubjectKeyId) || issuer == issuerText(l.issuer.RawSubject, nil)
}

// issuerText is a digest of an authority's name and of its key's identifier, as
// a certificate names them (RFC 5280 4.2.1.1).
func issuerText(name, keyID []byte) string {
	h := sha256.New()
	h.Write(name)
	h.Write(keyID)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// Revoked reports whether an authority that signed leaf has revoked it.
func (r *Revocations) Revoked(leaf *x509.Certificate) bool {
	return r.first([]*x509.Certificate{leaf}) != nil
}

// first is the first revoked certificate of a chain, nil if there is none.
func (r *Revocations) first(chain []*x509.Certificate) *x509.Certificate {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, c := range chain {
		for _, l := range r.lists {
			if l.names(c) {
				return c
			}
		}
	}
	return nil
}

// names costs a signature check only for a certificate whose serial stands in
// the list: two authorities of one name, as before and after a change of key,
// may have given the same serial to different certificates.
func (l *revocationList) names(c *x509.Certificate) bool {
	if c == nil || c.SerialNumber == nil || !bytes.Equal(c.RawIssuer, l.crl.RawIssuer) {
		return false
	}
	if _, ok := l.serials[string(c.SerialNumber.Bytes())]; !ok {
		return false
	}
	return l.issuer.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// sorted are the lists by issuer, so that two brokers with the same lists say the same.
func (r *Revocations) sorted() []*revocationList {
	r.mu.RLock()
	defer r.mu.RUnlock()
	keys := slices.SortedFunc(maps.Keys(r.lists), func(a, b issuerKey) int { return bytes.Compare(a[:], b[:]) })
	out := make([]*revocationList, len(keys))
	for i, k := range keys {
		out[i] = r.lists[k]
	}
	return out
}

// DER is the newest list of each authority, to keep on disk and to hand on.
func (r *Revocations) DER() [][]byte {
	var out [][]byte
	for _, l := range r.sorted() {
		out = append(out, slices.Clone(l.crl.Raw))
	}
	return out
}

// PEM is DER as one text file.
func (r *Revocations) PEM() []byte {
	var b bytes.Buffer
	for _, l := range r.sorted() {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: pemCRL, Bytes: l.crl.Raw}))
	}
	return b.Bytes()
}

// Lists describes the lists held, by issuer.
func (r *Revocations) Lists() []CRL {
	var out []CRL
	for _, l := range r.sorted() {
		out = append(out, CRL{
			Issuer: l.issuer.Subject.String(), Number: l.crl.Number.String(),
			ThisUpdate: l.crl.ThisUpdate, NextUpdate: l.crl.NextUpdate, Entries: len(l.serials),
		})
	}
	slices.SortStableFunc(out, func(a, b CRL) int { return cmp.Compare(a.Issuer, b.Issuer) })
	return out
}
