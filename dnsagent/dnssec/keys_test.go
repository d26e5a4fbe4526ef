package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func newKeys(t testing.TB, n int) *Keys {
	t.Helper()
	k := new(Keys)
	for range n {
		if _, err := k.New(); err != nil {
			t.Fatal(err)
		}
	}
	return k
}

func text(t testing.TB, k *Keys) string {
	t.Helper()
	s, err := k.Text()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A key is replaced step by step; what a file says is what comes out of it.
func TestKeysAreReplacedOneAfterTheOther(t *testing.T) {
	k := newKeys(t, 1)
	old := k.Tags()[0]
	fresh, err := k.New()
	if err != nil || !slices.Equal(k.Tags(), []uint16{old, fresh}) {
		t.Fatal(k.Tags(), err)
	}
	if err := k.Remove(old); err == nil {
		t.Error("the key that signs was removed")
	}
	if err := k.Use(fresh); err != nil || !slices.Equal(k.Tags(), []uint16{fresh, old}) {
		t.Errorf("%v, %v", k.Tags(), err)
	}
	again, err := Parse(text(t, k))
	if err != nil || !slices.Equal(again.Tags(), k.Tags()) || text(t, again) != text(t, k) {
		t.Errorf("%v, %v", again, err)
	}
	if err := k.Remove(old); err != nil || !slices.Equal(k.Tags(), []uint16{fresh}) {
		t.Errorf("%v, %v", k.Tags(), err)
	}
	for _, bad := range []error{k.Use(old), k.Remove(old)} {
		if bad == nil {
			t.Error("a key that is not there")
		}
	}
	k = newKeys(t, MaxKeys)
	if _, err := k.New(); err == nil {
		t.Error("more than MaxKeys")
	}
}

func TestDSAreThoseOfTheKeys(t *testing.T) {
	k := newKeys(t, 2)
	for i, ds := range k.DS("example.net.") {
		key := k.DNSKEY("example.net.")[i].(*dns.DNSKEY)
		if ds.KeyTag != key.KeyTag() || ds.KeyTag != k.Tags()[i] || ds.Digest != key.ToDS(dns.SHA256).Digest || ds.Algorithm != 13 || ds.DigestType != 2 {
			t.Errorf("%v of %v", ds, key)
		}
	}
}

func TestFilesThatHoldNoKeysAreRefused(t *testing.T) {
	good := text(t, newKeys(t, 1))
	other := func(curve elliptic.Curve) string {
		k, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	}
	many := good
	for range MaxKeys {
		many += text(t, newKeys(t, 1))
	}
	for what, s := range map[string]string{
		"empty": "", "no key": "hello", "cut": good[:len(good)-40], "one good, one cut": good + good[:len(good)-40],
		"another curve": other(elliptic.P384()), "another block": strings.ReplaceAll(good, "PRIVATE KEY", "CERTIFICATE"),
		"another form": strings.ReplaceAll(good, "PRIVATE KEY", "EC PRIVATE KEY"), "twice": good + good, "too many": many,
		"junk": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if k, err := Parse(s); err == nil {
			t.Errorf("%s: taken as %v", what, k.Tags())
		}
	}
	if _, err := Parse("# a comment\n" + other(elliptic.P256()) + "# and another\n"); err != nil {
		t.Errorf("a key with comments: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(text(f, newKeys(f, 1)))
	f.Add(text(f, newKeys(f, 2)))
	f.Add("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(text(t, k))
		if err != nil || !slices.Equal(again.Tags(), k.Tags()) || len(again.DS("example.net.")) != len(k.Tags()) {
			t.Errorf("%v became %v, %v", k.Tags(), again, err)
		}
	})
}

// The name behind another in canonical order is a name, and nothing fits between.
func TestTheNextNameIsAfterIt(t *testing.T) {
	x, y := strings.Repeat("x", 63), strings.Repeat("x", 62)
	for name, want := range map[string]string{
		"example.net.":      `\000.example.net.`,
		`a\.b.example.net.`: `\000.a\.b.example.net.`,
		`\000.example.net.`: `\000.\000.example.net.`,
		x + "." + x + "." + x + "." + strings.Repeat("x", 61) + ".":                x[:62] + "y." + x + "." + x + "." + strings.Repeat("x", 61) + ".",  // 255 bytes
		y + "." + x + "." + x + "." + strings.Repeat("x", 61) + ".":                y + `\000.` + x + "." + x + "." + strings.Repeat("x", 61) + ".",    // 254
		`x\255\255.` + x + "." + x + "." + x + "." + strings.Repeat("x", 57) + ".": `y.` + x + "." + x + "." + x + "." + strings.Repeat("x", 57) + ".", // 255
	} {
		got := next(name)
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		if _, err := dns.PackDomainName(got, make([]byte, 256), 0, nil, false); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
