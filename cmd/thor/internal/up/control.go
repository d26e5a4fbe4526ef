package up

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const socket = "up.sock"

// serveControl answers thor up stop and start on a socket in the directory.
func (s *supervisor) serveControl(ctx context.Context) error {
	path := filepath.Join(s.dir, socket)
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return fmt.Errorf("a network runs in %s already: end it, or choose another --dir", s.dir)
	}
	_ = os.Remove(path)
	l, err := net.Listen("unix", path)
	if err != nil {
		return fmt.Errorf("listen for thor up stop and start: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{verb}", s.control)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = srv.Serve(l) }() // ends with Close below
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return nil
}

func (s *supervisor) control(w http.ResponseWriter, r *http.Request) {
	var names []string
	if err := json.NewDecoder(io.LimitReader(r.Body, 64<<10)).Decode(&names); err != nil {
		http.Error(w, "names?", http.StatusBadRequest)
		return
	}
	do := map[string]func(string) (string, error){"start": s.start, "stop": s.halt}[r.PathValue("verb")]
	if do == nil {
		http.Error(w, "start or stop?", http.StatusNotFound)
		return
	}
	if err := s.check(names); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	var reply controlReply
	var errs []error
	for _, n := range names {
		done, err := do(n)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		reply.Done = append(reply.Done, done)
	}
	if err := errors.Join(errs...); err != nil {
		reply.Error = err.Error()
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(reply) // a client that has gone needs no answer
}

// A controlReply says what was done, a line for each child, and what failed.
type controlReply struct {
	Done  []string `json:"done"`
	Error string   `json:"error,omitempty"`
}

// Control asks the thor up of dir to start or stop children, and waits until it
// has. done says what happened, a line for each.
func Control(ctx context.Context, dir, verb string, names []string) (done []string, err error) {
	if err := trust(dir); err != nil {
		return nil, err
	}
	b, err := json.Marshal(names)
	if err != nil {
		return nil, err
	}
	hc := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(dir, socket))
	}}}
	defer hc.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://up/"+verb, strings.NewReader(string(b)))
	if err != nil {
		return nil, err
	}
	resp, err := hc.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no thor up runs in %s", dir)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimSpace(string(body)))
	}
	var reply controlReply
	if err := json.Unmarshal(body, &reply); err != nil {
		return nil, fmt.Errorf("the thor up in %s answers what this program does not understand: %w", dir, err)
	}
	if reply.Error != "" {
		return reply.Done, errors.New(reply.Error)
	}
	return reply.Done, nil
}
