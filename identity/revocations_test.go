package identity_test

import (
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"thor/identity"
)

func serial(n int64) *big.Int { return big.NewInt(n) }

// crl is the authority's list with number and the serials given.
func (ca *testCA) crl(t testing.TB, number int64, serials ...int64) []byte {
	t.Helper()
	return ca.crlWith(t, func(l *x509.RevocationList) { l.Number = serial(number) }, serials...)
}

func (ca *testCA) crlWith(t testing.TB, edit func(*x509.RevocationList), serials ...int64) []byte {
	t.Helper()
	l := &x509.RevocationList{Number: serial(1), ThisUpdate: time.Now().Add(-time.Hour), NextUpdate: time.Now().Add(time.Hour)}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: serial(s), RevocationTime: l.ThisUpdate})
	}
	edit(l)
	der, err := x509.CreateRevocationList(rand.Reader, l, ca.cert, ca.key)
	check(t, err)
	return der
}

func (ca *testCA) leaf(t testing.TB, n int64) *x509.Certificate {
	t.Helper()
	s := goodSpec()
	s.template.SerialNumber = serial(n)
	c, _ := ca.sign(t, s)
	return c
}

func TestListsOnlyEverGoForward(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	cas := []*x509.Certificate{ca.cert}
	var r identity.Revocations
	second := ca.crl(t, 2, 5)
	for _, step := range []struct {
		name    string
		data    []byte
		changed bool
		want    error
	}{
		{"first", second, true, nil},
		{"the same again", second, false, nil},
		{"the same as PEM", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: second}), false, nil},
		{"older", ca.crl(t, 1), false, identity.ErrCRLRollback},
		{"same number, other content", ca.crl(t, 2), false, identity.ErrCRLRollback},
		{"newer", ca.crl(t, 3, 5, 6), true, nil},
		{"newest, as PEM", pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.crl(t, 4, 5, 6, 7)}), true, nil},
	} {
		changed, err := r.Update(step.data, cas)
		if changed != step.changed || !errors.Is(err, step.want) {
			t.Errorf("%s: %v, %v", step.name, changed, err)
		}
		if !r.Revoked(ca.leaf(t, 5)) {
			t.Fatalf("%s: the revocation is forgotten", step.name)
		}
	}
	for n, revoked := range map[int64]bool{4: false, 5: true, 6: true, 7: true, 8: false} {
		if r.Revoked(ca.leaf(t, n)) != revoked {
			t.Errorf("serial %d: %v", n, !revoked)
		}
	}
}

func TestBadListsAreRefused(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	sameName, noSign := newTestCA(t, "ca", nil), newTestCA(t, "nosign", nil)
	critical := func(arc int) pkix.Extension {
		return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, arc}, Critical: true, Value: []byte{2, 1, 1}}
	}
	unsigned := *noSign.cert
	unsigned.KeyUsage = x509.KeyUsageCertSign
	flipped := ca.crl(t, 1, 5)
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":              {nil, identity.ErrCRL},
		"text":                 {[]byte("hello"), identity.ErrCRL},
		"a certificate":        {pemOf(ca.cert), identity.ErrCRL},
		"damaged PEM":          {pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{0x30, 0}}), identity.ErrCRL},
		"too large":            {make([]byte, 9<<20), identity.ErrCRL},
		"truncated":            {ca.crl(t, 1, 5)[:60], identity.ErrCRL},
		"flipped bit":          {flipped, identity.ErrCRLUnknown},
		"another authority":    {newTestCA(t, "other", nil).crl(t, 1), identity.ErrCRLUnknown},
		"authority's namesake": {sameName.crl(t, 1), identity.ErrCRLUnknown},
		"authority may not":    {noSign.crl(t, 1), identity.ErrCRLUnknown},
		"a delta":              {ca.crlWith(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{critical(27)} }), identity.ErrCRL},
		"a part":               {ca.crlWith(t, func(l *x509.RevocationList) { l.ExtraExtensions = []pkix.Extension{critical(28)} }), identity.ErrCRL},
		"indirect": {ca.crlWith(t, func(l *x509.RevocationList) {
			l.RevokedCertificateEntries[0].ExtraExtensions = []pkix.Extension{critical(29)}
		}, 5), identity.ErrCRL},
		"a leaf signs as issuer": {(&testCA{ca.leafAuthority(t), ca.key}).crl(t, 1), identity.ErrCRLUnknown},
	} {
		var r identity.Revocations
		changed, err := r.Update(c.data, []*x509.Certificate{ca.cert, &unsigned})
		if changed || !errors.Is(err, c.want) || len(r.DER()) != 0 {
			t.Errorf("%s: %v, %v", name, changed, err)
		}
	}
}

// leafAuthority pretends that a leaf may sign lists; its name is its own.
func (ca *testCA) leafAuthority(t *testing.T) *x509.Certificate {
	t.Helper()
	c := *ca.leaf(t, 9)
	c.KeyUsage |= x509.KeyUsageCRLSign
	c.SubjectKeyId = []byte{1}
	return &c
}

func TestListOutOfDateStillHoldsAndSaysSo(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	var r identity.Revocations
	_, err := r.Update(ca.crlWith(t, func(l *x509.RevocationList) { l.NextUpdate = time.Now().Add(-time.Minute) }, 5), []*x509.Certificate{ca.cert})
	check(t, err)
	if !r.Revoked(ca.leaf(t, 5)) {
		t.Error("the revocation ended with the list")
	}
	l := r.Lists()
	if len(l) != 1 || !l[0].Overdue(time.Now()) || l[0].Entries != 1 || l[0].Number != "1" {
		t.Errorf("%+v", l)
	}
}

func TestAuthoritiesOfOneNameAreKeptApart(t *testing.T) {
	before, after := newTestCA(t, "ca", nil), newTestCA(t, "ca", nil)
	cas := []*x509.Certificate{before.cert, after.cert}
	var r identity.Revocations
	_, err := r.Update(before.crl(t, 9, 5), cas)
	check(t, err)
	if r.Revoked(after.leaf(t, 5)) {
		t.Error("the new authority's certificate fell to the old one's list")
	}
	changed, err := r.Update(after.crl(t, 1, 6), cas)
	if !changed || err != nil {
		t.Errorf("the new authority's first list: %v, %v", changed, err)
	}
	if !r.Revoked(before.leaf(t, 5)) || !r.Revoked(after.leaf(t, 6)) || len(r.DER()) != 2 {
		t.Error("a list is lost")
	}
	var copied identity.Revocations
	changed, err = copied.Update(r.PEM(), cas)
	if !changed || err != nil || !slices.EqualFunc(copied.DER(), r.DER(), slices.Equal[[]byte]) {
		t.Errorf("copy: %v, %v", changed, err)
	}
	changed, err = copied.Update(slices.Concat(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: before.crl(t, 1)}),
		pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: after.crl(t, 2)})), cas)
	if !changed || !errors.Is(err, identity.ErrCRLRollback) {
		t.Errorf("one good, one old: %v, %v", changed, err)
	}
}

func TestRevocationsMayBeUsedFromManySides(t *testing.T) {
	ca := newTestCA(t, "ca", nil)
	cas := []*x509.Certificate{ca.cert}
	leaf := ca.leaf(t, 5)
	var lists [][]byte
	for n := range int64(20) {
		lists = append(lists, ca.crl(t, n+1, 5))
	}
	var r identity.Revocations
	var g sync.WaitGroup
	for range 4 {
		g.Go(func() {
			for _, l := range lists {
				if _, err := r.Update(l, cas); err != nil && !errors.Is(err, identity.ErrCRLRollback) {
					t.Error(err)
				}
				if !r.Revoked(leaf) || r.Revoked(nil) || len(r.DER()) != 1 {
					t.Error("a torn set")
				}
			}
		})
	}
	g.Wait()
	if l := r.Lists(); len(l) != 1 || l[0].Number != "20" {
		t.Errorf("%+v", l)
	}
}

func FuzzUpdate(f *testing.F) {
	ca := newTestCA(f, "ca", nil)
	f.Add(ca.crl(f, 1, 5))
	f.Add(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: ca.crl(f, 1)}))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r identity.Revocations
		changed, err := r.Update(data, []*x509.Certificate{ca.cert})
		if changed && err == nil && len(r.DER()) != 1 {
			t.Error("changed without a list")
		}
	})
}

// Two authorities of one name, as before and after a change of key, may have
// given the same serial to different nodes.
func TestASerialIsRevokedByItsOwnAuthorityOnly(t *testing.T) {
	one, two := newTestCA(t, "ca", nil), newTestCA(t, "ca", nil)
	var r identity.Revocations
	if v := r.Version(); v != 0 {
		t.Errorf("version %d of an empty set", v)
	}
	if changed, err := r.Update(one.crl(t, 1, 0x0a5), []*x509.Certificate{one.cert, two.cert}); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if v := r.Version(); v != 1 {
		t.Errorf("version %d after one list", v)
	}
	a, err := identity.FromCertificate(one.leaf(t, 0x0a5))
	check(t, err)
	b, err := identity.FromCertificate(two.leaf(t, 0x0a5))
	check(t, err)
	if a.Serial != b.Serial || a.Issuer == b.Issuer {
		t.Fatalf("%s of %s and %s of %s", a.Serial, a.Issuer, b.Serial, b.Issuer)
	}
	for _, c := range []struct {
		serial, issuer string
		want           bool
	}{
		{a.Serial, a.Issuer, true},
		{a.Serial, b.Issuer, false},
		{a.Serial, "", true}, // told by a broker that names none
		{"a6", a.Issuer, false},
		{"", a.Issuer, false},
		{"zz", "", false},
	} {
		if got := r.Serial(c.serial, c.issuer); got != c.want {
			t.Errorf("%q of %q: %v", c.serial, c.issuer, got)
		}
	}
}
