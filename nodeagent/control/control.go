package control

import (
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"thor/identity"
	"thor/overlay"
	"thor/overlay/connlimit"
	"thor/subjects"
)

// Attr is the attribute with the port, as clients of SIP Thor look for it.
const Attr = "control_port"

// Limits of the port.
const (
	maxConns       = 512
	maxConnsOfPeer = 32   // of an address
	maxAtOnce      = 16   // commands of one connection
	perSecond      = 200  // commands of one node…
	burst          = 1000 // …after so many at once

	idleFor       = 10 * time.Minute // without a command
	answerWithin  = 4 * time.Second
	patience      = 5 * time.Second
	retryListen   = 5 * time.Second
	acceptRecover = 100 * time.Millisecond

	handshakesComputing = 2 // at once on one processor: the agent has other work
)

// A Config says where to listen, and what obeys commands.
type Config struct {
	Listen string // host:port
	// Credentials are the node's own, which peers are verified against.
	Credentials *identity.Credentials
	// View tells the members.
	View func() *overlay.View
	// Changed is told that a subscriber changed; nil: none are held here. An error that is
	// no overlay.ErrBadKey says that the peer should tell it again later.
	Changed func(ctx context.Context, key string) error
	// Programs passes a command to programs of this machine. ok is false where none
	// takes such commands.
	Programs func(ctx context.Context, c *subjects.ControlCommand, from subjects.NodeID) (code int, data string, ok bool)
	Log      zerolog.Logger
	Metrics  prometheus.Registerer // nil: none
}

// A Port is the control port. Make it with New, run it once with Run.
type Port struct {
	cfg      Config
	log      zerolog.Logger
	ready    chan struct{}
	addr     net.Addr // once ready
	commands *prometheus.CounterVec
	turns    chan struct{} // one for each handshake that computes
	strange  *rate.Limiter // lines of the log about connections that are no peers
	patience time.Duration // with a handshake, with the rest of a line, and with a peer that takes an answer

	mu    sync.Mutex
	rates map[subjects.NodeID]*rate.Limiter // by nodes that have certificates
}

// New checks cfg. It opens nothing.
func New(cfg Config) (*Port, error) {
	if cfg.Credentials == nil || cfg.View == nil || cfg.Programs == nil {
		return nil, errors.New("control: Credentials, View and Programs are required")
	}
	p := &Port{
		cfg: cfg, log: cfg.Log.With().Str("comp", "control").Logger(), ready: make(chan struct{}),
		turns: make(chan struct{}, handshakesComputing*runtime.GOMAXPROCS(0)),
		rates: make(map[subjects.NodeID]*rate.Limiter), strange: rate.NewLimiter(1, 20), patience: patience,
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thor_nodeagent_control_commands_total", Help: "Commands of other nodes on the control port, by verb and code of the answer.",
		}, []string{"verb", "code"}),
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(p.commands); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Ready is closed when the port listens.
func (p *Port) Ready() <-chan struct{} { return p.ready }

// Address is where it listens, after Ready.
func (p *Port) Address() net.Addr { return p.addr }

// Run serves until ctx ends, and returns nil. A port that cannot be opened is tried
// again every 5 s.
func (p *Port) Run(ctx context.Context) error {
	for failed := false; ctx.Err() == nil; {
		l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.cfg.Listen)
		if err == nil {
			p.addr = l.Addr()
			p.log.Info().Stringer("addr", p.addr).Msg("control port listens")
			close(p.ready)
			p.serve(ctx, l)
			return nil
		}
		if !failed && ctx.Err() == nil {
			failed = true
			p.log.Error().Err(err).Str("addr", p.cfg.Listen).Msg("cannot listen, retrying")
		}
		select {
		case <-ctx.Done():
		case <-time.After(retryListen):
		}
	}
	return nil
}

// serve accepts connections until ctx ends.
func (p *Port) serve(ctx context.Context, l net.Listener) {
	var g sync.WaitGroup
	defer g.Wait()
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	set := connlimit.New(maxConns, maxConnsOfPeer)
	l = set.Listen(l)
	for {
		c, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = c.Close()
			}
			return
		case err != nil: // out of descriptors, or the client has gone already
			p.log.Debug().Err(err).Msg("accept")
			select {
			case <-ctx.Done():
			case <-time.After(acceptRecover):
			}
			continue
		}
		g.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			defer stop()
			defer c.Close()
			p.talk(ctx, set, c)
		})
	}
}

// allow counts a command of node.
func (p *Port) allow(node subjects.NodeID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.rates[node]
	if l == nil {
		l = rate.NewLimiter(perSecond, burst)
		p.rates[node] = l
	}
	return l.Allow()
}

// mayGive is why the peer may not give the command; nil: it may. A right is one of a
// role that its certificate has and in which it is a member.
func mayGive(id *identity.Identity, s *subjects.Status, v subjects.ControlVerb) error {
	if s == nil {
		return errNoStatus
	}
	roles := subjects.ControlRoles(v)
	for _, r := range roles {
		if id.Has(r) && s.Member(r, id.Node) != nil {
			return nil
		}
	}
	return &forbidden{id, v, slices.ContainsFunc(roles, id.Has)}
}

var errNoStatus = errors.New("the network's status is not known yet")

// forbidden says why a command is refused.
type forbidden struct {
	id        *identity.Identity
	verb      subjects.ControlVerb
	certified bool
}

func (f *forbidden) Error() string {
	if f.certified {
		return string(f.id.Node) + " is no member in a role that may give the command " + string(f.verb)
	}
	return "no role of " + string(f.id.Node) + " may give the command " + string(f.verb)
}
