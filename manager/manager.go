// Package manager is the network manager: it hears what members say of
// themselves, keeps the membership table, and, while it is the elected one,
// publishes the one network status.
//
// Every manager feeds the same table, so that a standby can lead at once. Only
// the holder of a term publishes, only while its lease cannot have expired, and
// each published status has a mark, (epoch, generation), above all before it.
//
// It decides nothing itself: who is a member is the business of
// manager/membership, who leads that of manager/election.
package manager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/manager/election"
	"thor/manager/membership"
	"thor/overlay"
	"thor/overlay/lookup"
	"thor/overlay/setting"
	"thor/subjects"
)

// The rhythm of publishing.
const (
	tickEvery    = time.Second
	coalesce     = 20 * time.Millisecond // changes that follow closely share a generation
	viewEvery    = 5 * time.Second       // each role's list is repeated
	viewEveryBig = 30 * time.Second      // above bigNetwork members
	bigNetwork   = 200
	stepTime     = 100 * time.Millisecond // longest sleep of the loop
	claimsEvery  = time.Minute
	compareLater = 100 * time.Millisecond  // a standby makes its tables after a change: name servers act on it meanwhile
	listenFirst  = 1500 * time.Millisecond // before campaigning, so that no manager leads that knows no member
	leastStep    = time.Millisecond        // shortest sleep of the loop for what the table has to do
)

const inbox = 64 << 10 // messages that wait for the loop

// Config says who this manager is. Overlay, Domain and Addresses are required.
type Config struct {
	Overlay *overlay.Node
	Domain  string
	// Addresses that the manager announces.
	Addresses []netip.Addr `toml:"addresses" default:"(those of the certificate)"`
	// Order in which managers are elected. One that leads goes on leading.
	Priority   int               `toml:"priority" default:"50" range:"1..65535" unit:"lower is preferred" reload:"yes"`
	Version    string            // of the software, for show
	StateDir   string            // keeps the greatest epoch and what members' certificates say across restarts; "" keeps none
	Membership membership.Config `toml:",inline"`
	// Log2 of the slots in the lookup table of single roles, 10 to 24, or 0 for no
	// table. All managers of a network must agree, and it cannot change while the
	// role has members: a manager that differs from what is in service does not lead.
	Lookup  map[subjects.Role]int `toml:"lookup" unit:"log2 of slots" default:"(18, none for media_relay, provisioning_server and the network's own roles)"`
	Log     zerolog.Logger
	Metrics prometheus.Registerer // nil: none
}

// A Manager is one candidate. Make it with New, run it once with Run.
type Manager struct {
	cfg     Config
	log     zerolog.Logger
	metrics *metrics
	epochs  *epochFile
	member  *overlay.Membership
	elect   *election.Election
	ready   chan struct{}

	in   chan *nats.Msg       // what members announce, and what certificates say
	ends chan *nats.Msg       // what brokers tell of ended connections: it has room whatever comes from members
	subs []*nats.Subscription // that feed these

	// Of the loop alone.
	intake           intake
	dropped          int         // messages for which in had no room
	droppedLogged    time.Time   // when that was logged last
	lead             *leadership // not nil while this manager leads
	table            *membership.Table
	reject           rejects
	claims           claims
	certified        certified
	big              map[subjects.Role]bool // whose list is too big to be told
	cut              bool                   // from all brokers
	answersSnapshots bool                   // answers requests for the snapshot
	claimsActed      time.Time              // when marks above ours last had an effect
	tables           *tables
	standing         standing         // as announced
	uncompared       *subjects.Status // another's, whose tables are not compared yet…
	compareAt        time.Time        // …and will be then

	asked    askers               // of answer alone
	newest   atomic.Pointer[held] // what snapshot requests get
	marks    marks
	active   atomic.Bool
	priority atomic.Int64
	mayLead  atomic.Bool // what is in service does not conflict with the configuration
}

// held is a status with its encoding.
type held struct {
	status  *subjects.Status
	encoded []byte
	chunks  func() []subjects.Chunk // that answer a request for the snapshot; made once, when the first comes
}

func hold(s *subjects.Status, encoded []byte) *held {
	return &held{s, encoded, sync.OnceValue(func() []subjects.Chunk { return subjects.Chunks(encoded) })}
}

// size is how many bytes an answer has; without a status it has none.
func (h *held) size() (bytes int) {
	if h == nil {
		return 0
	}
	for _, c := range h.chunks() {
		bytes += len(c.Data)
	}
	return bytes
}

// New checks cfg and joins the overlay as thor_manager; nothing is sent yet.
func New(cfg Config) (*Manager, error) {
	if cfg.Overlay == nil || cfg.Domain == "" {
		return nil, errors.New("manager: Overlay and Domain are required")
	}
	setting.Fill(&cfg)
	if err := setting.Join("manager", cfg.Validate()); err != nil {
		return nil, err
	}
	epochs, err := openEpochs(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	cfg.Membership.Domain = cfg.Domain
	cfg.Membership.NodeHash = lookup.Hash[subjects.NodeID]
	cfg.Membership.Identities = true
	m := &Manager{
		cfg: cfg, log: cfg.Log.With().Str("comp", "manager").Str("node", string(cfg.Overlay.ID())).Logger(), metrics: newMetrics(cfg.Metrics), epochs: epochs,
		ready: make(chan struct{}), in: make(chan *nats.Msg, inbox), ends: make(chan *nats.Msg, inbox), table: membership.New(cfg.Membership),
		claims: make(claims), big: make(map[subjects.Role]bool),
	}
	if cfg.StateDir != "" {
		m.certified.file.path = filepath.Join(cfg.StateDir, factsName)
	}
	m.tables = newTables(&m.cfg, m.log)
	m.mayLead.Store(true)
	m.priority.Store(int64(cfg.Priority))
	m.marks.confirm(epochs.mark())
	m.member, err = cfg.Overlay.Join(overlay.Member{
		Role: subjects.Manager, Addresses: cfg.Addresses, Priority: cfg.Priority, Version: cfg.Version,
		Attrs: subjects.Attrs{"state": "standby"},
	})
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	return m, nil
}

// Ready is closed when this manager hears the network.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// SetPriority changes the place in the elections to come, 1 to 65535, lower is
// preferred; 0 is 50. A manager that leads goes on leading.
func (m *Manager) SetPriority(priority int) {
	if priority == 0 {
		priority = defaultPriority
	}
	m.priority.Store(int64(priority))
	m.member.Update(func(o *overlay.Member) { o.Priority = priority })
}

// Active reports whether this manager leads now.
func (m *Manager) Active() bool { return m.active.Load() }

// Run manages until ctx ends, then publishes its last status and steps down. It may
// be called once. It fails only if it cannot subscribe; whatever breaks later
// mends itself, or another manager leads.
func (m *Manager) Run(ctx context.Context) error {
	select {
	case <-m.cfg.Overlay.Ready():
	case <-ctx.Done():
		return nil
	}
	nc := m.cfg.Overlay.Conn()
	stop, err := m.subscribe(nc)
	if err != nil {
		return err
	}
	defer stop()
	if err := nc.FlushTimeout(time.Second); err != nil {
		m.log.Debug().Err(err).Msg("flush") // the connection is going; the next one knows the subscriptions
	}
	m.elect = election.New(election.Config{
		Conn: nc, Node: m.cfg.Overlay.ID(), Boot: m.cfg.Overlay.Boot(),
		Known: m.marks.highest, Order: m.candidateOrder, StoreEpoch: m.epochs.keep, MayLead: m.mayLead.Load, Log: m.log,
		Absurd: func(b *subjects.BadMessage) { m.metrics.rejected.WithLabelValues(string(b.Code)).Inc() },
	})
	close(m.ready)
	var g errgroup.Group
	g.Go(func() error { m.listen(ctx); return m.elect.Run(ctx) })
	g.Go(func() error { m.loop(ctx); return nil })
	return g.Wait()
}

// listen returns when this manager knows the network's status, or when none
// was published for longer than a tick and a beat take.
func (m *Manager) listen(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, listenFirst)
	defer cancel()
	for v := range m.cfg.Overlay.Watch(ctx) {
		if v.Status != nil && !v.FromDisk {
			return
		}
	}
}

// subscribe hears members, brokers and requests. What feeds the table comes
// through two channels, each in the order in which it arrived, and then through
// the intake.
func (m *Manager) subscribe(nc *nats.Conn) (stop func(), err error) {
	stop = func() {
		for _, s := range m.subs {
			_ = s.Unsubscribe()
		}
	}
	for _, x := range []struct {
		subject string
		to      chan *nats.Msg
	}{
		{subjects.AllPresences, m.in},
		{subjects.Identities, m.in},
		{subjects.Disconnect, m.ends},
		{subjects.RevokedNode, m.ends},
		{subjects.CutNode, m.ends},
	} {
		s, err := nc.ChanSubscribe(x.subject, x.to)
		if err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to %s: %w", x.subject, err)
		}
		m.subs = append(m.subs, s)
	}
	return stop, nil
}

// answerSnapshots joins those who answer requests for the snapshot. A manager that holds
// none yet stays out: it would draw requests that another could answer.
func (m *Manager) answerSnapshots() {
	if m.answersSnapshots {
		return
	}
	if _, err := m.cfg.Overlay.Conn().QueueSubscribe(subjects.StatusGet, "thor.managers", m.answer); err != nil {
		m.log.Error().Err(err).Str("subject", subjects.StatusGet).Msg("cannot answer requests")
		return
	}
	m.answersSnapshots = true // until the connection is closed
}

// loop owns the table and the leadership.
func (m *Manager) loop(ctx context.Context) {
	m.loadIdentities(time.Now())
	defer m.storeIdentities()
	views := m.cfg.Overlay.Watch(ctx)
	timer := time.NewTimer(stepTime)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			m.stepDown()
			return
		case msg := <-m.in:
			m.put(msg)
			m.drain(time.Now())
		case msg := <-m.ends:
			m.gather(m.in) // it arrived before
			m.put(msg)
			m.drain(time.Now())
		case t := <-m.elect.Terms():
			m.takeLead(&leadership{term: t, epoch: t.Epoch, first: t.First}, time.Now())
		case v, ok := <-views:
			if ok {
				m.follow(v, time.Now())
			}
		case <-timer.C:
			if !m.intake.empty() {
				m.drain(time.Now())
			}
		}
		m.step(time.Now())
		switch {
		case !m.intake.empty():
			timer.Reset(0)
		case m.lead != nil && m.lead.pending:
			timer.Reset(coalesce)
		default:
			timer.Reset(min(stepTime, max(time.Until(m.table.Next()), leastStep)))
		}
	}
}

// gather puts what waits in a channel into the intake.
func (m *Manager) gather(from chan *nats.Msg) {
	for range cap(from) {
		select {
		case msg := <-from:
			m.put(msg)
		default:
			return
		}
	}
}

// drain takes what else has arrived, so that a burst costs one decision. What is
// left over comes next time; all that has arrived is in the intake before.
func (m *Manager) drain(now time.Time) {
	m.gather(m.in)
	m.gather(m.ends)
	for range 1000 {
		msg, ok := m.intake.next()
		if !ok {
			return
		}
		m.take(msg, now)
	}
}

func (m *Manager) put(msg *nats.Msg) {
	if m.intake.put(msg) {
		m.metrics.crowded.Inc()
	}
}

// follow keeps what the active manager says, to begin from it when elected.
func (m *Manager) follow(v *overlay.View, now time.Time) {
	if v.Status == nil {
		return
	}
	if m.lead != nil {
		if v.Status.Epoch <= m.lead.epoch {
			return
		}
		m.lead.term.StepDown() // its release fails harmlessly: the lease is another's
		m.loseLead("a later epoch is told by " + string(v.Status.Manager))
	}
	h := m.newest.Load()
	switch {
	case h != nil && !v.Status.Mark().After(h.status.Mark()):
		return
	case h != nil:
		m.noteEpoch(h.status.Epoch, v.Status.Epoch, now)
	case !v.FromDisk: // how the network came to this epoch is unknown
		m.claimsActed = now
	}
	m.newest.Store(hold(v.Status, v.Encoded))
	m.answerSnapshots()
	m.marks.confirm(v.Status.Mark())
	m.table.Adopt(v.Status, now)
	m.handleStatus(v.Status, now)
}
