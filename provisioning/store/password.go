package store

import (
	"crypto/md5" //nolint:gosec // RFC 2617 digests
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"

	"thor/provisioning/ngnpro"
)

// setPassword takes a password in one of its two forms: clear, or the digests of
// user:domain:password and user@domain:domain:password with a colon between.
func (p *profile) setPassword(id ngnpro.SipID, s string, keepClear bool) {
	p.Password = ""
	p.SHA256 = ""
	p.SHA512 = ""
	if h1, h1b, ok := ngnpro.Digests(s); ok {
		p.HA1, p.HA1B = h1, h1b
		return
	}
	if keepClear {
		p.Password = s
	}
	secret := id.Username + ":" + id.Domain + ":" + s
	p.HA1 = digest(secret)
	p.HA1B = digest(id.Key() + ":" + id.Domain + ":" + s)
	a, b := sha256.Sum256([]byte(secret)), sha512.Sum512_256([]byte(secret))
	p.SHA256, p.SHA512 = hex.EncodeToString(a[:]), hex.EncodeToString(b[:])
}

func digest(s string) string {
	d := md5.Sum([]byte(s)) //nolint:gosec // RFC 2617
	return hex.EncodeToString(d[:])
}
