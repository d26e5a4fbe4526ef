package view

import (
	"regexp"
	"strings"
	"unicode"

	"thor/subjects"
)

// hidden stands where a password was, whatever its length.
const hidden = "xxxxxx"

var (
	// user:secret@protocol(address), the form of Go's MySQL driver.
	dsn = regexp.MustCompile(`(?s)([^\s:/@]+):(.*)@([a-z0-9]*\()`)
	// secret=…, as in the query of a URI.
	parameter = regexp.MustCompile(`(?i)\b(password|passwd|pass|pwd|secret|token)=[^\s&;]+`)
	// secretName matches attributes whose whole value is a secret.
	secretName = regexp.MustCompile(`(?i)(password|passwd|secret|token|ha1)`)
)

// Mask hides the passwords in s: what stands between the user and the host of a
// URI, of a driver's data source name, and behind password= and the like.
// Passwords may hold any punctuation, "@" and "/" included; where it is
// uncertain how far one goes, Mask hides too much. No member should send one:
// this is the last line of defence. Mask(Mask(s)) is Mask(s).
func Mask(s string) string {
	if before, after, ok := strings.Cut(s, "://"); ok {
		s = before + "://" + maskAuthority(after)
	} else {
		s = dsn.ReplaceAllString(s, "$1:"+hidden+"@$3")
	}
	return parameter.ReplaceAllString(s, "$1="+hidden)
}

// maskAuthority masks what follows "://".
func maskAuthority(a string) string {
	host := 0
	if strings.HasPrefix(a, "[") { // an IPv6 address; its colons say nothing
		host = strings.IndexByte(a, ']') + 1
	}
	colon := strings.IndexByte(a[host:], ':')
	if colon < 0 {
		return a
	}
	head, rest := a[:host+colon+1], a[host+colon+1:]
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		return head + hidden + rest[at:]
	}
	end := strings.IndexFunc(rest, unicode.IsSpace)
	if end < 0 {
		end = len(rest)
	}
	if end > 0 && !strings.Contains(head, "@") && !startsWithPort(rest[:end]) {
		return head + hidden + Mask(rest[end:]) // a URI that was cut off inside its password
	}
	return head + rest[:end] + Mask(rest[end:])
}

func startsWithPort(s string) bool {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	return digits > 0 && digits <= 5 && (digits == len(s) || strings.ContainsRune("/?#,;:.)'\"", rune(s[digits])))
}

// MaskAttr is the value of attribute name, masked.
func MaskAttr(name, value string) string {
	if value != "" && secretName.MatchString(name) {
		return hidden
	}
	return Mask(value)
}

// safe makes foreign text fit to be shown, at most max bytes of it. Masking
// comes first: a cut could take away the "@" by which a password is known.
func safe(s string, max int) string { return subjects.Printable(Mask(s), max) }
