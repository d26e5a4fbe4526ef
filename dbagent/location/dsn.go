// Package location says where a database is: the URI that a locator announces,
// how to get in once its password is known, and which of several announced
// databases to use. It is for the locator and for all who look for a database.
//
// A DSN never shows its password by accident: however it is printed, logged or
// encoded it reads mysql://user:xxxxxx@host/name, and no error of this package
// repeats any part of what it was given. Only Password and Reveal tell.
//
// It opens no connections and knows no driver.
package location

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/rs/zerolog"

	"thor/subjects"
)

// mask stands for every password, whatever its length, as on the original
// monitor's screen.
const mask = "xxxxxx"

// defaultPort is MySQL's.
const defaultPort = 3306

// Limits of what Parse accepts.
const (
	maxURI      = 2048
	maxUser     = 80 // MariaDB's
	maxPassword = 512
	maxName     = 64
	minTimeout  = 100 * time.Millisecond
	maxTimeout  = 60 * time.Second
)

const (
	letters = "abcdefghijklmnopqrstuvwxyz"
	digits  = "0123456789"
)

// A DSN is the location of a MySQL or MariaDB database, with or without the
// password. The zero value is none. A DSN is a value; it may be copied and used
// by several goroutines.
type DSN struct {
	user, host, name string
	port             uint16
	tls              bool
	timeout          time.Duration
	charset          string
	// A func, so that no printing of a struct around the DSN reaches the password.
	password func() string
}

// Each refusal is a fixed text: any part of a malformed URI may be the password.
var (
	errLong     = errors.New("longer than 2048 bytes")
	errSyntax   = errors.New("not of the form mysql://USER@HOST:PORT/NAME; in a password write @ / : # ? and % as %40 %2F %3A %23 %3F and %25")
	errScheme   = errors.New("does not begin with mysql://")
	errUser     = errors.New("names no user, or one that is longer than 80 bytes or holds control characters")
	errHost     = errors.New("the host is neither a host name nor an IP address; IPv6 stands in [ ]")
	errPort     = errors.New("the port is not 1 to 65535")
	errName     = errors.New("names no database of 1 to 64 characters out of A-Z, a-z, 0-9, _, $ and -")
	errPassword = errors.New("the password is empty, longer than 512 bytes or holds control characters")
	errOption   = errors.New("has an option other than tls, timeout and charset, or one of them twice")
	errTLS      = errors.New("tls is neither true nor false")
	errTimeout  = errors.New("timeout is not 100ms to 60s")
	errCharset  = errors.New("charset is not utf8mb4, utf8mb3, utf8, latin1 or ascii")
	errTwice    = errors.New("has a password already")
)

// Parse reads mysql://USER[:PASSWORD]@HOST[:PORT]/NAME[?OPTIONS]. The options are
// tls=true|false, timeout=DURATION for a connection to be made, and charset. A
// password equal to mask counts as none, so that an announced location can be
// read and completed with WithPassword.
func Parse(uri string) (DSN, error) {
	d, err := parse(uri)
	if err != nil {
		return DSN{}, fmt.Errorf("database URI: %w", err)
	}
	return d, nil
}

func parse(uri string) (DSN, error) {
	if len(uri) > maxURI {
		return DSN{}, errLong
	}
	rest, ok := strings.CutPrefix(uri, "mysql://")
	if !ok {
		return DSN{}, errScheme
	}
	// A password with a bare / or ? would end the authority early, one with a
	// bare @ give it two of them.
	authority, path := rest, ""
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	userinfo, place, ok := strings.Cut(authority, "@")
	if !ok || strings.ContainsAny(place+path, "@#") {
		return DSN{}, errSyntax
	}
	d := DSN{port: defaultPort}
	if err := d.setPlace(place); err != nil {
		return DSN{}, err
	}
	name, query, _ := strings.Cut(path, "?")
	d.name = strings.TrimPrefix(name, "/")
	if len(d.name) == 0 || len(d.name) > maxName || !madeOf(d.name, letters+strings.ToUpper(letters)+digits+"_$-") {
		return DSN{}, errName
	}
	if err := d.setOptions(query); err != nil {
		return DSN{}, err
	}
	return d.withUserinfo(userinfo)
}

// setPlace takes HOST[:PORT].
func (d *DSN) setPlace(s string) error {
	var host, port string
	var hasPort, bracketed bool
	if s, bracketed = strings.CutPrefix(s, "["); bracketed {
		var rest string
		var closed bool
		if host, rest, closed = strings.Cut(s, "]"); !closed {
			return errHost
		}
		if port, hasPort = strings.CutPrefix(rest, ":"); !hasPort && rest != "" {
			return errHost
		}
	} else if host, port, hasPort = strings.Cut(s, ":"); strings.Contains(port, ":") {
		return errHost
	}
	d.host = strings.ToLower(host)
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() || a.Is6() != bracketed {
			return errHost
		}
		d.host = a.String()
	} else if bracketed || !subjects.IsHostName(d.host) {
		return errHost
	}
	if !hasPort {
		return nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 || port[0] == '0' {
		return errPort
	}
	d.port = uint16(n)
	return nil
}

// withUserinfo takes USER[:PASSWORD].
func (d DSN) withUserinfo(s string) (DSN, error) {
	user, password, has := strings.Cut(s, ":")
	var err error
	if d.user, err = url.PathUnescape(user); err != nil {
		return DSN{}, errSyntax
	}
	if !printable(d.user, maxUser) {
		return DSN{}, errUser
	}
	if password, err = url.PathUnescape(password); err != nil {
		return DSN{}, errSyntax
	}
	if !has || password == mask {
		return d, nil
	}
	return d.WithPassword(password)
}

func madeOf(s, alphabet string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(alphabet, r) })
}

// setOptions reads the query by an allow-list: a driver's options can send it to
// read local files or to trust anybody.
func (d *DSN) setOptions(query string) error {
	if query == "" {
		return nil
	}
	seen := make(map[string]bool)
	for kv := range strings.SplitSeq(query, "&") {
		k, v, _ := strings.Cut(kv, "=")
		if seen[k] {
			return errOption
		}
		seen[k] = true
		switch k {
		case "tls":
			if v != "true" && v != "false" {
				return errTLS
			}
			d.tls = v == "true"
		case "timeout":
			t, err := time.ParseDuration(v)
			if err != nil || t < minTimeout || t > maxTimeout {
				return errTimeout
			}
			d.timeout = t
		case "charset":
			if !slices.Contains([]string{"utf8mb4", "utf8mb3", "utf8", "latin1", "ascii"}, v) {
				return errCharset
			}
			d.charset = v
		default:
			return errOption
		}
	}
	return nil
}

func printable(s string, max int) bool {
	return len(s) > 0 && len(s) <= max && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// WithPassword is d with a password. It refuses an empty one, one above 512
// bytes or with control characters, and a second one.
func (d DSN) WithPassword(p string) (DSN, error) {
	if d.password != nil {
		return DSN{}, errTwice
	}
	if !printable(p, maxPassword) {
		return DSN{}, errPassword
	}
	d.password = func() string { return p }
	return d, nil
}

// HasPassword reports whether the password is known.
func (d DSN) HasPassword() bool { return d.password != nil }

// Password is the password, "" when it is not known.
func (d DSN) Password() string {
	if d.password == nil {
		return ""
	}
	return d.password()
}

// IsZero reports whether d is the zero value, no location at all.
func (d DSN) IsZero() bool { return d.host == "" }

// User is the name to log in with.
func (d DSN) User() string { return d.user }

// Host is the server's host name or IP address, without brackets.
func (d DSN) Host() string { return d.host }

// Address is the server's host:port, to dial.
func (d DSN) Address() string { return net.JoinHostPort(d.host, strconv.Itoa(int(d.port))) }

// Name is the database.
func (d DSN) Name() string { return d.name }

// TLS reports whether the connection must be encrypted and the server verified.
func (d DSN) TLS() bool { return d.tls }

// Timeout is how long making a connection may take; 0: the user of d decides.
func (d DSN) Timeout() time.Duration { return d.timeout }

// Charset is that of the connection, "" for the driver's own.
func (d DSN) Charset() string { return d.charset }

// Reveal is the whole URI, with the password if it is known, escaped so that
// Parse reads it back. It is for a reply to an asker that may know the password,
// and for nothing else.
func (d DSN) Reveal() string {
	if d.password == nil {
		return d.uri("")
	}
	return d.uri(":" + escape(d.password()))
}

// String is the URI with mask for the password, whether it is known or not. The
// default port is left out.
func (d DSN) String() string {
	if d.IsZero() {
		return ""
	}
	return d.uri(":" + mask)
}

func (d DSN) uri(password string) string {
	var b strings.Builder
	b.WriteString("mysql://" + escape(d.user) + password + "@")
	switch {
	case d.port != defaultPort:
		b.WriteString(d.Address())
	case strings.Contains(d.host, ":"):
		b.WriteString("[" + d.host + "]")
	default:
		b.WriteString(d.host)
	}
	b.WriteString("/" + d.name)
	sep := "?"
	for _, o := range []struct {
		set        bool
		key, value string
	}{{d.tls, "tls", "true"}, {d.timeout > 0, "timeout", d.timeout.String()}, {d.charset != "", "charset", d.charset}} {
		if o.set {
			b.WriteString(sep + o.key + "=" + o.value)
			sep = "&"
		}
	}
	return b.String()
}

// escape writes all but letters, digits and - . _ ~ as %XX, more than RFC 3986
// asks for, so that no reader of URIs can disagree.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// Format writes String whatever the verb.
func (d DSN) Format(f fmt.State, verb rune) {
	if verb == 'q' {
		_, _ = fmt.Fprintf(f, "%q", d.String()) // a fmt.State takes everything
		return
	}
	_, _ = f.Write([]byte(d.String()))
}

// GoString is String.
func (d DSN) GoString() string { return d.String() }

// MarshalText is String, for JSON and other encodings.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText is Parse.
func (d *DSN) UnmarshalText(text []byte) (err error) {
	*d, err = Parse(string(text))
	return err
}

// MarshalZerologObject writes String as the field uri.
func (d DSN) MarshalZerologObject(e *zerolog.Event) { e.Str("uri", d.String()) }
