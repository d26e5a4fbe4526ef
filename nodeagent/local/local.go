package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"thor/nodeagent/secret"
	"thor/overlay"
	"thor/subjects"
)

// A Source knows the network. An *overlay.Node is one, tests have another.
type Source interface {
	View() *overlay.View
	Find(role subjects.Role, key string) (subjects.LookupResult, error)
	Handle(role, verb string, h func(context.Context, *overlay.Request) *subjects.Reply)
}

// A Config says where to listen and what to tell.
type Config struct {
	Source Source // required
	// Address of the HTTP service for programs of the same machine.
	//
	// Empty: off. Port 0 lets the system choose.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9501" off:"yes"`
	// Address of the line service, for lookups.
	//
	// Empty: off. Port 0 lets the system choose.
	Lines string `toml:"lookup" form:"listen" default:"127.0.0.1:9500" off:"yes"`
	// Unix socket for HTTP, where the kernel says who asks: root, the agent's own
	// user and members of the group may.
	//
	// Empty: off.
	Socket string `toml:"socket" form:"file" default:"$THOR_SOCKET" off:"yes"`
	Group  int    // of Socket; negative: none
	// Inherited are listeners that a supervisor holds open across restarts of the
	// process. One whose address is that of a service is used for it, the others
	// are closed.
	Inherited []net.Listener
	// Key has programs that ask over TCP prove themselves, and the answer too. nil:
	// Pages are given on the Unix socket alone.
	Key *secret.Key
	// Pages are further HTTP pages, by pattern of http.ServeMux: "GET /subscriber/{key...}".
	// They are secret: over TCP a program has to prove itself.
	Pages map[string]http.Handler
	// SocketPages are HTTP pages of the Unix socket alone, by pattern.
	SocketPages map[string]http.Handler
	// Fault is called with the reason why a service does not listen, and with "" once
	// it does; nil: it is only logged.
	Fault func(service, text string)
	Log   zerolog.Logger
}

// A Server answers the programs of this machine.
type Server struct {
	cfg   Config
	log   zerolog.Logger
	ready chan struct{}
	mux   *http.ServeMux // of TCP…
	// …and of the Unix socket
	unixMux *http.ServeMux
	guard   *secret.Guard // nil without a key
	retry   time.Duration

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
	if s.mux, err = s.newMux(nil); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if s.unixMux, err = s.newMux(cfg.SocketPages); err != nil {
		return nil, fmt.Errorf("local: %w", err)
	}
	if cfg.Key != nil {
		s.guard = secret.NewGuard(cfg.Key)
	}
	cfg.Source.Handle(subjects.Agent, subjects.VerbLookup, s.answerBus)
	return s, nil
}

// Ready is closed when all services listen.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Address is where a service listens, "http", "socket" or "lines"; nil: it does not.
func (s *Server) Address(service string) net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrs[service]
}

// A service is one socket to listen on.
type service struct {
	name, network, addr string
	serve               func(context.Context, net.Listener)
}

func (s *Server) services() (out []service) {
	for _, x := range []service{
		{"http", "tcp", s.cfg.HTTP, s.serveTCP},
		{"socket", "unix", s.cfg.Socket, s.serveUnix},
		{"lines", "tcp", s.cfg.Lines, s.serveLines},
	} {
		if x.addr != "" {
			out = append(out, x)
		}
	}
	return out
}

// Run serves until ctx ends; that is no error. A socket that cannot be opened is
// none either: it is a Fault, and tried again every 5 s.
func (s *Server) Run(ctx context.Context) error {
	var g sync.WaitGroup
	services := s.services()
	if s.open = len(services); s.open == 0 {
		close(s.ready)
	}
	inherited := s.assign(services)
	for _, x := range services {
		g.Go(func() { s.listen(ctx, x, inherited[x.name]) })
	}
	<-ctx.Done()
	g.Wait()
	return nil
}

// assign finds the services of the inherited listeners, and closes those that
// have none.
func (s *Server) assign(services []service) map[string]net.Listener {
	out := make(map[string]net.Listener)
	for _, l := range s.cfg.Inherited {
		i := slices.IndexFunc(services, func(x service) bool {
			return out[x.name] == nil && x.network == l.Addr().Network() && x.addr == l.Addr().String()
		})
		if i < 0 {
			s.log.Error().Stringer("addr", l.Addr()).Msg("inherited socket is not configured, closed")
			_ = l.Close()
			continue
		}
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(false) // the name is the supervisor's
		}
		out[services[i].name] = l
	}
	return out
}

// listen opens a socket, again until it works, and serves it until ctx ends.
func (s *Server) listen(ctx context.Context, x service, l net.Listener) {
	for failed := false; ctx.Err() == nil; {
		var err error
		if l == nil {
			l, err = s.openSocket(ctx, x)
		}
		if err == nil {
			s.opened(x.name, l.Addr(), failed)
			context.AfterFunc(ctx, func() { _ = l.Close() }) // ends Accept
			x.serve(ctx, l)
			return
		}
		if !failed && ctx.Err() == nil {
			failed = true
			s.log.Error().Err(err).Str("service", x.name).Str("addr", x.addr).Msg("cannot listen, retrying")
			s.fault(x.name, fmt.Sprintf("local %s %s: %s", x.name, x.addr, cause(err)))
		}
		select {
		case <-ctx.Done():
		case <-time.After(s.retry):
		}
	}
}

func (s *Server) openSocket(ctx context.Context, x service) (net.Listener, error) {
	if x.network == "unix" {
		return listenUnix(x.addr, s.cfg.Group)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, x.network, x.addr)
	if err == nil && x.name == "http" && s.guard != nil {
		s.guard.Since(time.Now())
	}
	return l, err
}

// cause is why a socket cannot be opened, in words that stay the same.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}

func (s *Server) fault(service, text string) {
	if s.cfg.Fault != nil {
		s.cfg.Fault(service, text)
	}
}

func (s *Server) opened(name string, a net.Addr, failed bool) {
	if failed {
		s.fault(name, "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs[name] = a
	s.log.Info().Str("service", name).Stringer("addr", a).Msg("local service listens")
	if s.open--; s.open == 0 {
		close(s.ready)
	}
}
