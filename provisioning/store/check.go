package store

import (
	"strings"
	"unicode/utf8"

	"thor/provisioning/ngnpro"
)

// Sizes of columns, in characters.
const (
	maxName    = 64
	maxLabel   = 128
	maxURI     = 255
	maxInfo    = 1024
	maxPEM     = 16 << 10 // a TEXT holds 64 KiB
	maxItems   = 100      // of a list that is kept with an account
	maxNumber  = 1<<31 - 1
	maxSeconds = maxNumber
)

// A check collects the first reason why an argument is not valid. Its errors
// name the field and never what is in it.
type check struct{ err error }

func (c *check) fail(format string, args ...any) {
	if c.err == nil {
		c.err = ngnpro.ErrInvalid.With(format, args...)
	}
}

// text is valid UTF-8 of at most most characters, without NUL, which would end
// it early for a proxy.
func (c *check) text(field, s string, most int) {
	switch {
	case !utf8.ValidString(s):
		c.fail("%s is not valid UTF-8", field)
	case strings.ContainsRune(s, 0):
		c.fail("%s contains a NUL character", field)
	case utf8.RuneCountInString(s) > most:
		c.fail("%s is longer than %d characters", field, most)
	}
}

// opt is a text that may be absent.
func (c *check) opt(field string, s *string, most int) {
	if s != nil {
		c.text(field, *s, most)
	}
}

// word is a text that is there, without control characters.
func (c *check) word(field, s string, most int) {
	c.text(field, s, most)
	if s == "" {
		c.fail("%s is empty", field)
	}
	c.line(field, s)
}

// line has no control characters.
func (c *check) line(field, s string) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		c.fail("%s contains control characters", field)
	}
}

func (c *check) number(field string, n *int, low, high int) {
	if n != nil && (*n < low || *n > high) {
		c.fail("%s is not a number from %d to %d", field, low, high)
	}
}

func (c *check) count(field string, n int) {
	if n > maxItems {
		c.fail("%s has more than %d items", field, maxItems)
	}
}

// digits is a number as it is dialled.
func (c *check) digits(field, s string, most int) {
	if s == "" || len(s) > most || strings.Trim(s, "0123456789") != "" {
		c.fail("%s is not 1 to %d digits", field, most)
	}
}

// fold writes A-Z as a-z. Other letters stay as they are: proxies fold no more
// than these, and the key has to be the same everywhere.
func fold(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + ('a' - 'A')
		}
	}
	return string(b)
}

func foldID(id ngnpro.SipID) ngnpro.SipID {
	return ngnpro.SipID{Username: fold(id.Username), Domain: fold(id.Domain)}
}

// domain is a host name as the lookup takes it (lookup keys, step 7), without
// port and trailing dot, in lower case.
func (c *check) domain(field, s string) {
	if !ngnpro.IsHost(s) || len(s) > maxName {
		c.fail("%s is not a host name of at most %d characters", field, maxName)
	}
}

// user is the user part of a lookup key (step 6): what would change the key's
// meaning is not in it.
func (c *check) user(field, s string) {
	c.text(field, s, maxName)
	if s == "" || strings.ContainsAny(s, `@:<>"`) || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.fail("%s is empty or contains blanks, control characters or one of @ : < > \"", field)
	}
}

func (c *check) id(field string, id ngnpro.SipID) {
	c.user(field+".username", id.Username)
	c.domain(field+".domain", id.Domain)
}

// uri is a SIP URI, as far as a store has to know.
func (c *check) uri(field, s string) {
	c.word(field, s, maxURI)
	l := fold(s)
	if !strings.HasPrefix(l, "sip:") && !strings.HasPrefix(l, "sips:") || strings.ContainsAny(s, "<>\" ") || strings.HasSuffix(s, ":") {
		c.fail("%s is not a sip: or sips: URI", field)
	}
}

// or is what p points at, or d.
func or[T any](p *T, d T) T {
	if p == nil {
		return d
	}
	return *p
}

// set stores what is given.
func set[T any](dst *T, given *T) {
	if given != nil {
		*dst = *given
	}
}
