// Package web shows a network in the browser: one page, embedded, that follows the
// network by server-sent events. It shows and never changes anything: it answers
// GET and HEAD alone, and where an operator would act, the page has the command.
//
// What the page shows is package picture's to say, which is pure; this package
// follows the network, keeps the newest picture encoded, and serves it. A client
// that reads slowly misses pictures in between and gets the newest one.
//
// On a loopback address it is plain HTTP; elsewhere TLS, and each client shows an
// operator's certificate.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/overlay/lookup"
	"thor/overlay/setting"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// Limits of the HTTP server.
const (
	readTime  = 5 * time.Second
	idleTime  = time.Minute
	pastTime  = 20 * time.Second // for an answer about the past
	maxHeader = 8 << 10
)

// ErrNotCertified says that the certificate is not one for TLS servers.
var ErrNotCertified = errors.New("web: an address that is not loopback needs TLS")

// A Network is where the views come from; [overlay.Node] is one.
type Network interface {
	Watch(ctx context.Context) <-chan *overlay.View
	Tables(ctx context.Context, role subjects.Role) <-chan *lookup.Table
	Find(role subjects.Role, key string) (subjects.LookupResult, error)
	Confirmed() time.Time
}

// Registered is one device of a subscriber, and the node that it registered with.
type Registered struct {
	Node subjects.NodeID `json:"node"`
	subscriber.Contact
}

// Config of a Server.
type Config struct {
	// Address to serve the page on. At a loopback address it is plain HTTP. At another one it is
	// HTTPS with the node's certificate, for clients that show an operator's certificate.
	//
	// Port 0 lets the system choose.
	Listen string `toml:"listen" form:"listen" default:"127.0.0.1:8680"`
	// Further names of the page's host, such as that of a proxy before it: a request for a
	// host that is neither named here nor loopback, nor in the certificate, is refused.
	Hosts []string `toml:"hosts" form:"domain" default:"(none)"`
	// What each command on the page has behind it, as it is typed in a shell: how thor reaches this
	// network from an operator's terminal, such as --config /etc/thor/desk.toml.
	Flags string `toml:"flags" default:"(none)"`

	Network Network         // required
	Myself  subjects.NodeID // this node
	// TLS is required for an address that is not loopback: its VerifyConnection accepts operators
	// alone, and is asked again while a connection lives. nil: plain HTTP.
	TLS   *tls.Config
	Names func() []string // host names and addresses of the certificate in TLS

	// Reasons is what is wrong with the network as v has it, in words for an operator.
	Reasons func(v *overlay.View) []string
	// Broker is the broker that this process is connected to.
	Broker func() string
	// Past is the status of a time, and why it may have been another one. nil: the past is not known.
	Past func(ctx context.Context, at time.Time) (*subjects.Status, string, error)
	// History are the events since a time, and when the history begins. nil: likewise.
	History func(ctx context.Context, since time.Time) (events []subjects.Event, begins time.Time, err error)
	// Registered asks where a subscriber is registered, for by, an operator: without an error every node
	// that serves it in role has answered. It is never asked without TLS. nil: that is not told. An error may
	// wrap overlay.ErrBadKey or overlay.ErrNoTable.
	Registered func(ctx context.Context, by subjects.NodeID, role subjects.Role, key string) ([]Registered, error)
	// Serial asks a name server for the serial of domain. nil: none is asked.
	Serial func(ctx context.Context, m *subjects.Member, domain string) (uint32, error)

	// WriteTime is for an answer, and for each piece of a stream. 0: 10 s.
	WriteTime time.Duration

	Log     zerolog.Logger        // zero value: silent
	Metrics prometheus.Registerer // registers thor_web_…; nil: none
}

// Validate is what is wrong with the values of a file.
func (c *Config) Validate() []setting.Problem {
	var out []setting.Problem
	for i, h := range c.Hosts {
		if !subjects.IsHostName(h) {
			if _, err := netip.ParseAddr(h); err != nil {
				out = append(out, setting.Problem{Key: fmt.Sprintf("hosts[%d]", i), Text: fmt.Sprintf("%q is neither a host name nor an address", h)})
			}
		}
	}
	if strings.ContainsFunc(c.Flags, unicode.IsControl) {
		out = append(out, setting.Problem{Key: "flags", Text: "is one line, without control characters"})
	}
	return out
}

// Loopback reports whether listen is an address of this machine alone.
func Loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback()
}

// A Server is one web view.
type Server struct {
	cfg     Config
	log     zerolog.Logger
	hub     *hub
	metrics *metrics
	streams streams
	past    chan struct{} // holds a token while the history is read
	ready   chan struct{}
	started atomic.Bool
	addr    atomic.Pointer[net.TCPAddr]
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Server, error) {
	setting.Fill(&cfg)
	switch {
	case cfg.Network == nil:
		return nil, errors.New("web: no network")
	case !Loopback(cfg.Listen) && cfg.TLS == nil, cfg.TLS != nil && cfg.TLS.VerifyConnection == nil:
		return nil, ErrNotCertified
	}
	if cfg.WriteTime == 0 {
		cfg.WriteTime = 10 * time.Second
	}
	if cfg.Reasons == nil {
		cfg.Reasons = func(*overlay.View) []string { return nil }
	}
	if cfg.Broker == nil {
		cfg.Broker = func() string { return "" }
	}
	s := &Server{cfg: cfg, log: cfg.Log.With().Str("comp", "web").Logger(), past: make(chan struct{}, 1), ready: make(chan struct{})}
	s.hub = newHub(&s.cfg)
	var err error
	if s.metrics, err = newMetrics(cfg.Metrics, s.streams.open); err != nil {
		return nil, fmt.Errorf("web: register metrics: %w", err)
	}
	return s, nil
}

// Ready is closed once the page can be asked for.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the server listens, nil before it does.
func (s *Server) Addr() *net.TCPAddr { return s.addr.Load() }

// Happened adds an event to those that pages show. It may be called at any time.
func (s *Server) Happened(e *subjects.Event) { s.hub.happened(e) }

// HappenedBefore puts events before those that are known, in their order.
func (s *Server) HappenedBefore(es []subjects.Event) { s.hub.happenedBefore(es) }

// Run serves until ctx ends, which is no error. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("web: Run was called before")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for the web view: %w", err)
	}
	s.addr.Store(l.Addr().(*net.TCPAddr))
	scheme := "http"
	if s.cfg.TLS != nil {
		scheme = "https"
		l = tls.NewListener(l, s.cfg.TLS)
	}
	g, ctx := errgroup.WithContext(ctx)
	srv := s.httpServer(ctx)
	g.Go(func() error { s.hub.run(ctx); return nil })
	g.Go(func() error { s.hub.askSerials(ctx, func() bool { return s.streams.open() > 0 }); return nil })
	g.Go(func() error { <-ctx.Done(); _ = srv.Close(); return nil })
	g.Go(func() error {
		if err := connlimit.New(connlimit.Pages, connlimit.PagesOfPeer).Serve(srv, l); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve the web view: %w", err)
		}
		return nil
	})
	close(s.ready)
	s.log.Info().Str("url", scheme+"://"+l.Addr().String()+"/").Msg("web view listens")
	return g.Wait()
}

func (s *Server) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler: s.guard(s.routes()), ReadTimeout: readTime, WriteTimeout: s.cfg.WriteTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams end with it
		ConnContext: withTLS,
		ErrorLog:    stdlog.New(io.Discard, "", 0), // of what clients do wrong, and each handshake that fails
	}
}

// hosts are the names under which the page may be asked for, besides loopback ones.
func (s *Server) hosts() []string {
	out := slices.Clone(s.cfg.Hosts)
	if host, _, err := net.SplitHostPort(s.cfg.Listen); err == nil && host != "" {
		if a, err := netip.ParseAddr(host); err != nil || !a.IsUnspecified() {
			out = append(out, host)
		}
	}
	if s.cfg.Names != nil {
		out = append(out, s.cfg.Names()...)
	}
	return out
}
