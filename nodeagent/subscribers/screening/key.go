package screening

import (
	"net/url"
	"strings"

	"thor/overlay/subscriber"
)

// Key is the user@domain of a SIP, SIPS or TEL URI, or of a bare address, in lower
// case, with escapes decoded: without password, port, parameters and headers.
// "@domain" has no user; "user@" no domain; "" is no URI.
func Key(uri string) string {
	s := subscriber.Fold(strings.TrimSpace(uri))
	tel := strings.HasPrefix(s, "tel:")
	for _, scheme := range []string{"sips:", "sip:", "tel:"} {
		if rest, ok := strings.CutPrefix(s, scheme); ok {
			s = rest
			break
		}
	}
	user, host := "", s
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, host = s[:i], s[i+1:]
	} else if tel {
		user, host = s, ""
	}
	user, _, _ = strings.Cut(user, ":")
	user, _, _ = strings.Cut(user, ";")
	if x, err := url.PathUnescape(user); err == nil {
		user = x
	}
	user = subscriber.Fold(user)
	host = hostOf(host)
	if user == "" && host == "" || strings.ContainsAny(user, "\r\n") || strings.ContainsAny(host, "\r\n <>\"") {
		return ""
	}
	return user + "@" + host
}

// hostOf is a host without port, parameters and headers.
func hostOf(s string) string {
	if i := strings.IndexAny(s, ";?"); i >= 0 {
		s = s[:i]
	}
	if strings.HasPrefix(s, "[") {
		if i := strings.IndexByte(s, ']'); i > 0 {
			return s[:i+1]
		}
	}
	s, _, _ = strings.Cut(s, ":")
	return strings.TrimSuffix(s, ".")
}
