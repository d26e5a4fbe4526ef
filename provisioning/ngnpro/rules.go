package ngnpro

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // so that time zones are the same everywhere
	"unicode"
	"unicode/utf8"

	"thor/overlay/subscriber"
)

// Greatest lengths and numbers.
const (
	maxName   = 64
	maxText   = 255
	maxList   = 100 // items
	maxNumber = 1<<31 - 1
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

// fields checks and trims the fields of a record that have the tag rule:
//
//	text N        one line of at most N characters, without blanks around
//	header N      a text that may stand in a SIP header
//	lines N       at most N characters
//	number L H    a number from L to H; without them 0 to 2147483647
//	email, timezone
//
// A pointer that is nil is not checked.
func fields(record string, r any) error {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		f := v.Type().Field(i)
		tag := f.Tag.Get("rule")
		x := v.Field(i)
		if x.Kind() == reflect.Pointer {
			x = x.Elem()
		}
		if tag == "" || !x.IsValid() {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("soap"), ",")
		if err := field(record+"."+name, x, strings.Fields(tag)); err != nil {
			return err
		}
	}
	return nil
}

// field checks and trims one value by the words of its rule.
func field(name string, x reflect.Value, rule []string) error {
	var bounds [2]int
	for i, s := range rule[1:] {
		bounds[i], _ = strconv.Atoi(s) // a constant of this package
	}
	if rule[0] == "number" {
		if len(rule) == 1 {
			bounds[1] = maxNumber
		}
		return number(name, int(x.Int()), bounds[0], bounds[1])
	}
	s := x.String()
	if rule[0] != "lines" {
		s = strings.TrimSpace(s)
		x.SetString(s)
	}
	switch rule[0] {
	case "text":
		return text(name, s, bounds[0])
	case "header":
		return header(name, s, bounds[0])
	case "lines":
		return lines(name, s, bounds[0])
	case "email":
		return email(name, s)
	case "timezone":
		return timezone(name, s)
	}
	panic("ngnpro: no such rule: " + rule[0])
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

// header: a text that cannot end the header or the quoted string it stands in.
func header(field, s string, longest int) error {
	if strings.ContainsAny(s, "\"<>\\") {
		return invalid(field, "holds a quote, a bracket or a backslash")
	}
	return text(field, s, longest)
}

// lines: like text, of several lines.
func lines(field, s string, longest int) error {
	if utf8.RuneCountInString(s) > longest {
		return invalid(field, "is longer than %d characters", longest)
	}
	return text(field, strings.NewReplacer("\n", "", "\r", "", "\t", "").Replace(s), longest)
}

func number(field string, n, low, high int) error {
	if n < low || n > high {
		return invalid(field, "is not %d to %d", low, high)
	}
	return nil
}

func email(field, s string) error {
	if s == "" {
		return nil
	}
	if err := text(field, s, maxText); err != nil {
		return err
	}
	user, host, ok := strings.Cut(s, "@")
	if !ok || user == "" || !isHost(subscriber.Fold(host)) || strings.ContainsAny(user, " \"<>()[]\\,;:") {
		return invalid(field, "is not an e-mail address")
	}
	return nil
}

func timezone(field, s string) error {
	if s == "" {
		return nil
	}
	if _, err := time.LoadLocation(s); err != nil || s == "Local" || len(s) > maxName {
		return invalid(field, "is not a name of the time zone database, such as Europe/Amsterdam")
	}
	return nil
}

// within bounds what parts of a record take together, in bytes of JSON.
func within(field string, most int, parts ...any) error {
	b, err := json.Marshal(parts)
	if err != nil || len(b) > most {
		return invalid(field, "has more than %d KiB of lists", most>>10)
	}
	return nil
}

func madeOf(s, set string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(set, r) }) < 0
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyz"
	// What RFC 3261 lets stand in the user part without escaping.
	userSet = letters + digits + "-_.!~*'()&=+$,;?/"
)

// host folds and checks a domain name.
func host(field string, p *string) error {
	*p = subscriber.Fold(strings.TrimSuffix(strings.TrimSpace(*p), "."))
	switch {
	case *p == "":
		return invalid(field, "is missing")
	case !isHost(*p) || len(*p) > maxName:
		return invalid(field, "is not a domain name of at most %d characters", maxName)
	}
	return nil
}

// isHost reports whether s is a host name, of labels of letters, digits, hyphens and
// underscores in lower case, or an IPv4 address. A name whose last label is a number
// is none (RFC 1123 2.1): programs read 127.1 and 0x7f.1 as addresses.
func isHost(s string) bool {
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

// set gives what is left open its default.
func set[T any](p **T, v T) {
	if *p == nil {
		*p = &v
	}
}

// given is p, or nil for an empty text: clients send empty what they leave open.
func given(p *string) *string {
	if p != nil && *p == "" {
		return nil
	}
	return p
}
