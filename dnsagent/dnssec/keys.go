package dnssec

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

const (
	// MaxKeys are in a file: one that signs, and others while it is replaced.
	MaxKeys = 4

	keyTTL    = 3600 // seconds, of the DNSKEY set
	keyFlags  = 257  // zone key, secure entry point: one key does both (RFC 6781 3.1)
	protocol  = 3
	algorithm = dns.ECDSAP256SHA256
	pemType   = "PRIVATE KEY"
)

// Keys are those of a zone. The first one signs the zone's records, and all of them
// sign the set of keys, so that a DS record of any of them is enough.
type Keys struct{ all []*key }

type key struct {
	private *ecdsa.PrivateKey
	public  dns.DNSKEY // without an owner
	tag     uint16
}

// Parse reads keys of a file: PKCS #8 in PEM, as Text writes it and openssl does.
func Parse(text string) (*Keys, error) {
	out := new(Keys)
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != pemType {
			return nil, fmt.Errorf("holds a %q, only %q is a key", block.Type, pemType)
		}
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("holds a key that is not PKCS #8")
		}
		private, ok := parsed.(*ecdsa.PrivateKey)
		if !ok || private.Curve != elliptic.P256() {
			return nil, errors.New("holds a key that is not of the curve P-256")
		}
		if err := out.add(private, true); err != nil {
			return nil, err
		}
	}
	switch {
	case len(out.all) == 0:
		return nil, errors.New("holds no key")
	case strings.Contains(string(rest), "-----BEGIN"):
		return nil, errors.New("holds something like a key that is cut or damaged")
	}
	return out, nil
}

// add appends a key, or puts it before the others.
func (k *Keys) add(private *ecdsa.PrivateKey, last bool) error {
	point, err := private.PublicKey.Bytes()
	if err != nil {
		return fmt.Errorf("holds a key without a point: %w", err)
	}
	n := &key{private: private, public: dns.DNSKEY{
		Hdr:   dns.RR_Header{Rrtype: dns.TypeDNSKEY, Class: dns.ClassINET, Ttl: keyTTL},
		Flags: keyFlags, Protocol: protocol, Algorithm: algorithm, PublicKey: base64(point[1:]), // without what says that it is not compressed
	}}
	n.tag = n.public.KeyTag()
	switch {
	case len(k.all) == MaxKeys:
		return fmt.Errorf("holds more than %d keys", MaxKeys)
	case n.tag == 0, slices.ContainsFunc(k.all, func(o *key) bool { return o.tag == n.tag }):
		return fmt.Errorf("holds two keys with the tag %d: make another", n.tag)
	}
	if last {
		k.all = append(k.all, n)
	} else {
		k.all = slices.Insert(k.all, 0, n)
	}
	return nil
}

// New adds a key, which is published and signs nothing but the set of keys; the first
// one signs all. It returns its tag. The zero Keys have none.
func (k *Keys) New() (tag uint16, err error) {
	for range 8 { // tags have 16 bits, and must differ
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return 0, err
		}
		if len(k.all) == MaxKeys {
			return 0, fmt.Errorf("there are %d keys: remove one first", MaxKeys)
		}
		if k.add(private, true) == nil {
			return k.all[len(k.all)-1].tag, nil
		}
	}
	return 0, errors.New("no key with a tag of its own was found")
}

// Use makes a key the one that signs.
func (k *Keys) Use(tag uint16) error {
	i := k.index(tag)
	if i < 0 {
		return fmt.Errorf("there is no key %d", tag)
	}
	one := k.all[i]
	k.all = slices.Insert(slices.Delete(k.all, i, i+1), 0, one)
	return nil
}

// Remove removes a key other than the one that signs.
func (k *Keys) Remove(tag uint16) error {
	switch i := k.index(tag); i {
	case -1:
		return fmt.Errorf("there is no key %d", tag)
	case 0:
		return fmt.Errorf("key %d signs the zone: use another first", tag)
	default:
		k.all = slices.Delete(k.all, i, i+1)
		return nil
	}
}

func (k *Keys) index(tag uint16) int {
	return slices.IndexFunc(k.all, func(o *key) bool { return o.tag == tag })
}

// Tags are those of the keys, the one that signs first.
func (k *Keys) Tags() (tags []uint16) {
	for _, o := range k.all {
		tags = append(tags, o.tag)
	}
	return tags
}

// Text is the content of a file of the keys.
func (k *Keys) Text() (string, error) {
	var b strings.Builder
	for i, o := range k.all {
		der, err := x509.MarshalPKCS8PrivateKey(o.private)
		if err != nil {
			return "", err
		}
		use := "is published"
		if i == 0 {
			use = "signs"
		}
		fmt.Fprintf(&b, "# key %d %s\n", o.tag, use)
		b.Write(pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
	}
	return b.String(), nil
}

// DNSKEY are the public keys as records of the zone apex.
func (k *Keys) DNSKEY(apex string) (rrs []dns.RR) {
	for _, o := range k.all {
		rr := o.public
		rr.Hdr.Name = apex
		rrs = append(rrs, &rr)
	}
	return rrs
}

// DS are the records by which the parent of the zone apex vouches for the keys.
func (k *Keys) DS(apex string) (out []*dns.DS) {
	for _, rr := range k.DNSKEY(apex) {
		out = append(out, rr.(*dns.DNSKEY).ToDS(dns.SHA256))
	}
	return out
}
