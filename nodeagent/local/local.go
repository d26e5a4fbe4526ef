package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"thor/overlay"
	"thor/subjects"
)

// Where the services are by default.
const (
	DefaultHTTP  = "127.0.0.1:9501"
	DefaultLines = "127.0.0.1:9500"
)

// A Source knows the network. An *overlay.Node is one.
type Source interface {
	View() *overlay.View
	Find(role subjects.Role, key string) (subjects.Found, error)
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// A Config says where to listen and what to tell.
type Config struct {
	Source Source // required
	// HTTP and Lines are host:port of the two services; empty: off. Port 0 lets
	// the system choose.
	HTTP, Lines string
	// Pages are further HTTP pages, by pattern of http.ServeMux: "GET /subscriber/{key...}".
	Pages map[string]http.Handler
	Log   zerolog.Logger
}

// A Server answers the programs of this machine.
type Server struct {
	cfg   Config
	log   zerolog.Logger
	ready chan struct{}
	http  *http.Server
	retry time.Duration

	mu    sync.Mutex
	open  int // listeners not opened yet
	addrs map[string]net.Addr
}

// New checks cfg. It opens nothing. An error is a pattern of Pages that is none,
// or that says the same as another.
func New(cfg Config) (s *Server, err error) {
	if cfg.Source == nil {
		return nil, errors.New("local: no source")
	}
	s = &Server{
		cfg: cfg, log: cfg.Log.With().Str("comp", "local").Logger(), ready: make(chan struct{}), retry: 5 * time.Second,
		addrs: make(map[string]net.Addr),
	}
	if s.http, err = s.newHTTP(); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	cfg.Source.Handle(subjects.Agent, subjects.VerbLookup, s.answerBus)
	return s, nil
}

// Ready is closed when all services listen.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Address is where a service listens, "http" or "lines"; nil: it does not.
func (s *Server) Address(service string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[service]
}

// Run serves until ctx ends; that is no error. A port that is taken is none
// either: it is logged, and tried again every 5 s.
func (s *Server) Run(ctx context.Context) error {
	var g sync.WaitGroup
	services := []struct {
		name, addr string
		serve      func(context.Context, net.Listener)
	}{{"http", s.cfg.HTTP, s.serveHTTP}, {"lines", s.cfg.Lines, s.serveLines}}
	for _, x := range services {
		if x.addr != "" {
			s.open++
		}
	}
	if s.open == 0 {
		close(s.ready)
	}
	for _, x := range services {
		if x.addr != "" {
			g.Go(func() { s.listen(ctx, x.name, x.addr, x.serve) })
		}
	}
	<-ctx.Done()
	g.Wait()
	return nil
}

// listen opens a port, again until it works, and serves it until ctx ends.
func (s *Server) listen(ctx context.Context, name, addr string, serve func(context.Context, net.Listener)) {
	for said := false; ctx.Err() == nil; {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err == nil {
			s.opened(name, l.Addr())
			context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
			serve(ctx, l)
			return
		}
		if !said && ctx.Err() == nil {
			said = true
			s.log.Error().Err(err).Str("service", name).Str("addr", addr).Msg("cannot listen, trying on")
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.retry):
		}
	}
}

func (s *Server) opened(name string, a net.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[name] = a
	s.log.Info().Str("service", name).Stringer("addr", a).Msg("local service listens")
	if s.open--; s.open == 0 {
		close(s.ready)
	}
}
