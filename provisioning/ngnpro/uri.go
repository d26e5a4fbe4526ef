package ngnpro

import (
	"net/netip"
	"strconv"
	"strings"

	"thor/overlay/subscriber"
)

// voiceMailbox stands for the subscriber's mailbox in diversions.
const voiceMailbox = "<voice-mailbox>"

// sipURI checks a sip or sips URI and returns it with scheme and host in lower
// case. Whatever could end a header or a quoted string is refused, escaped too.
func sipURI(field, s string) (string, error) {
	s = strings.TrimSpace(s)
	if len(s) > maxText {
		return "", invalid(field, "is longer than %d characters", maxText)
	}
	scheme, rest, ok := strings.Cut(s, ":")
	scheme = subscriber.Fold(scheme)
	if !ok || scheme != "sip" && scheme != "sips" {
		return "", invalid(field, "is not a SIP URI: it does not begin with sip: or sips:")
	}
	if !uriText(rest) {
		return "", invalid(field, "holds characters that may not stand in a URI")
	}
	user, place, ok := cutLast(rest, "@")
	if !ok {
		place = rest
	} else if name, _, _ := strings.Cut(user, ":"); name == "" || strings.Contains(user, "@") {
		return "", invalid(field, "is not a SIP URI: its user part is empty or holds an @")
	}
	end := strings.IndexAny(place, ";?")
	if end < 0 {
		end = len(place)
	}
	host, after := subscriber.Fold(place[:end]), place[end:]
	if !isHostPort(host) {
		return "", invalid(field, "is not a SIP URI: what follows the @ is no host")
	}
	if user != "" {
		user += "@"
	}
	return scheme + ":" + user + host + after, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", "", false
}

// uriText: printable ASCII without what delimits URIs, and no escaped control
// characters.
func uriText(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>\\^`{|}", c) >= 0 {
			return false
		}
		if c != '%' {
			continue
		}
		if i+2 >= len(s) {
			return false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil || n < ' ' || n == 0x7f {
			return false
		}
		i += 2
	}
	return true
}

// isHostPort: a host name, an IPv4 address or an IPv6 address in brackets, and
// perhaps a port.
func isHostPort(s string) bool {
	host, port := s, ""
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return false
		}
		if a, err := netip.ParseAddr(s[1:end]); err != nil || !a.Is6() || a.Zone() != "" {
			return false
		}
		host, port = "", s[end+1:]
		if port == "" {
			return true
		}
		if port[0] != ':' {
			return false
		}
		port = port[1:]
	} else if i := strings.IndexByte(s, ':'); i >= 0 {
		host, port = s[:i], s[i+1:]
		if port == "" {
			return false
		}
	}
	if port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return false
		}
	}
	return strings.HasPrefix(s, "[") && port != "" || isHost(host)
}

// diversion cleans the target of a diversion; an empty one is none.
func diversion(field string, p **string) error {
	if *p == nil {
		return nil
	}
	s := strings.TrimSpace(**p)
	switch subscriber.Fold(s) {
	case "":
		*p = nil
		return nil
	case voiceMailbox, strings.Trim(voiceMailbox, "<>"):
		s = voiceMailbox
		*p = &s
		return nil
	}
	if strings.HasPrefix(s, "<") && strings.HasSuffix(s, ">") {
		s = s[1 : len(s)-1]
	}
	u, err := sipURI(field, s)
	if err != nil {
		return err
	}
	*p = &u
	return nil
}
