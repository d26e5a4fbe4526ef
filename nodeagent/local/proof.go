package local

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"thor/nodeagent/secret"
	"thor/overlay/connlimit"
)

// proved is for who asks over TCP, where any user of the machine may ask, and
// any may answer while no agent listens. A page of Config.Pages is returned to who
// proves that it knows the secret. Whoever does, for any page, gets an answer
// that proves itself: its MAC and a line end before the body. A proof that is
// none is refused for any page.
func (s *Server) proved(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := r.Header.Get(secret.Header)
		if header == "" {
			if _, pattern := mux.Handler(r); s.cfg.Pages[pattern] != nil {
				w.Header().Set("WWW-Authenticate", secret.Header)
				writeError(w, r, http.StatusUnauthorized, "ask on the Unix socket, or prove that you know the secret")
				return
			}
			mux.ServeHTTP(w, r)
			return
		}
		nonce, ok := "", false
		if s.guard != nil {
			nonce, ok = s.guard.Accept(secret.Ask, header, r.RequestURI, time.Now())
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", secret.Header)
			writeError(w, r, http.StatusUnauthorized, "the proof is wrong, old or used")
			return
		}
		connlimit.Trust(r)
		a := &answer{ResponseWriter: w, status: http.StatusOK}
		mux.ServeHTTP(a, r)
		out := s.cfg.Key.Seal(nonce, a.status, a.body.String())
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Content-Length", strconv.Itoa(len(out)))
		w.WriteHeader(a.status)
		_, _ = w.Write([]byte(out)) // who hung up needs no answer
	})
}

// An answer is held back until it is whole.
type answer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }
