package web

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"thor/identity"
	"thor/subjects"
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
		case s.ended(r):
			h.Set("Connection", "close")
			s.refuse(w, http.StatusForbidden, "the certificate is not valid any more")
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

// foreign reports whether a browser says that another site's page asks. A link from
// there may open the page.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site":
		return r.URL.Path != "/" || r.Header.Get("Sec-Fetch-Mode") != "navigate"
	}
	return false
}

// tlsKey finds in the context of a request its TLS connection.
type tlsKey struct{}

// withTLS notes the connection below those that listeners wrap around it.
func withTLS(ctx context.Context, c net.Conn) context.Context {
	for {
		switch x := c.(type) {
		case *tls.Conn:
			return context.WithValue(ctx, tlsKey{}, x)
		case interface{ NetConn() net.Conn }:
			c = x.NetConn()
		default:
			return ctx
		}
	}
}

// ended reports whether the client's certificate has expired or was revoked since the
// handshake: connections are kept, and a stream lasts as long as a page is open.
func (s *Server) ended(r *http.Request) bool {
	if s.cfg.TLS == nil {
		return false
	}
	c, ok := r.Context().Value(tlsKey{}).(*tls.Conn)
	return !ok || s.cfg.TLS.VerifyConnection(c.ConnectionState()) != nil
}

// client is the node of the certificate that the client of a request has shown; empty: none.
func (s *Server) client(r *http.Request) subjects.NodeID {
	c, ok := r.Context().Value(tlsKey{}).(*tls.Conn)
	if !ok {
		return ""
	}
	shown := c.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		return ""
	}
	id, err := identity.FromCertificate(shown[0])
	if err != nil {
		return ""
	}
	return id.Node
}
