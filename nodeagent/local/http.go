package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/subjects"
)

// Limits of the HTTP service. The time to answer is generous, since the first
// lookup of a role makes its table.
const (
	headTimeout  = 5 * time.Second
	writeTimeout = 15 * time.Second
	idleTimeout  = time.Minute
	maxHead      = 8 << 10
)

// Connections at once: of one service, and of one peer of it.
const (
	maxConns       = 256 // of HTTP, on each of its sockets
	maxConnsOfPeer = 192
	maxLines       = 64 // of the line service
	maxLinesOfPeer = 48
)

// newMux has the pages for TCP, and with own those that are for the Unix socket alone.
func (s *Server) newMux(own map[string]http.Handler) (mux *http.ServeMux, err error) {
	mux = http.NewServeMux()
	defer func() {
		if p := recover(); p != nil { // that is how ServeMux refuses a pattern
			err = fmt.Errorf("page: %v", p)
		}
	}()
	mux.HandleFunc("GET /lookup/{role}/{key...}", s.lookupPage)
	mux.HandleFunc("GET /online/{role}/{address}", s.onlinePage)
	for pattern, h := range s.cfg.Pages {
		mux.Handle(pattern, h)
	}
	for pattern, h := range own {
		mux.Handle(pattern, h)
	}
	return mux, nil
}

func (s *Server) serveTCP(ctx context.Context, l net.Listener) {
	s.serveHTTP(ctx, l, numericHost(s.proved(s.mux)))
}

// serveUnix knows its clients by their users: they need no secret.
func (s *Server) serveUnix(ctx context.Context, l net.Listener) {
	s.serveHTTP(ctx, usersOnly{l, s.cfg.Group, s.log}, s.unixMux)
}

func (s *Server) serveHTTP(ctx context.Context, l net.Listener, h http.Handler) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: headTimeout, ReadTimeout: headTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHead, ErrorLog: quiet, ConnContext: withPeer,
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := connlimit.New(maxConns, maxConnsOfPeer).Serve(srv, l); !errors.Is(err, http.ErrServerClosed) && ctx.Err() == nil {
		s.log.Error().Err(err).Msg("local service ended")
	}
}

// quiet drops what net/http logs by itself: of each accept that fails for want
// of a descriptor, and what clients do wrong.
var quiet = log.New(io.Discard, "", 0)

// numericHost refuses requests that name us by anything but an address or
// localhost: a page in a browser on this machine could have its own name
// resolve to us, and read what we answer.
func numericHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
			writeError(w, r, http.StatusForbidden, "ask by address, or as localhost")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// lookupPage answers with a subjects.LookupResult, or, to who accepts text/plain and
// not JSON, with lines: the owner's address, the heir's if there is one, as the third
// line that of another node that may have state of before, and as the fourth line that
// of the remote if it is another than the heir. What is missing between is an empty line.
func (s *Server) lookupPage(w http.ResponseWriter, r *http.Request) {
	f, err := s.cfg.Source.Find(subjects.Role(r.PathValue("role")), r.PathValue("key"))
	if err != nil {
		writeError(w, r, httpStatus(err), reason(err))
		return
	}
	if !wantsText(r) {
		writeJSON(w, http.StatusOK, f)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprint(w, asText(f)) // who hung up needs no answer
}

// asText is the addresses of f, each with a line end: owner, heir, previous owner and
// remote. The first line is not empty if owner or heir is known.
func asText(f subjects.LookupResult) string {
	var b strings.Builder
	n := 0
	line := func(at int, a netip.Addr) {
		if a.IsValid() {
			b.WriteString(strings.Repeat("\n", at-n))
			fmt.Fprintln(&b, a)
			n = at + 1
		}
	}
	line(0, f.OwnerAddress)
	line(n, f.HeirAddress)
	line(2, f.PreviousAddress)
	if f.Remote != f.Heir {
		line(3, f.RemoteAddress)
	}
	return b.String()
}

// onlinePage answers {"online":BOOL}, or Yes or No: is_online of the line service.
func (s *Server) onlinePage(w http.ResponseWriter, r *http.Request) {
	addr, err := netip.ParseAddr(r.PathValue("address"))
	if err != nil {
		writeError(w, r, http.StatusBadRequest, "not an address")
		return
	}
	is := online(s.cfg.Source.View().Status, subjects.Role(r.PathValue("role")), addr.Unmap())
	if !wantsText(r) {
		writeJSON(w, http.StatusOK, map[string]bool{"online": is})
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = fmt.Fprintln(w, yesNo(is)) // who hung up needs no answer
}

// httpStatus says of a failed lookup whether asking again can help.
func httpStatus(err error) int {
	switch {
	case errors.Is(err, overlay.ErrBadKey):
		return http.StatusBadRequest
	case errors.Is(err, overlay.ErrNoTable):
		return http.StatusNotFound
	}
	return http.StatusServiceUnavailable
}

// reason is the error without the name of the package that found it.
func reason(err error) string {
	t := err.Error()
	for _, prefix := range []string{"overlay: ", "lookup: "} {
		t = strings.TrimPrefix(t, prefix)
	}
	return t
}

// wantsText reports whether r accepts text/plain and not JSON.
func wantsText(r *http.Request) bool {
	a := r.Header.Get("Accept")
	return strings.Contains(a, "text/plain") && !strings.Contains(a, "json")
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	_ = e.Encode(v) // who hung up needs no answer
}

// WriteError answers with why there is nothing to tell, in the form of all pages.
func WriteError(w http.ResponseWriter, r *http.Request, status int, text string) {
	writeError(w, r, status, text)
}

// writeError answers with why there is nothing to tell: {"error":TEXT}, or the
// text alone to who wants that.
func writeError(w http.ResponseWriter, r *http.Request, status int, text string) {
	if wantsText(r) {
		http.Error(w, text, status)
		return
	}
	writeJSON(w, status, map[string]string{"error": text})
}
