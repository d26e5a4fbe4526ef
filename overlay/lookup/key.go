package lookup

import (
	"errors"

	"github.com/cespare/xxhash/v2"
)

// ErrBadKey says that a key is no subscriber: neither user@domain nor a SIP or
// SIPS URI of one.
var ErrBadKey = errors.New("lookup: bad key: neither user@domain nor a SIP URI")

// Sizes of keys, in bytes.
const (
	MaxKey        = 1024 // as given
	MaxNormalised = 512
)

// Normalise brings a key, "user@domain" or a SIP or SIPS URI, into the one form
// that is hashed: "user@domain" without scheme, password, port, parameters and
// headers, the domain in lower case. The user stays as it is, byte for byte: SIP
// users are case-sensitive (RFC 3261 19.1.4). Normalising twice changes nothing.
// The error is ErrBadKey.
func Normalise(key string) (string, error) {
	p, ok := parseKey(key)
	if !ok {
		return "", ErrBadKey
	}
	if p.whole() {
		return key[p.user:p.hostEnd], nil
	}
	var buf [MaxNormalised]byte
	return string(p.appendTo(buf[:0], key)), nil
}

// hashKey is Hash(Normalise(key)) without a copy that outlives it.
func hashKey(key string) (uint64, bool) {
	p, ok := parseKey(key)
	if !ok {
		return 0, false
	}
	if p.whole() {
		return Hash(key[p.user:p.hostEnd]), true
	}
	var buf [MaxNormalised]byte
	return xxhash.Sum64(p.appendTo(buf[:0], key)), true
}

// keyParts says where user and host of a good key are.
type keyParts struct {
	user, userEnd int
	host, hostEnd int
	upper         bool // the host has upper-case letters
}

// whole reports whether the normal form is a part of the key as given.
func (p *keyParts) whole() bool { return p.userEnd+1 == p.host && !p.upper }

func (p *keyParts) appendTo(b []byte, key string) []byte {
	b = append(b, key[p.user:p.userEnd]...)
	b = append(b, '@')
	for _, c := range []byte(key[p.host:p.hostEnd]) {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		b = append(b, c)
	}
	return b
}

func parseKey(k string) (p keyParts, ok bool) {
	if len(k) > MaxKey {
		return p, false
	}
	p.user = schemeEnd(k)
	if !p.parseUser(k) || !p.parseHost(k) {
		return p, false
	}
	return p, p.userEnd-p.user+1+p.hostEnd-p.host <= MaxNormalised
}

// schemeEnd is the length of "sip:" or "sips:" in front of k, in any case, or 0.
func schemeEnd(k string) int {
	if len(k) < 5 || k[0]|0x20 != 's' || k[1]|0x20 != 'i' || k[2]|0x20 != 'p' {
		return 0
	}
	switch {
	case k[3] == ':':
		return 4
	case k[3]|0x20 == 's' && k[4] == ':':
		return 5
	}
	return 0
}

// Classes of bytes.
const (
	userByte  = 1 << iota // may stand in a user as it is
	hostByte              // may stand in a host name: letters, digits, "-" and "_"
	upperByte             // A to Z
)

var class = makeClass()

func makeClass() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		if c > 0x20 && c != 0x7f && c != '<' && c != '>' && c != '"' && c != '@' && c != ':' {
			t[i] |= userByte
		}
		if c >= 'A' && c <= 'Z' {
			t[i] |= upperByte | hostByte
		}
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			t[i] |= hostByte
		}
	}
	return t
}

// parseUser finds the user, up to the first "@": later ones are a matter of the
// host. A password is cut off a URI; without scheme a ":" is of another scheme,
// such as "tel:".
func (p *keyParts) parseUser(k string) bool {
	i := p.user
	for i < len(k) && class[k[i]]&userByte != 0 {
		i++
	}
	p.userEnd = i
	if i < len(k) && k[i] == ':' && p.user > 0 {
		for i < len(k) && k[i] != '@' {
			i++
		}
	}
	p.host = i + 1
	return i < len(k) && k[i] == '@' && p.userEnd > p.user
}

// parseHost finds the host: a name or an address in brackets, without port.
func (p *keyParts) parseHost(k string) bool {
	if p.host < len(k) && k[p.host] == '[' {
		return p.parseLiteral(k)
	}
	i, label := p.host, p.host
	seen := uint8(0)
	for ; i < len(k); i++ {
		c := class[k[i]]
		if c&hostByte == 0 {
			if k[i] != '.' || i == label {
				break
			}
			label = i + 1
		}
		seen |= c
	}
	p.upper = seen&upperByte != 0
	p.hostEnd = i
	if i > p.host && i == label { // one final dot; what is before it is a label, see above
		p.hostEnd--
	}
	return p.hostEnd > p.host && isPort(k[i:])
}

// parseLiteral finds "[address]".
func (p *keyParts) parseLiteral(k string) bool {
	for i := p.host + 1; i < len(k); i++ {
		switch c := k[i]; {
		case c == ']':
			p.hostEnd = i + 1
			return i > p.host+1 && isPort(k[i+1:])
		case c >= 'A' && c <= 'F':
			p.upper = true
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c == ':', c == '.':
		default:
			return false
		}
	}
	return false
}

// isPort accepts what may follow a host: nothing, or ":" and 1 to 5 digits, and
// behind these parameters or headers.
func isPort(s string) bool {
	n := 0
	if s != "" && s[0] == ':' {
		for n = 1; n < len(s) && s[n] >= '0' && s[n] <= '9'; n++ {
		}
		if n < 2 || n > 6 {
			return false
		}
	}
	return n == len(s) || s[n] == ';' || s[n] == '?'
}
