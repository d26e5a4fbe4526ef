// Package cookie makes and checks DNS cookies (RFC 7873, with the server cookie of
// RFC 9018): a client that returns the cookie it was given is at the address that it
// asks from, and no victim of another.
//
// It reads no file and no clock.
package cookie

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/dchest/siphash"
)

// Sizes in bytes.
const (
	ClientSize = 8               // of what the client makes
	Size       = ClientSize + 16 // with what the server makes
	secretSize = 16
)

// Times in seconds (RFC 9018 4.3).
const (
	maxAge   = 3600 // of a cookie that is believed
	maxAhead = 300  // of another server's clock
	freshFor = 1800 // a cookie is given back as it is
)

const version = 1

// A Secret makes server cookies. It has no text form, so that no log holds it.
type Secret struct{ key [2]uint64 }

// Secrets are one or two: the first makes cookies, and those of both are believed.
// Servers that share an address share them. No secrets make none.
type Secrets []Secret

// New is a secret of 16 random bytes.
func New(random [secretSize]byte) Secret {
	return Secret{[2]uint64{binary.LittleEndian.Uint64(random[:8]), binary.LittleEndian.Uint64(random[8:])}}
}

// Parse reads the text of a file: one or two lines of 32 hexadecimal digits. Empty
// lines and those that begin with # mean nothing.
func Parse(text string) (Secrets, error) {
	var out Secrets
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		b, err := hex.DecodeString(line)
		if err != nil || len(b) != secretSize {
			return nil, fmt.Errorf("a line of %d characters is no secret: 32 hexadecimal digits are", len(line))
		}
		out = append(out, New([secretSize]byte(b)))
	}
	switch {
	case len(out) == 0:
		return nil, errors.New("holds no secret: a line of 32 hexadecimal digits")
	case len(out) > 2:
		return nil, errors.New("holds more than two secrets")
	}
	return out, nil
}

// WellFormed reports whether an option of n bytes can be a cookie (RFC 7873 5.2.2).
func WellFormed(n int) bool { return n == ClientSize || n >= ClientSize+8 && n <= ClientSize+32 }

// Answer writes to out, of Size bytes, the cookie to answer a well-formed one with. It
// reports whether the client at addr has proved that it is there. now is in seconds
// since 1970, modulo 2^32.
func (s Secrets) Answer(out, cookie []byte, addr netip.Addr, now uint32) (proved bool) {
	copy(out, cookie[:ClientSize])
	at := now
	of, age := s.check(cookie, addr, now)
	if of == 0 && age >= 0 && age < freshFor {
		at -= uint32(age)
	}
	s[0].write(out, addr, at)
	return of >= 0
}

// check returns which secret made the cookie, and its age; -1 if it is not believed.
func (s Secrets) check(cookie []byte, addr netip.Addr, now uint32) (of int, age int32) {
	if len(cookie) != Size || cookie[ClientSize] != version {
		return -1, 0
	}
	at := binary.BigEndian.Uint32(cookie[ClientSize+4:])
	age = int32(now - at)
	if age > maxAge || age < -maxAhead {
		return -1, 0
	}
	var want [Size]byte
	copy(want[:], cookie[:ClientSize])
	for i := range s {
		s[i].write(want[:], addr, at)
		if subtle.ConstantTimeCompare(want[:], cookie) == 1 {
			return i, age
		}
	}
	return -1, 0
}

// write makes the server cookie that follows the client's in b.
func (s *Secret) write(b []byte, addr netip.Addr, at uint32) {
	b[ClientSize] = version
	clear(b[ClientSize+1 : ClientSize+4])
	binary.BigEndian.PutUint32(b[ClientSize+4:], at)
	var hashed [ClientSize + 8 + 16]byte
	n := copy(hashed[:], b[:ClientSize+8])
	if addr = addr.Unmap(); addr.Is4() {
		a := addr.As4()
		n += copy(hashed[n:], a[:])
	} else {
		a := addr.As16()
		n += copy(hashed[n:], a[:])
	}
	binary.LittleEndian.PutUint64(b[ClientSize+8:], siphash.Hash(s.key[0], s.key[1], hashed[:n]))
}
