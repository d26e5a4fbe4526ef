package web

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// guard refuses what no page of ours asks for: other methods, other hosts (a name
// that a stranger's DNS points at this machine), and requests that another site's
// page makes.
func (s *Server) guard(next http.Handler) http.Handler {
	hosts := s.hosts()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		switch {
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			h.Set("Allow", "GET, HEAD")
			s.refuse(w, http.StatusMethodNotAllowed, "the web view is read-only")
		case !known(r.Host, hosts):
			s.refuse(w, http.StatusMisdirectedRequest, "this is not a host of the web view: see hosts in [web]")
		case foreign(r):
			s.refuse(w, http.StatusForbidden, "another site's page may not ask the web view")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (s *Server) refuse(w http.ResponseWriter, code int, why string) {
	s.metrics.requests.WithLabelValues(resultRefused).Inc()
	http.Error(w, why, code)
}

// known reports whether host, with or without a port, is loopback or one of hosts.
// The port does not matter: that of a tunnel is another one.
func known(host string, hosts []string) bool {
	name := host
	if n, _, err := net.SplitHostPort(host); err == nil {
		name = n
	}
	name = strings.TrimSuffix(strings.Trim(name, "[]"), ".")
	a, err := netip.ParseAddr(name)
	if strings.EqualFold(name, "localhost") || err == nil && a.Unmap().IsLoopback() {
		return true
	}
	for _, h := range hosts {
		if strings.EqualFold(name, h) {
			return true
		}
		if b, e := netip.ParseAddr(h); err == nil && e == nil && a == b {
			return true
		}
	}
	return false
}

// foreign reports whether a browser says that another site's page asks. Whoever
// follows a link from there opens the page, and that is fine.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
	return false
}
