package subscribers

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strconv"

	"thor/subjects"
)

// Headers of answers.
const (
	HeaderRevision   = "Thor-Revision"   // of the profile, or of its deletion
	HeaderStale      = "Thor-Stale"      // "1": no provisioning server could be asked for a newer one
	HeaderEpoch      = "Thor-Epoch"      // of the network status that the answer follows from…
	HeaderGeneration = "Thor-Generation" // …two nodes that differ hold different ones
	HeaderOwner      = "Thor-Owner"      // node that serves the subscriber, if it is another one
	HeaderAddress    = "Thor-Address"    // its address
	HeaderAliasOf    = "Thor-Alias-Of"   // the key is an alias of this one
)

// requestsAtOnce bounds the requests under way; more are told to come back.
const requestsAtOnce = 512

// Handler answers what the programs of this machine ask. It holds digests of
// passwords: serve it on loopback or on a Unix socket alone; a client from
// another address is refused.
//
//	GET /subscriber/USER@DOMAIN       the profile, a subscriber.Profile as JSON
//	GET /subscriber/USER@DOMAIN/ha1   its ha1 alone, as text
//
// Status 200 comes from the node that serves the subscriber. 421 says that
// another one does, and which: a JSON object, or its address as text. 404 is no
// such subscriber, 400 no such name, 503 not known now.
//
// A node that drains still answers for whom it served, and names the owner in the
// header; who registers phones asks with ?for=register, which only the owner
// answers with 200, and where the text of a 421 is two lines, the addresses of
// owner and heir, and a third one with that of the remote if it is another node.
// Where the owner does not answer, ?for=heir has the heir or the remote do it.
//
//	GET /subscriber/register   what a proxy is to do with a REGISTER
//	GET /subscriber/call       what a proxy is to do with another request
//
// These two apply the profiles and answer with lines of text (step.text). The
// questions name the sender (from), who is called or registers (to) and the header
// Thor-Hop (hop), each in hex; the address it came from (source); and the method.
// route=1 tells that the request names its way. A call that the answer had diverted
// is asked for with diverted=1 and the hop of that answer.
func (c *Cache) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /subscriber/{key}", func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, c.writeProfile) })
	mux.HandleFunc("GET /subscriber/{key}/ha1", func(w http.ResponseWriter, r *http.Request) { c.serve(w, r, c.writeHA1) })
	mux.HandleFunc("GET /subscriber/register", c.answer(c.registration))
	mux.HandleFunc("GET /subscriber/call", c.answer(c.call))
	slots := make(chan struct{}, requestsAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if from, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && !from.Addr().Unmap().IsLoopback() {
			http.Error(w, "for programs of this machine only", http.StatusForbidden)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
			mux.ServeHTTP(w, r)
		default:
			http.Error(w, "too many requests at once", http.StatusServiceUnavailable)
		}
	})
}

func (c *Cache) serve(w http.ResponseWriter, r *http.Request, write func(http.ResponseWriter, *Answer)) {
	use := purpose(r.FormValue("for"))
	if use != forAny && use != forRegister && use != forHeir {
		http.Error(w, "for is register or heir", http.StatusBadRequest)
		return
	}
	a, err := c.getFor(r.Context(), r.PathValue("key"), use)
	switch {
	case errors.Is(err, errBadKey):
		http.Error(w, "not user@domain", http.StatusBadRequest)
		return
	case err != nil:
		w.Header().Set("Retry-After", "1")
		http.Error(w, "no provisioning server or node knows this subscriber now", http.StatusServiceUnavailable)
		return
	}
	h := w.Header()
	h.Set(HeaderEpoch, strconv.FormatUint(a.Mark.Epoch, 10))
	h.Set(HeaderGeneration, strconv.FormatUint(a.Mark.Generation, 10))
	if a.Here {
		h.Set(HeaderRevision, strconv.FormatUint(a.Revision, 10))
		if a.Stale {
			h.Set(HeaderStale, "1")
		}
	}
	if a.Nodes.Owner() != c.net.ID() {
		h.Set(HeaderOwner, string(a.Nodes.Owner()))
		h.Set(HeaderAddress, c.address(a.Nodes.Owner()))
	}
	write(w, a)
}

// address is that of a node in the role, "" if it is no member by now.
func (c *Cache) address(n subjects.NodeID) string {
	if s := c.net.View().Status; s != nil {
		if m := s.Member(c.cfg.Role, n); m != nil && m.Address().IsValid() {
			return m.Address().String()
		}
	}
	return ""
}

// elsewhere is the body of a 421.
type elsewhere struct {
	Owner      subjects.NodeID `json:"owner"`
	Address    string          `json:"address"`
	Heir       subjects.NodeID `json:"heir"`
	Remote     subjects.NodeID `json:"remote,omitempty"`
	Epoch      uint64          `json:"epoch"`
	Generation uint64          `json:"generation"`
}

func (c *Cache) writeProfile(w http.ResponseWriter, a *Answer) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !a.Here:
		b, _ := json.Marshal(elsewhere{ // strings and numbers
			Owner: a.Nodes.Owner(), Address: c.address(a.Nodes.Owner()), Heir: a.Nodes.Heir(), Remote: a.Nodes.Remote(),
			Epoch: a.Mark.Epoch, Generation: a.Mark.Generation,
		})
		w.WriteHeader(http.StatusMisdirectedRequest)
		_, _ = w.Write(b) // a client that is gone needs no answer
	case !a.Found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"no such subscriber"}`))
	default:
		_, _ = w.Write(a.Profile)
	}
}

// writeHA1 is for scripts that read no JSON.
func (c *Cache) writeHA1(w http.ResponseWriter, a *Answer) {
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case !a.Here:
		w.WriteHeader(http.StatusMisdirectedRequest)
		if a.use == forRegister {
			_, _ = fmt.Fprintf(w, "%s\n%s\n", c.address(a.Nodes.Owner()), c.address(a.Nodes.Heir()))
			if r := a.Nodes.Remote(); r != "" && r != a.Nodes.Heir() {
				_, _ = fmt.Fprintln(w, c.address(r))
			}
			break
		}
		_, _ = w.Write([]byte(c.address(a.Nodes.Owner())))
	case !a.Found || a.HA1 == "":
		if a.AliasOf != "" {
			w.Header().Set(HeaderAliasOf, a.AliasOf)
		}
		w.WriteHeader(http.StatusNotFound)
	default:
		_, _ = w.Write([]byte(a.HA1))
	}
}
