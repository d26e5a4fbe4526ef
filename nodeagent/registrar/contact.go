package registrar

import (
	"bytes"
	"encoding/json"
	"net"
	"strconv"
	"strings"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// A Contact is what a proxy tells of one.
type Contact struct {
	Address   string          // its URI
	Expires   json.RawMessage // seconds, or a word such as "permanent"
	UserAgent string
	Received  string // the URI it was received from
	Socket    string // PROTO:ADDRESS:PORT of the proxy
}

// Count counts a registered address of record in online, by its domain.
func Count(online map[string]int, aor string) {
	if _, domain, ok := strings.Cut(aor, "@"); ok && domain != "" {
		online[strings.ToLower(subjects.Printable(domain, 253))]++
	}
}

// Meaning is c in the words of the network; not ok for one that has expired.
func (c Contact) Meaning() (s subscriber.Contact, ok bool) {
	if bytes.HasPrefix(c.Expires, []byte(`"`)) {
		if !bytes.Contains(c.Expires, []byte("permanent")) {
			return s, false // "expired", "deleted"
		}
	} else if s.Expires, _ = strconv.Atoi(string(c.Expires)); s.Expires <= 0 {
		return s, false
	}
	s.UserAgent = subjects.Printable(c.UserAgent, 255)
	s.Address, s.Port, s.Transport = uriParts(c.Address)
	if proto, _, found := strings.Cut(c.Socket, ":"); s.Transport == "" && found {
		s.Transport = strings.ToLower(subjects.Printable(proto, 8))
	}
	if s.Port == 0 {
		s.Port = defaultPort(s.Transport)
	}
	if public, port, transport := uriParts(c.Received); public != "" {
		if port == 0 {
			port = defaultPort(transport)
		}
		s.PublicAddress, s.PublicPort = public, port
	}
	return s, s.Address != ""
}

func defaultPort(transport string) int {
	if transport == "tls" {
		return 5061
	}
	return 5060
}

// uriParts takes a SIP URI apart; port is 0 and transport empty where it has
// none. host is empty for what is no SIP URI.
func uriParts(uri string) (host string, port int, transport string) {
	scheme, rest, ok := strings.Cut(uri, ":")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "sip" && scheme != "sips" {
		return "", 0, ""
	}
	if scheme == "sips" {
		transport = "tls"
	}
	rest, _, _ = strings.Cut(rest, "?")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	host, params, _ := strings.Cut(rest, ";")
	for p := range strings.SplitSeq(strings.ToLower(params), ";") {
		if t, is := strings.CutPrefix(p, "transport="); is {
			transport = subjects.Printable(t, 8)
		}
	}
	if h, p, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return "", 0, ""
		}
		host, port = h, int(n)
	}
	return subjects.Printable(strings.Trim(host, "[]"), 255), port, transport
}
