package provisioning

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/overlay/audit"
	"thor/provisioning/login"
	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
)

// Limits of the HTTP server.
const (
	readTime     = 5 * time.Second         // for a TLS handshake, and for a request to arrive, header and body each
	callTime     = 4700 * time.Millisecond // for an operation: a database that hangs becomes a fault, sent within 5 s
	writeTime    = 15 * time.Second
	idleTime     = 60 * time.Second
	maxHeader    = 16 << 10
	shutdownTime = 6 * time.Second // for calls under way when the server ends
)

// Config is how a Server works.
type Config struct {
	// Address to serve HTTPS on.
	//
	// Port 0 lets the system choose.
	Listen string `toml:"listen" form:"listen" default:":9200"`
	// URL where clients reach the server, such as "https://ngnpro.example.net:9200",
	// as the WSDL tells them.
	URL string `toml:"url" default:"(https:// and the address listened on)"`
	// Certificate is asked at each handshake. Required.
	Certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	Store       *store.Store  // required; Run is its owner's to call
	Admins      []login.Admin // none: customers and resellers only

	Network statusWatcher // nil: an empty status
	Nodes   nodeQuerier   // nil: no node is queried
	Pusher  deliverer     // nil: changes stay in the database for other servers to push
	// Apex asks a name server of the network for the apex of its zone. nil: none is asked.
	Apex func(ctx context.Context) (*Apex, error)

	Log     zerolog.Logger        // zero value: silent
	Audit   *audit.Log            // receives every operation that writes; nil: none
	Metrics prometheus.Registerer // registers thor_provisioning_…; nil: none
}

// A Server is one provisioning server.
type Server struct {
	cfg     Config
	log     zerolog.Logger
	metrics *metrics
	ports   []port
	service *soap.Service
	login   *login.Authenticator
	ready   chan struct{}
	started atomic.Bool
	addr    atomic.Pointer[net.TCPAddr]
	wsdl    atomic.Pointer[descriptions] // nil before Run
	failing atomic.Bool                  // the store failed last time
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Server, error) {
	if cfg.Store == nil || cfg.Certificate == nil {
		return nil, errors.New("provisioning: a store and a certificate are required")
	}
	if _, _, err := net.SplitHostPort(cfg.Listen); err != nil {
		return nil, fmt.Errorf("provisioning: listen on %q: write it as host:port", cfg.Listen)
	}
	if cfg.URL != "" {
		u, err := url.Parse(cfg.URL)
		if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("provisioning: %q is not a URL such as https://ngnpro.example.net:9200", cfg.URL)
		}
	}
	s := &Server{
		cfg: cfg, log: cfg.Log.With().Str("comp", "provisioning").Logger(), ports: newPorts(cfg.Store),
		login: login.New(cfg.Store.Customers), ready: make(chan struct{}),
	}
	s.service = service(s.ports)
	var err error
	if s.metrics, err = newMetrics(cfg.Metrics); err != nil {
		return nil, fmt.Errorf("provisioning: register metrics: %w", err)
	}
	return s, s.SetAdmins(cfg.Admins)
}

// SetAdmins replaces the administrators, from the next call on.
func (s *Server) SetAdmins(as []login.Admin) error {
	if err := s.login.SetAdmins(as); err != nil {
		return fmt.Errorf("provisioning: %w", err)
	}
	return nil
}

// Ready is closed once the server answers and its store can be used.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the server listens, nil before it does.
func (s *Server) Addr() *net.TCPAddr { return s.addr.Load() }

// Run serves until ctx ends, which is no error; calls under way then have 6 s to
// end. It can be called once.
func (s *Server) Run(ctx context.Context) error {
	if s.started.Swap(true) {
		return errors.New("provisioning: Run was called before")
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen for SOAP: %w", err)
	}
	s.addr.Store(l.Addr().(*net.TCPAddr))
	public := strings.TrimRight(s.cfg.URL, "/")
	if public == "" {
		public = "https://" + l.Addr().String()
	}
	s.describeAt(public)
	srv := s.httpServer(ctx)
	bounded := newBoundedListener(l, quota{connections, connectionsPerPrefix, connectionsPerAddr}, s.metrics.closed)
	srv.ConnState = bounded.noteState
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := srv.Serve(tls.NewListener(bounded, srv.TLSConfig)); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve SOAP: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
		defer cancel()
		if srv.Shutdown(last) != nil {
			_ = srv.Close() // calls are still under way: their transactions roll back
		}
		return nil
	})
	g.Go(func() error { s.awaitStore(ctx); return nil })
	s.log.Info().Stringer("addr", l.Addr()).Str("url", public).Msg("provisioning server listens")
	return g.Wait()
}

func (s *Server) awaitStore(ctx context.Context) {
	select {
	case <-s.cfg.Store.Ready():
		close(s.ready)
	case <-ctx.Done():
	}
}

func (s *Server) httpServer(ctx context.Context) *http.Server {
	return &http.Server{
		Handler: s,
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS12, GetCertificate: s.cfg.Certificate,
			NextProtos: []string{"http/1.1", "http/1.0"}, // a client set to HTTP/1.0 may offer that alone: curl does
		},
		ReadHeaderTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime, MaxHeaderBytes: maxHeader,
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2: SOAP needs no more
		BaseContext:  func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:     stdlog.New(debugWriter{s.log}, "", 0), // failed handshakes, which any client can cause
	}
}

// debugWriter makes log lines of what net/http writes.
type debugWriter struct{ log zerolog.Logger }

func (w debugWriter) Write(p []byte) (int, error) {
	w.log.Debug().Str("reason", strings.TrimSpace(string(p))).Msg("connection refused")
	return len(p), nil
}

// asFault is what a client learns of err. The cause of what is not the client's
// own fault goes to the log, once until the store works again.
func (s *Server) asFault(err error) *soap.Fault {
	var sf *soap.Fault
	if errors.As(err, &sf) {
		return sf
	}
	var bad *soap.ValueError
	if errors.As(err, &bad) {
		err = ngnpro.ErrInvalid.With("%s", bad.Error())
	}
	var f *ngnpro.Fault
	if !errors.As(err, &f) {
		f = ngnpro.ErrUnavailable
	}
	code := soap.Client
	if f.Code == ngnpro.ErrUnavailable.Code {
		code = soap.Server
		if !slices.ContainsFunc(noOutages, func(x error) bool { return errors.Is(err, x) }) && !s.failing.Swap(true) {
			s.log.Error().Err(err).Msg("the store fails, calls are refused")
		}
	}
	return &soap.Fault{Code: code, Name: f.Name, Number: f.Code, Text: f.Text}
}

// noOutages are the causes of ErrUnavailable that say nothing of the store.
var noOutages = []error{context.Canceled, login.ErrBusy, errUnknownNetwork}
