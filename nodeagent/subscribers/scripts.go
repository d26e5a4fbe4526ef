package subscribers

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"net/netip"
)

var errBadQuestion = errors.New("from, to and hop are in hex; source is an address")

// questionOf reads what a proxy's script knows of a request. What others wrote
// into the request comes in hex, so that nothing in it is read as more of the
// question.
func questionOf(r *http.Request) (q request, err error) {
	var hopText string
	for name, to := range map[string]*string{"from": &q.from, "to": &q.to, "hop": &hopText} {
		b, err := hex.DecodeString(r.FormValue(name))
		if err != nil {
			return q, errBadQuestion
		}
		*to = string(b)
	}
	if q.source, err = netip.ParseAddr(r.FormValue("source")); err != nil {
		return q, errBadQuestion
	}
	q.source = q.source.Unmap()
	old := stageFind
	if r.URL.Path == "/subscriber/register" {
		old = stageRegister
	}
	var ok bool
	if q.hop, ok = parseHop(hopText, old); !ok {
		q.hop = hop{} // nothing that a proxy of this network says
	}
	// A diverted call is asked for by the script itself; no header can say so.
	if (q.hop.stage == stageDivert) != (r.FormValue("diverted") == "1") {
		q.hop = hop{}
	}
	q.route, q.invite = r.FormValue("route") == "1", r.FormValue("method") == "INVITE"
	return q, nil
}

// answer serves a question of a script.
func (c *Cache) answer(decide func(context.Context, request) (*step, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		q, err := questionOf(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s, err := decide(r.Context(), q)
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "no provisioning server or node knows this subscriber now", http.StatusServiceUnavailable)
			return
		}
		if s.do == doPass && len(s.next) == 0 {
			s.refused(errMoves)
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte(s.text()))
	}
}
