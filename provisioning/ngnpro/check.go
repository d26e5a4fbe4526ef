package ngnpro

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The Clean methods bring what a client sent into the one form that is kept,
// and refuse what cannot be: names folded to lower case, defaults left to
// Complete. They are pure. Their error is ErrInvalid with a text that names the
// field and repeats no secret.

// Greatest lengths of texts, in characters.
const (
	maxName  = 64
	maxText  = 255
	maxLines = 16 << 10 // certificates
	maxInfo  = 1024     // notes and values of properties, of several lines
	maxList  = 100      // items in a list
)

func invalid(field, format string, args ...any) error {
	return ErrInvalid.With("%s %s", field, fmt.Sprintf(format, args...))
}

// first is the first error of a row of checks, all of which have been made.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// text: one line that may be empty.
func text(field, s string, longest int) error {
	switch {
	case !utf8.ValidString(s):
		return invalid(field, "is not UTF-8")
	case utf8.RuneCountInString(s) > longest:
		return invalid(field, "is longer than %d characters", longest)
	case strings.ContainsFunc(s, control):
		return invalid(field, "holds a control character")
	}
	return nil
}

// control: what ends or turns lines around.
func control(r rune) bool {
	return unicode.IsControl(r) || r == 0x2028 || r == 0x2029 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// lines: like text, of several lines.
func lines(field, s string, longest int) error {
	if utf8.RuneCountInString(s) > longest {
		return invalid(field, "is longer than %d characters", longest)
	}
	return text(field, strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(s), longest)
}

// texts checks optional one-line texts, given as names and pointers in turn.
func texts(longest int, pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if p := pairs[i+1].(*string); p != nil {
			*p = strings.TrimSpace(*p)
			if err := text(pairs[i].(string), *p, longest); err != nil {
				return err
			}
		}
	}
	return nil
}

func within(field string, p *int, low, high int) error {
	if p != nil && (*p < low || *p > high) {
		return invalid(field, "is not %d to %d", low, high)
	}
	return nil
}

const maxInt = 1<<31 - 1

// ids checks optional numbers of records.
func ids(pairs ...any) error {
	for i := 0; i < len(pairs); i += 2 {
		if err := within(pairs[i].(string), pairs[i+1].(*int), 0, maxInt); err != nil {
			return err
		}
	}
	return nil
}

func madeOf(s, set string) bool {
	return strings.Trim(s, set) == "" && strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) }) < 0
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyz"
	// What RFC 3261 lets stand in the user part without escaping.
	userSet = letters + digits + "-_.!~*'()&=+$,;?/"
)

// AutoIncrement is the user name that lets the server choose one.
const AutoIncrement = "<autoincrement>"

// Clean folds and checks the name of a subscriber.
func (id *SipID) Clean() error { return id.clean("sipId") }

func (id *SipID) clean(field string) error {
	id.Username = strings.ToLower(strings.TrimSpace(id.Username))
	switch {
	case id.Username == "":
		return invalid(field+".username", "is missing")
	case len(id.Username) > maxName || !madeOf(id.Username, userSet):
		return invalid(field+".username", "is not 1 to %d letters, digits and signs that need no escape in a SIP URI", maxName)
	}
	return domain(field+".domain", &id.Domain)
}

func domain(field string, p *string) error {
	*p = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(*p), "."))
	switch {
	case *p == "":
		return invalid(field, "is missing")
	case !IsHost(*p) || len(*p) > maxName:
		return invalid(field, "is not a domain name of at most %d characters", maxName)
	}
	return nil
}

// IsHost reports whether s is a host name, of labels of letters, digits, hyphens and
// underscores in lower case, or an IPv4 address. A name whose last label is a number
// is none (RFC 1123 2.1): programs read 127.1 and 0x7f.1 as addresses.
func IsHost(s string) bool {
	if len(s) == 0 || len(s) > 253 {
		return false
	}
	last := ""
	for l := range strings.SplitSeq(s, ".") {
		if len(l) == 0 || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || !madeOf(l, letters+digits+"-_") {
			return false
		}
		last = l
	}
	hex, is := strings.CutPrefix(last, "0x")
	if madeOf(last, digits) || is && madeOf(hex, digits+"abcdef") { // as URLs have it (WHATWG URL 3.5, "ends in a number")
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	return true
}

func email(field string, p *string) error {
	if p == nil || *p == "" {
		return nil
	}
	*p = strings.TrimSpace(*p)
	if err := text(field, *p, maxText); err != nil {
		return err
	}
	user, host, ok := strings.Cut(*p, "@")
	if !ok || user == "" || !IsHost(strings.ToLower(host)) || strings.ContainsAny(user, " \"<>()[]\\,;:") {
		return invalid(field, "is not an e-mail address")
	}
	return nil
}

// words cleans a list of names: no empty ones, none twice, in their order.
func words(field string, ws []string, longest int) ([]string, error) {
	out := make([]string, 0, len(ws))
	for _, w := range ws {
		if w = strings.TrimSpace(w); w == "" || slices.Contains(out, w) {
			continue
		}
		if err := text(field, w, longest); err != nil {
			return nil, err
		}
		if out = append(out, w); len(out) > maxList {
			return nil, invalid(field, "has more than %d items", maxList)
		}
	}
	return out, nil
}

func wordsIn(field string, p *[]string, longest int) error {
	if p == nil {
		return nil
	}
	var err error
	*p, err = words(field, *p, longest)
	return err
}

// network is the CIDR form of an address with the length of its prefix, the
// whole address where none is given.
func network(field, ip string, mask int) (netip.Prefix, error) {
	a, err := netip.ParseAddr(strings.TrimSpace(ip))
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, invalid(field+".ip", "is not an IP address")
	}
	a = a.Unmap()
	if mask == 0 && !a.IsUnspecified() {
		mask = a.BitLen()
	}
	p, err := a.Prefix(mask)
	if err != nil {
		return netip.Prefix{}, invalid(field+".mask", "is not 0 to %d", a.BitLen())
	}
	return p, nil
}

func set[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}
