package kamailio

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"strconv"
	"strings"

	"thor/nodeagent/rpc"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// table is usrloc's name for where registrations are kept.
const table = "location"

// Online counts the subscribers that are registered, by domain.
func (c *Client) Online(ctx context.Context) (map[string]int, error) {
	var dump struct {
		Domains []struct {
			Domain struct {
				Domain string
				AoRs   []struct{ AoR string }
			}
		}
	}
	if err := c.call(ctx, &dump, "ul.dump", "brief"); err != nil {
		return nil, err
	}
	out := make(map[string]int)
	for _, d := range dump.Domains {
		if d.Domain.Domain != table {
			continue
		}
		for _, a := range d.Domain.AoRs {
			if _, domain, ok := strings.Cut(a.AoR, "@"); ok && domain != "" {
				out[strings.ToLower(subjects.Printable(domain, 253))]++
			}
		}
	}
	return out, nil
}

// A contact is what usrloc tells of one.
type contact struct {
	Address   string
	Expires   json.RawMessage // seconds, or a word such as "permanent"
	UserAgent string          `json:"User-Agent"`
	Received  string
	Socket    string
}

// Contacts are where key is registered; none is no error.
func (c *Client) Contacts(ctx context.Context, key string) ([]subscriber.Contact, error) {
	var found struct {
		Contacts []struct{ Contact contact }
	}
	err := c.call(ctx, &found, "ul.lookup", table, key)
	if no := rpc.Refused(err); no != nil && (no.Code == 404 || strings.Contains(no.Message, "not found")) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []subscriber.Contact
	for i := range found.Contacts {
		if s, ok := found.Contacts[i].Contact.meaning(); ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// meaning is c in the words of the network; not ok for one that has expired.
func (c *contact) meaning() (s subscriber.Contact, ok bool) {
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
