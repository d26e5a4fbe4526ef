// Package broker is thor's event server: a nats-server inside the process that
// turns a certificate into permissions.
//
// The invariant: no client publishes under a name or a role that its certificate
// does not hold, and no certificate opens the cluster port but one with the
// role thor_eventserver. What each role may do stands in one table, from which
// come the enforcement, the documentation and the tests. A revoked or expired
// certificate ends the connections it opened.
//
// Certificates are exchanged while it runs by the callbacks of crypto/tls. The
// server's own way to reload its options is never used: it would end every
// connection that a custom authenticator has let in.
//
// It is not a manager: it knows no members and no status, and announces itself
// as any member does. Nothing in its store is the only copy of anything: the
// buckets are soft state that managers rebuild.
package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/subjects"
)

// A Broker is one event server. Its methods may be called concurrently.
type Broker struct {
	cfg        Config
	id         *identity.Identity // of the start; only the node name and domain stay for good
	boot       string
	log        zerolog.Logger
	m          *metrics
	gate       *gate
	identities *identityPublisher
	usage      *usage
	streams    question[JetStreamState]
	healths    question[*serverHealth]
	disks      question[disk]
	front      *front // nil without a client port, and before Run
	ready      chan struct{}
	ran        atomic.Bool
	srv        atomic.Pointer[server.Server] // nil before Run and after it
	alone      atomic.Pointer[time.Time]     // since when; nil: it is not
	rescued    atomic.Bool                   // without others, by an operator's word: until a route comes
	unnamed    atomic.Bool                   // its peers are too many to be named

	lists     sync.Mutex                // orders what is taken and what is stored
	cutBefore atomic.Pointer[time.Time] // no route may be older: a broker was revoked then
}

// New checks the configuration. It touches neither disk nor network.
func New(cfg Config) (*Broker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, id: cfg.Identity, boot: rand.Text(), ready: make(chan struct{}),
		log: cfg.Log.With().Str("comp", "broker").Str("node", string(cfg.Identity.Node)).Logger(),
		m:   newMetrics(), usage: newUsage(cfg.NodeConnections, cfg.NodeSubscriptions),
	}
	b.identities = newIdentityPublisher(cfg.Identity.Node, b.log)
	b.gate = newGate(cfg.Credentials, b.identities, b.log, b.m)
	if err := b.m.register(cfg.Metrics, b); err != nil {
		return nil, err
	}
	return b, nil
}

// Ready is closed when clients can connect. A broker of a cluster is ready
// before it has a quorum: JetStream says whether its buckets can be used.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

func (b *Broker) identity() *identity.Identity {
	if b.cfg.Credentials != nil {
		return b.cfg.Credentials.Identity()
	}
	return b.id
}

// ClientURL is where clients dial, "tls://host:port" as advertised; empty
// before Ready and without a client port.
func (b *Broker) ClientURL() string {
	s := b.srv.Load()
	if s == nil || b.cfg.Listen == "" || s.Addr() == nil {
		return ""
	}
	return b.url(s.Addr(), b.cfg.Listen, b.cfg.Advertise)
}

// ClusterURL is where other brokers dial; empty before Ready and standalone.
func (b *Broker) ClusterURL() string {
	s := b.srv.Load()
	if s == nil || b.cfg.ClusterListen == "" || s.ClusterAddr() == nil {
		return ""
	}
	return b.url(s.ClusterAddr(), b.cfg.ClusterListen, b.cfg.ClusterAdvertise)
}

func (b *Broker) url(bound net.Addr, listen, advertise string) string {
	host, _, _ := splitPort(listen)
	a, err := advertised(advertise, host, bound.(*net.TCPAddr).Port)
	if err != nil {
		return ""
	}
	return "tls://" + a
}

// InProcess returns the option with which a connection of nats.go reaches b
// inside this process, with the permissions of id but without TLS. It holds a
// token that only this process knows. Connections fail until Ready.
func (b *Broker) InProcess(id *identity.Identity) nats.Option { return b.inProcess(id, false) }

func (b *Broker) inProcess(id *identity.Identity, self bool) nats.Option {
	token := b.gate.admit(insider{id: id, self: self})
	return func(o *nats.Options) error {
		if err := checkNames(id); err != nil {
			return err
		}
		o.InProcessServer = pipe{b}
		o.Token = token
		if o.InboxPrefix == "" {
			o.InboxPrefix = subjects.ClientInbox(id.Node, id.Roles)
		}
		return nil
	}
}

// checkNames holds an identity that no certificate proves to the same form.
func checkNames(id *identity.Identity) error {
	if _, err := subjects.ParseNodeID(string(id.Node)); err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	for _, r := range id.Roles {
		if _, err := subjects.ParseRole(string(r)); err != nil {
			return fmt.Errorf("broker: %w", err)
		}
	}
	return nil
}

// pipe lets nats.go dial a broker that may not run yet.
type pipe struct{ b *Broker }

func (p pipe) InProcessConn() (net.Conn, error) {
	s := p.b.srv.Load()
	if s == nil {
		return nil, errors.New("broker: not running")
	}
	return s.InProcessConn()
}

const startTime = 30 * time.Second // of nats-server; a few ms unless the disk is full of streams

// Run serves until ctx ends, then says that it leaves, gives clients the time
// of Config.LameDuck to move to other brokers, and stops. It returns nil then;
// an error, soon, if it cannot start or cannot go on. It may be called once.
func (b *Broker) Run(ctx context.Context) error {
	if b.ran.Swap(true) {
		return errors.New("broker: Run was called twice")
	}
	defer b.m.limiters.end() // when nothing logs any more
	if err := b.cfg.probe(); err != nil {
		return err
	}
	if b.cfg.Credentials != nil {
		b.loadLists()
	}
	fatal := make(chan error, 1)
	s, err := b.start(ctx, fatal)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer b.srv.Store(nil)
	defer b.stop(s)

	own, err := b.connect()
	if err != nil {
		return err
	}
	defer own.Close()
	b.identities.start(own)
	b.identities.tell(b.identity())
	b.log.Info().Str("addr", b.ClientURL()).Str("peer", b.ClusterURL()).Msg("broker ready")
	close(b.ready)

	err = b.work(ctx, s, own, fatal)
	if err == nil {
		b.log.Info().Msg("broker leaves")
		own.Close() // or the lame duck would wait for it
		if b.cfg.LameDuck > 0 && b.cfg.Listen != "" {
			s.LameDuckShutdown()
		}
	}
	return err
}

// start brings nats-server up, or returns what it failed at.
func (b *Broker) start(ctx context.Context, fatal chan error) (_ *server.Server, err error) {
	port := 0
	if b.cfg.Listen != "" {
		l, err := listen(b.cfg.Listen)
		if err != nil {
			return nil, err
		}
		b.front = newFront(l, b.cfg.Credentials, b.log, b.m, b.usage, b.cfg.frontLimits())
		b.front.alone = b.isAlone
		port = l.Addr().(*net.TCPAddr).Port
	}
	defer func() {
		if err != nil {
			b.stop(nil)
		}
	}()
	o, err := b.options(port)
	if err != nil {
		return nil, err
	}
	s, err := server.NewServer(o)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if err := checkServer(o); err != nil {
		return nil, err
	}
	if b.front != nil {
		if err := giveListener(s, b.front); err != nil {
			return nil, err
		}
		b.front.live = func(cid uint64) (map[string]bool, error) { return subscriptionsOf(s, cid) }
	}
	s.SetLoggerV2(newNATSLog(b.cfg.Log, b.m, fatal), b.cfg.Log.Trace().Enabled(), false, false)
	s.Start() // returns once it accepts from the front, or after a fatal line
	err = b.awaitStart(ctx, s, fatal)
	if err == nil {
		err = b.openAccount(s)
	}
	if b.front != nil && !b.front.taken.Load() {
		if err == nil {
			err = errNoListener
		}
		if e := giveListener(s, nil); e != nil { // or it would wait for the end of a loop that it never began
			return nil, e
		}
	}
	if err == nil && b.front != nil {
		b.front.start()
	}
	if err != nil {
		s.Shutdown()
		s.WaitForShutdown()
		return nil, err
	}
	b.srv.Store(s)
	close(b.gate.open)
	return s, nil
}

// stop ends nats-server, if there is one, and then the front.
func (b *Broker) stop(s *server.Server) {
	if s != nil {
		s.Shutdown()
		s.WaitForShutdown()
	}
	if b.front != nil {
		_ = b.front.Close()
		b.front.wait()
	}
}

func (b *Broker) awaitStart(ctx context.Context, s *server.Server, fatal <-chan error) error {
	for end := time.Now().Add(startTime); ; {
		up := s.ReadyForConnections(100 * time.Millisecond)
		select {
		case err := <-fatal:
			return fmt.Errorf("broker: %w", err)
		case <-ctx.Done():
			return ctx.Err()
		default:
		}
		if up {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("broker: nats-server did not start in %v", startTime)
		}
	}
}

// openAccount gives the members' account JetStream, on this server, which
// nats-server allows only while it runs.
func (b *Broker) openAccount(s *server.Server) error {
	// The account of the options was copied; only the server's own counts.
	acc, err := s.LookupAccount(AccountMembers)
	if err != nil {
		return fmt.Errorf("broker: members' account: %w", err)
	}
	b.gate.thor, b.gate.sys = acc, s.SystemAccount()
	if !s.JetStreamEnabled() { // when there is room for it, see guardJetStream
		return nil
	}
	return b.enableAccount()
}

func (b *Broker) enableAccount() error {
	if b.gate.thor.JetStreamEnabled() {
		return nil
	}
	limits := map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: b.cfg.MemoryLimit, MaxStore: b.cfg.DiskLimit, MaxStreams: maxStreams, MaxConsumers: -1, MaxAckPending: -1,
	}}
	if err := b.gate.thor.EnableJetStream(limits, nil); err != nil {
		return fmt.Errorf("broker: JetStream for members: %w", err)
	}
	return nil
}

// connect makes the broker's own connection.
func (b *Broker) connect() (*nats.Conn, error) {
	// It may be cut off as any client, if the machine stands still for seconds.
	own, err := nats.Connect("", b.inProcess(b.id, true), nats.Name(b.boot), nats.CustomInboxPrefix(subjects.JetStreamPrefix(b.id.Node)),
		nats.MaxReconnects(-1), nats.ReconnectWait(100*time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ReconnectHandler(func(*nats.Conn) { b.identities.repeat() }), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			b.log.Error().Err(err).Msg("own connection")
		}))
	if err != nil {
		return nil, fmt.Errorf("broker: own connection: %w", err)
	}
	return own, nil
}

// state is what a broker can tell of itself at once.
type state struct {
	clients   int
	peers     []string // the brokers that routes lead to, sorted
	slow      uint64
	jetstream JetStreamState
}

func (b *Broker) state() state {
	s := b.srv.Load()
	if s == nil {
		return state{jetstream: JetStreamOff}
	}
	return state{
		clients: s.NumClients(), peers: slices.Sorted(maps.Keys(remoteNames(s))),
		slow: s.NumSlowConsumersClients(), jetstream: b.JetStream(),
	}
}

// remoteNames are the names of the brokers that routes lead to; a pair of
// brokers has several routes.
func remoteNames(s *server.Server) map[string]bool {
	rz, err := s.Routez(nil)
	if err != nil {
		return nil
	}
	names := make(map[string]bool)
	for _, r := range rz.Routes {
		names[r.RemoteName] = true
	}
	return names
}

// subscriptionsOf are the subscriptions of a client, by the client's numbers.
func subscriptionsOf(s *server.Server, cid uint64) (map[string]bool, error) {
	z, err := s.Connz(&server.ConnzOptions{CID: cid, SubscriptionsDetail: true})
	if err != nil {
		return nil, err
	}
	live := make(map[string]bool)
	for _, c := range z.Conns {
		for i := range c.SubsDetail {
			live[c.SubsDetail[i].Sid] = true
		}
	}
	return live, nil
}
