package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"thor/monitor/view"
	"thor/monitor/web/picture"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/subjects"
)

// The least time between two pictures of one stream: a burst of changes is one.
const streamGap = 100 * time.Millisecond

// mostEvents is how many events /api/history answers with, the newest.
const mostEvents = 2000

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", servePage)
	mux.HandleFunc("GET /api/status", s.answer(s.status))
	mux.HandleFunc("GET /api/lookup", s.answer(s.lookup))
	mux.HandleFunc("GET /api/registered", s.answer(s.registered))
	mux.HandleFunc("GET /api/history", s.answer(s.history))
	mux.HandleFunc("GET /api/events", s.serveEvents)
	return mux
}

// A failure is an answer that is none, with its status.
type failure struct {
	code int
	text string
}

func (f *failure) Error() string { return f.text }

func failf(code int, format string, args ...any) error {
	return &failure{code, fmt.Sprintf(format, args...)}
}

// answer makes JSON of what do returns.
func (s *Server) answer(do func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pastTime + s.cfg.WriteTime))
		v, err := do(r)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		if err != nil {
			s.metrics.requests.WithLabelValues(resultFailed).Inc()
			code := http.StatusServiceUnavailable
			var f *failure
			if errors.As(err, &f) {
				code = f.code
			}
			w.WriteHeader(code)
			v = map[string]string{"error": subjects.Printable(view.Mask(err.Error()), 4*subjects.MaxReason)}
		} else {
			s.metrics.requests.WithLabelValues(resultOK).Inc()
		}
		b, encoded := v.(json.RawMessage)
		if !encoded {
			b = encode(v)
		}
		_, _ = w.Write(b) // a client that has gone
	}
}

// status answers /api/status: of now, or of the time in the parameter at.
func (s *Server) status(r *http.Request) (any, error) {
	when := r.FormValue("at")
	if when == "" {
		p, _, _ := s.hub.read(0)
		head := p.status(0)
		b := append(head[:len(head)-1:len(head)-1], `,"link":`...)
		b = append(b, encode(s.hub.link(time.Now()))...)
		return json.RawMessage(append(b, '}')), nil
	}
	at, err := s.timeOf(when)
	if err != nil {
		return nil, err
	}
	if s.cfg.Past == nil {
		return nil, failf(http.StatusNotFound, "the past is not known here")
	}
	var st *subjects.Status
	var doubt string
	err = s.reading(r.Context(), func(ctx context.Context) (err error) {
		st, doubt, err = s.cfg.Past(ctx, at)
		return err
	})
	if err != nil {
		return nil, err
	}
	return pastPicture(st, at, doubt, subjects.Role(r.FormValue("ring")))
}

// pastPicture is the picture of a time, with the ring of one role.
func pastPicture(st *subjects.Status, at time.Time, doubt string, ringOf subjects.Role) (any, error) {
	_, reasons := view.Health(st, at, false, true)
	out := struct {
		picture.Head
		Roles []picture.Role `json:"roles"`
	}{Head: picture.NewHead(st, reasons), Roles: []picture.Role{}}
	out.At, out.Doubt = &at, doubt
	expected := st.Expected()
	for _, role := range st.AllRoles() {
		var ring *picture.Ring
		if l, ok := st.Lookup[role]; ok && role == ringOf {
			t, err := lookup.New(l.Bits, lookup.MembersFor(l, st.Roles[role]))
			if err != nil {
				return nil, err
			}
			ring = picture.NewRing(t, nil, nil)
		}
		out.Roles = append(out.Roles, picture.NewRole(st, role, expected[role], ring))
	}
	return out, nil
}

// timeOf reads the time of a parameter. It is in UTC: [time.Parse] accepts offsets, such
// as +24:00, that JSON does not.
func (s *Server) timeOf(text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339Nano, text)
	switch {
	case err != nil:
		return at, failf(http.StatusBadRequest, "write the time like 2006-01-02T15:04:05Z")
	case at.After(time.Now().Add(time.Second)):
		return at, failf(http.StatusBadRequest, "that time is in the future")
	}
	if at = at.UTC(); at.Unix() < 0 {
		return at, failf(http.StatusBadRequest, "that time is before 1970")
	}
	return at, nil
}

// reading does what reads the history: one at a time, since brokers bound how often
// it may be asked for.
func (s *Server) reading(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, pastTime)
	defer cancel()
	select {
	case s.past <- struct{}{}:
		defer func() { <-s.past }()
		return do(ctx)
	case <-ctx.Done():
		return failf(http.StatusServiceUnavailable, "the history is being read for others")
	}
}

// lookupFailure is the answer where a lookup fails.
func lookupFailure(err error) error {
	switch {
	case errors.Is(err, overlay.ErrBadKey):
		return failf(http.StatusBadRequest, "that is neither user@domain nor a SIP URI")
	case errors.Is(err, overlay.ErrNoTable):
		return failf(http.StatusNotFound, "the role has no lookup table")
	}
	return err
}

// lookup answers /api/lookup: which nodes serve a subscriber in a role.
func (s *Server) lookup(r *http.Request) (any, error) {
	role, key := subjects.Role(r.FormValue("role")), strings.TrimSpace(r.FormValue("key"))
	found, err := s.cfg.Network.Find(role, key)
	if err != nil {
		return nil, lookupFailure(err)
	}
	found.Key = subjects.Printable(found.Key, 512)
	return struct {
		subjects.LookupResult
		Registered bool `json:"registered"` // /api/registered may be asked
	}{found, s.mayTell()}, nil
}

// mayTell reports whether clients may ask where a subscriber is registered: only those that
// have shown an operator's certificate.
func (s *Server) mayTell() bool { return s.cfg.TLS != nil && s.cfg.Registered != nil }

// registered answers /api/registered: the devices of a subscriber, by the nodes that serve it
// in a role.
func (s *Server) registered(r *http.Request) (any, error) {
	if !s.mayTell() {
		return nil, failf(http.StatusNotFound, "where subscribers are registered is told over TLS alone, by a web view whose certificate has %s", subjects.ProvisioningServer)
	}
	role, key := subjects.Role(r.FormValue("role")), strings.TrimSpace(r.FormValue("key"))
	devices, err := s.cfg.Registered(r.Context(), s.client(r), role, key)
	if err != nil {
		return nil, lookupFailure(err)
	}
	out := struct {
		Key     string       `json:"key"`
		Devices []Registered `json:"devices"`
	}{subjects.Printable(key, 512), devices}
	if out.Devices == nil {
		out.Devices = []Registered{}
	}
	return out, nil
}

// history answers /api/history: what happened since a time.
func (s *Server) history(r *http.Request) (any, error) {
	since, err := s.timeOf(r.FormValue("since"))
	if err != nil {
		return nil, err
	}
	if s.cfg.History == nil {
		return nil, failf(http.StatusNotFound, "the past is not known here")
	}
	out := struct {
		Begins time.Time       `json:"begins,omitzero"` // of the oldest record
		Events []picture.Event `json:"events"`
		Cut    int             `json:"cut,omitempty"` // so many older ones are left out
	}{Events: []picture.Event{}}
	err = s.reading(r.Context(), func(ctx context.Context) error {
		events, begins, err := s.cfg.History(ctx, since)
		out.Begins, out.Cut = begins, max(0, len(events)-mostEvents)
		for i := range events[out.Cut:] {
			out.Events = append(out.Events, picture.NewEvent(&events[out.Cut+i]))
		}
		return err
	})
	return out, err
}
