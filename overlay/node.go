package overlay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/identity"
	"thor/overlay/lookup"
	"thor/overlay/roam"
	"thor/overlay/track"
	"thor/subjects"
)

// A Node is this process in the network. Its methods may be called from any
// goroutine, before, during and after Run.
//
// It is the door to parts with one job each: the connection, the announcer of
// this process's roles, the responder to requests and the requester, the status,
// the lookup tables and the revocation lists. One goroutine, the loop of Run, does
// what is due and handles what arrives; announcements are sent by the goroutine
// that causes them.
type Node struct {
	cfg       Config
	id        subjects.NodeID
	metrics   *metrics
	started   atomic.Bool
	conn      *connection
	requests  *requester
	announcer *announcer
	responder *responder
	status    *statusFeed
	tables    *tables
	lists     *revocationLists
	loop      *loop
	reads     pace // of the history
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
	n := &Node{cfg: cfg, id: cfg.identity().Node, metrics: m, reads: pace{atOnce: historyAtOnce, interval: historyPause}}
	n.assemble(cfg.Log.With(slog.String("comp", "overlay"), slog.String("node", string(n.id))))
	return n, nil
}

// assemble makes the parts of n and connects them.
func (n *Node) assemble(log *slog.Logger) {
	cfg := &n.cfg
	kept := store{cfg.StateDir, len(cfg.Roles) > 0}
	working := new(sync.WaitGroup)
	l := newLoop(cfg, n.id, log, n.metrics, working)
	n.loop = l
	n.conn = newConnection(cfg, n.id, log)
	n.requests = &requester{id: n.id, conn: n.conn, metrics: n.metrics}
	n.status = &statusFeed{
		log: log, metrics: n.metrics, requests: n.requests, msgs: l.msgs,
		tracker: newTracker(cfg),
		saver:   saver{store: kept, log: log, working: working, done: make(chan error, 1)},
	}
	n.status.view.Store(&View{Stale: true})
	n.tables = &tables{log: log, metrics: n.metrics, view: n.View, working: working, roles: cfg.Roles}
	n.announcer = &announcer{
		cfg: cfg, id: n.id, log: log, metrics: n.metrics, conn: n.conn, store: kept, faults: n.tables.differing, changed: l.kick,
		mark:    func() subjects.Mark { return n.View().Mark() },
		members: make(map[subjects.Role]*Membership), seq: make(map[subjects.Role]uint64), drains: make(drainSet),
	}
	n.responder = &responder{
		id: n.id, log: log, conn: n.conn, working: working, changed: l.kick,
		builtin: &builtin{cfg: cfg, id: n.id, log: log, metrics: n.metrics, conn: n.conn, announcer: n.announcer},
		slots:   make(chan struct{}, handleAtOnce), quick: make(chan struct{}, handleAtOnce),
		handlers: make(map[string]handler), routes: make(map[string]route),
	}
	n.lists = &revocationLists{
		creds: cfg.Credentials, id: n.id, log: log, conn: n.conn, requests: n.requests, msgs: l.msgs, store: kept, working: working,
	}
	l.conn = n.conn
	l.announcer = n.announcer
	l.responder = n.responder
	l.status = n.status
	l.lists = n.lists
	l.mover = &mover{
		Roamer: roam.New(rand.N[time.Duration]), conn: n.conn, log: log, mark: func() subjects.Mark { return n.View().Mark() },
		working: working, found: make(chan string, 1),
	}

	n.conn.changed, n.conn.answer = l.kick, n.requests.pending.deliver
	n.conn.moving = n.announcer.announceMove
	n.conn.refused = func(subject string, err error) {
		n.requests.pending.refuse(subject)
		n.announcer.refused(subject, err)
	}
	absent := absenceLog{log: log} // of the loop alone, as the callback
	n.status.changed = func() {
		n.tables.update()
		l.mover.sited(n.View().Status, time.Now())
		absent.note(absences(n.View(), n.id, n.announcer.roles()))
	}
	n.tables.faulty = n.announcer.announceAll
	n.tables.doubt = func() {
		l.doubted.Store(true)
		l.kick()
	}
}

// newTracker follows all that the configuration wants to know.
func newTracker(cfg *Config) *track.Tracker {
	if len(cfg.Roles) == 0 {
		return track.New(cfg.StaleAfter, rand.N[time.Duration])
	}
	return track.NewPart(cfg.StaleAfter, rand.N[time.Duration], cfg.Roles)
}

// Run is part of the network until ctx ends. It connects, and connects again, for
// ever. When ctx ends it leaves under every role, within 2 s, and returns nil
// when all its goroutines have ended. An error is a configuration that can never
// connect, or an error of the broker after which the client library does not connect
// again: the process is to begin anew. Run may be called once.
func (n *Node) Run(ctx context.Context) error {
	if !n.started.CompareAndSwap(false, true) {
		return errors.New("overlay: Run was called before")
	}
	n.loop.load()
	dialing, stop := context.WithCancel(ctx)
	defer stop()
	n.conn.dialer.ctx = dialing
	impossible, dialled := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(dialled)
		if err := n.conn.dial(); err != nil && ctx.Err() == nil {
			impossible <- err
		}
	}()
	err := n.loop.run(ctx, impossible)
	n.announcer.leaveAll(context.WithoutCancel(ctx))
	stop()
	if !n.Connected() {
		n.conn.dialer.abort()
	}
	<-dialled
	n.loop.end()
	return err
}

// Roles are those that the views are limited to; nil: all. They must not be changed.
func (n *Node) Roles() []subjects.Role { return n.cfg.Roles }

// ID is the node's name.
func (n *Node) ID() subjects.NodeID { return n.id }

// Boot is the name of this start of the process.
func (n *Node) Boot() string { return n.cfg.Boot }

// Identity is what the node's certificate says now.
func (n *Node) Identity() *identity.Identity { return n.cfg.identity() }

// Site is where this node is, as its certificate or else Config.Site says; empty: neither does.
func (n *Node) Site() subjects.Site { return n.cfg.site() }

// Ready is closed at the first connection, once requests reach this process.
func (n *Node) Ready() <-chan struct{} { return n.loop.ready }

// Conn is the connection, nil before the first one. It reconnects by itself and
// is closed by Run.
func (n *Node) Conn() *nats.Conn { return n.conn.state().nc }

// Connected reports whether there is a connection to a broker.
func (n *Node) Connected() bool { return n.conn.state().up }

// ConnectError is why the newest attempt to reach a broker failed; nil while
// connected, and before all brokers of the list have failed once.
func (n *Node) ConnectError() error { return n.conn.lastError() }

// Join announces m, at once if there is a connection, and from then on
// regularly, until Leave or the end of Run. It refuses what the certificate does
// not allow, what breaks the limits of the wire, and a role joined already.
func (n *Node) Join(m Member) (*Membership, error) { return n.announcer.join(m) }

// Allows is why Join would not take m, but for a role that is joined already; nil: it
// would. It announces nothing.
func (n *Node) Allows(m Member) error {
	id := n.cfg.identity()
	m = m.clone()
	m.complete(id)
	return m.check(id, n.cfg.Boot)
}

// Drain does what an operator's drain of role does: the member announces
// draining, whatever its State, until Resume, restarts included. The role
// subjects.Agent stands for all roles of the process, also for those that it
// joins later. An error means that the drain is in force, but that a restart will
// forget it; or that role is none, and nothing has changed.
func (n *Node) Drain(role subjects.Role) error { return n.announcer.drain(role, Drain{}) }

// Resume ends what Drain began. An error means that the drain has ended, but
// that a restart will bring it back.
func (n *Node) Resume(role subjects.Role) error { return n.announcer.resume(role) }

// Handle answers requests to thor.node.<node>.<role>.<verb>, and to subjects
// that continue with further tokens, by h; role may be subjects.Agent. It may be
// called before or during Run; the last one for a verb wins, except that drain,
// resume and duplicate stay the SDK's own. h runs in a goroutine of its own,
// several at once, with a ctx that ends with Run or after 4 s. A reply without V
// gets the present one; a nil reply answers nothing. A verb of [subjects.NeedsSender] reaches h only from a named
// sender; an h of another verb that changes something must check [Request.Sender].
func (n *Node) Handle(role, verb string, h func(context.Context, *Request) *subjects.Reply) {
	n.responder.handle(role, verb, h)
}

// Ask sends a request and returns the first answer, which may itself report a
// failure by its Code. Without a deadline in ctx it waits 5 s. The error wraps
// ErrNotConnected, ErrNoResponders or ErrForbidden where that is the reason.
func (n *Node) Ask(ctx context.Context, subject string, data []byte) (*subjects.Reply, error) {
	return n.requests.ask(ctx, subject, data)
}

// AskAll sends a request and returns all answers that come within wait, in the
// order in which they come; there may be none. Answers that are malformed are
// left out.
func (n *Node) AskAll(ctx context.Context, subject string, data []byte, wait time.Duration) ([]*subjects.Reply, error) {
	return n.requests.askAll(ctx, subject, data, wait)
}

// View is the current view. It never blocks and is never nil.
func (n *Node) View() *View { return n.status.view.Load() }

// Watch delivers the current view at once and every later one: when the status
// changes, and when Stale, Connected or FromDisk do. The channel holds one view;
// a reader that is slow misses those in between and gets the latest. It is
// closed when ctx ends, and only then. Any number may watch. With Config.Roles a
// status that says the same of these roles as the one before is not delivered; View
// has it, with its mark.
func (n *Node) Watch(ctx context.Context) <-chan *View {
	return n.status.watchers.add(ctx, func() (*View, bool) { return n.View(), true })
}

// Confirmed is when the status of the view was last known to be the current one,
// by this host's clock; zero if never.
func (n *Node) Confirmed() time.Time { return n.metrics.confirmedAt().at }

// Confirmation is Confirmed with the mark of the status that was confirmed.
func (n *Node) Confirmation() (subjects.Mark, time.Time) {
	c := n.metrics.confirmedAt()
	return c.mark, c.at
}

// Overtaken reports whether a later status was announced than that of the view, which
// this process has not got yet.
func (n *Node) Overtaken() bool { return n.metrics.confirmedAt().newer }

// Lookup says which nodes serve a subscriber in role: key is "user@domain" or a
// SIP URI. The mark is that of the status from which this is computed: two
// processes that answer differently hold different statuses. There is no network,
// no lock and no allocation in it, but the first lookup of a role in a process
// makes its table, and blocks for that: a tenth of a second with 100 members, half
// a second with 1,000; call Tables early to have it made before. Later changes are
// made aside, 50 ms after the status came, while lookups go on with the table
// before.
//
// The error is one of ErrBadKey, ErrNoMembers, ErrNoStatus, ErrNoTable,
// ErrTableDiffers and ErrNotFollowed.
func (n *Node) Lookup(role subjects.Role, key string) (lookup.Assignment, subjects.Mark, error) {
	return n.tables.lookup(role, key)
}

// Find is Lookup in the form that goes on the wire, addresses included. The errors
// are those of Lookup.
func (n *Node) Find(role subjects.Role, key string) (subjects.LookupResult, error) {
	a, mark, err := n.tables.lookup(role, key)
	if err != nil {
		return subjects.LookupResult{}, err
	}
	v := n.View()
	address := func(node subjects.NodeID) netip.Addr { return v.address(role, node) }
	return subjects.LookupResult{
		Key: key, Slot: a.Slot(), Owner: a.Owner(), Heir: a.Heir(), Remote: a.Remote(), Previous: a.Previous(), Epoch: mark.Epoch, Generation: mark.Generation,
		OwnerAddress: address(a.Owner()), HeirAddress: address(a.Heir()), RemoteAddress: address(a.Remote()), PreviousAddress: address(a.Previous()),
	}, nil
}

// Tables delivers the lookup table of role, as soon as there is one, and each
// later one when members join, leave, drain or change weight; statuses that
// leave the table as it is deliver nothing. A reader that keeps the table before
// knows by lookup.Table.Moves what went where. When the role ceases to exist, a
// table without members comes.
//
// The channel holds one table; a reader that is slow misses those in between and
// gets the latest. It is closed when ctx ends, and only then. Any number may
// watch. The call makes the table if it is the first use of the role, as Lookup
// does. Nothing comes for a role that is not among Config.Roles.
func (n *Node) Tables(ctx context.Context, role subjects.Role) <-chan *lookup.Table {
	return n.tables.watch(ctx, role)
}

// LookupFaults says, a line for each role, where this process computes another
// lookup table than the managers do.
func (n *Node) LookupFaults() []string { return n.tables.differing() }

// Revocations are the revocation lists that this process knows: those kept on
// disk, and those that brokers hand on. A broker that stands in one is never
// dialled, and a connection to it ends. Without Config.Credentials nothing is
// known.
func (n *Node) Revocations() *identity.Revocations { return n.lists.known() }
