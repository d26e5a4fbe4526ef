package overlay

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/identity"
	"thor/subjects"
)

const (
	inboxSize  = 1024             // messages that wait for the loop; lost ones are repaired
	saveEvery  = time.Second      // the status is written to disk at most so often…
	saveAgain  = 10 * time.Second // …and after a failure so much later
	closeAfter = time.Second      // how long Run waits for the connection's goroutines
)

// A Node is this process in the network. Its methods may be called from any
// goroutine, before, during and after Run.
//
// One goroutine, the loop of Run, does all that time or the network asks for.
// Announcements are sent by whoever causes them, under mu.
type Node struct {
	cfg       Config
	id        subjects.NodeID
	log       zerolog.Logger
	metrics   *metrics
	store     store
	lookupSRV func(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)

	started  atomic.Bool
	ready    chan struct{}
	wake     chan struct{} // holds one token: the loop has something to look at
	msgs     chan *nats.Msg
	saved    chan error
	slots    chan struct{} // one token for each request under way
	quick    chan struct{} // the same, for those that wait for nobody
	working  sync.WaitGroup
	dialled  atomic.Pointer[nats.Conn] // also before it is connected
	link     link
	asks     asks
	view     atomic.Pointer[View]
	watchers watchers[*View]
	tables   tables
	doubted  atomic.Bool // a fresh snapshot is wanted

	mu       sync.Mutex
	ended    bool
	members  map[subjects.Role]*Membership
	seq      map[subjects.Role]uint64
	drains   map[subjects.Role]bool
	handlers map[string]handler // by subject

	drainMu sync.Mutex // before mu

	noLists identity.Revocations // stands for those of Config.Credentials
	listsMu sync.Mutex           // orders writes of listsFile

	saidMu   sync.Mutex
	said     map[string]struct{} // what is in the log already…
	saidWith int                 // …since this connection

	loop // of Run's goroutine alone
}

// loop is what only the goroutine of Run touches.
type loop struct {
	tracker  tracker
	number   int // of the connection that was set up last
	online   bool
	nextBeat time.Time
	routes   map[string]route // by subject subscribed to
	current  []byte           // how a tick begins that names the status held
	answers  string           // prefix of the subjects of answers
	reply    string           // subject of the answer to the newest snapshot request…
	endAsk   func()           // …which this ends
	parts    subjects.Assembly
	dirty    bool // the disk has an older status
	saving   bool
	nextSave time.Time
	saveSick bool

	nextLists  time.Time // when brokers are asked for revocation lists
	listsDirty bool      // the disk has older ones
	listsReply string    // subject of the answers to the newest question
	endLists   func()
}

// route is a subscription to requests.
type route struct {
	sub     *nats.Subscription
	handler handler
}

// New checks cfg. It does no I/O and starts nothing.
func New(cfg Config) (*Node, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("overlay: register metrics: %w", err)
	}
	n := &Node{
		cfg: cfg, metrics: m, store: store{cfg.StateDir}, lookupSRV: net.DefaultResolver.LookupSRV,
		ready: make(chan struct{}), wake: make(chan struct{}, 1), msgs: make(chan *nats.Msg, inboxSize),
		saved: make(chan error, 1), slots: make(chan struct{}, handleAtOnce), quick: make(chan struct{}, handleAtOnce),
		members: make(map[subjects.Role]*Membership), seq: make(map[subjects.Role]uint64),
		drains: make(map[subjects.Role]bool), handlers: make(map[string]handler), said: make(map[string]struct{}),
	}
	n.id = n.Identity().Node
	n.log = cfg.Log.With().Str("comp", "overlay").Str("node", string(n.id)).Logger()
	n.routes = make(map[string]route)
	n.answers = strings.TrimSuffix(subjects.Answers(n.id), ">")
	n.tracker = tracker{staleAfter: cfg.StaleAfter, chance: rand.N[time.Duration], stale: true}
	n.view.Store(&View{Stale: true})
	return n, nil
}

// ID is the node's name.
func (n *Node) ID() subjects.NodeID { return n.id }

// Boot is the name of this start of the process.
func (n *Node) Boot() string { return n.cfg.Boot }

// Identity is what the node's certificate says now.
func (n *Node) Identity() *identity.Identity {
	if n.cfg.Credentials != nil {
		return n.cfg.Credentials.Identity()
	}
	return n.cfg.Identity
}

// Connected reports whether there is a connection to a broker.
func (n *Node) Connected() bool { return n.link.state().up }

// Confirmed is when the status of the view was last known to be the current one,
// by this host's clock; zero if never.
func (n *Node) Confirmed() time.Time {
	if at := n.metrics.confirmed.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Time{}
}

// Ready is closed at the first connection, once requests reach this process.
func (n *Node) Ready() <-chan struct{} { return n.ready }

// Conn is the connection, nil before the first one. It reconnects by itself and
// is closed by Run.
func (n *Node) Conn() *nats.Conn { return n.link.state().nc }

// Run is part of the network until ctx ends. It connects, and connects again, for
// ever. When ctx ends it leaves under every role, within 2 s, and returns nil
// when all its goroutines have ended. An error is a configuration that can never
// connect. Run may be called once.
func (n *Node) Run(ctx context.Context) error {
	if !n.started.CompareAndSwap(false, true) {
		return errors.New("overlay: Run was called before")
	}
	n.load()
	dialing, stop := context.WithCancel(ctx)
	defer stop()
	d := &dialer{ctx: dialing}
	impossible, closed, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		if err := n.connect(d, closed); err != nil && ctx.Err() == nil {
			impossible <- err
		}
	}()
	err := n.turn(ctx, impossible)
	n.farewell(context.WithoutCancel(ctx))
	stop()
	if !n.Connected() {
		d.abort()
	}
	<-ended
	n.end(closed)
	return err
}
