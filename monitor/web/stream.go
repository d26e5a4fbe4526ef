package web

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"
)

// Pages that follow the network at once: in all, and of one client, which leaves as many to others.
const (
	maxStreams       = 128
	maxClientStreams = 64
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
	client := s.clientOf(r)
	if code, why := s.streams.enter(client); code != 0 {
		s.refuse(w, code, why)
		return
	}
	defer s.streams.leave(client)
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

// clientOf tells clients apart: by the node of the certificate, or by the address.
func (s *Server) clientOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) // set by the server
	return cmp.Or(string(s.client(r)), host)
}

// streams counts those that are open. The zero value is ready; its methods may be called from
// any goroutine.
type streams struct {
	mu  sync.Mutex
	all int
	of  map[string]int
}

// enter counts one more of a client, or gives the status of the refusal and its reason.
func (s *streams) enter(client string) (code int, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.of[client] >= maxClientStreams:
		return http.StatusTooManyRequests, fmt.Sprintf("%d pages are open for this client: close one of them", maxClientStreams)
	case s.all >= maxStreams:
		return http.StatusServiceUnavailable, fmt.Sprintf("%d pages are open: close one of them", maxStreams)
	}
	if s.of == nil {
		s.of = make(map[string]int)
	}
	s.all++
	s.of[client]++
	return 0, ""
}

func (s *streams) leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.of[client]--; s.of[client] == 0 {
		delete(s.of, client)
	}
}

// open is how many there are.
func (s *streams) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}
