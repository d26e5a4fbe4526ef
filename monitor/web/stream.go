package web

import (
	"fmt"
	"net/http"
	"time"
)

// beat is how often a stream tells that it lives.
const beat = time.Second

// serveEvents answers /api/events until the client goes: the events status, event
// and link, each one JSON object.
func (s *Server) serveEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	if r.Method == http.MethodHead {
		return
	}
	if s.streams.Add(1) > maxStreams {
		s.streams.Add(-1)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		s.refuse(w, http.StatusServiceUnavailable, "too many pages are open")
		return
	}
	defer s.streams.Add(-1)
	s.metrics.requests.WithLabelValues(resultOK).Inc()
	st := stream{w: w, c: http.NewResponseController(w), hub: s.hub}
	select {
	case s.hub.opened <- struct{}{}:
	default:
	}
	_, _ = fmt.Fprint(w, "retry: 1000\n\n")
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for st.send() == nil {
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			if s.ended(r) {
				return
			}
			st.link()
		case <-st.wake:
			select { // what comes at once with it is one picture
			case <-r.Context().Done():
				return
			case <-time.After(time.Until(st.last.Add(streamGap))):
			}
		}
	}
}

// A stream is what one client has got.
type stream struct {
	w       http.ResponseWriter
	c       *http.ResponseController
	hub     *hub
	wake    <-chan struct{}
	version uint64 // of the picture
	number  uint64 // of the event
	last    time.Time
	begun   bool
}

// send tells what is new.
func (t *stream) send() error {
	p, events, wake := t.hub.read(t.number)
	t.wake = wake
	if !t.begun {
		t.begun = true
		t.link()
	}
	if p.version > t.version {
		t.write("status", p.status(t.version))
		t.version, t.last = p.version, time.Now()
	}
	if len(events) > 0 {
		list := make([]any, len(events))
		for i := range events {
			list[i] = events[i].event
		}
		t.write("event", encode(list))
		t.number = events[len(events)-1].number
	}
	return t.c.Flush()
}

func (t *stream) link() { t.write("link", encode(t.hub.link(time.Now()))) }

// write adds one event. That the client has gone shows when it is flushed.
func (t *stream) write(event string, json []byte) {
	_ = t.c.SetWriteDeadline(time.Now().Add(t.hub.cfg.WriteTime))
	_, _ = fmt.Fprintf(t.w, "event: %s\ndata: %s\n\n", event, json) // JSON has no line breaks
}
