// Package manager is the network manager: it hears what members say of
// themselves, keeps the membership table, and, while it is the elected one,
// publishes the one network status.
//
// Every manager feeds the same table, so that a standby can lead at once. Only
// the holder of a term publishes, only while its lease cannot have expired, and
// each published status has a mark, (epoch, generation), above all before it.
//
// It is a shell: manager/core decides, and asks manager/membership who is a
// member; manager/election elects. Here are the connection, the decoding, the
// files, the metrics and the one loop that calls the core.
package manager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"thor/manager/core"
	"thor/manager/election"
	"thor/manager/membership"
	"thor/overlay"
	"thor/overlay/audit"
	"thor/overlay/setting"
	"thor/subjects"
)

// The rhythm of the loop.
const (
	stepTime    = 100 * time.Millisecond // longest sleep
	leastStep   = time.Millisecond       // shortest sleep for what the core has to do
	missedEvery = time.Minute            // lost input is logged at most so often
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
	Lookup map[subjects.Role]int `toml:"lookup" unit:"log2 of slots" default:"(18, none for media_relay, provisioning_server and the network's own roles)"`
	// Least number of members that single roles ought to have. While a role has
	// fewer, the network is degraded.
	Expect  map[subjects.Role]int `toml:"expect" unit:"members" range:"1.." default:"(none)"`
	Log     zerolog.Logger
	Audit   *audit.Log            // of what operators decide; nil: none
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
	core          *core.Manager
	term          term            // of the newest leadership
	snapshots     *snapshotWriter // while this manager leads
	history       *historian
	intake        intake
	facts         factsFile
	lists         uint64    // version of the revocation lists that the core knows of
	dropped       int       // messages for which in had no room
	droppedLogged time.Time // when that was logged last
	seeker        *seeker
	orders        chan order

	answers  answers
	holding  atomic.Pointer[core.Holding] // what snapshot requests get
	known    atomic.Pointer[subjects.Mark]
	active   atomic.Bool
	priority atomic.Int64
	mayLead  atomic.Bool // the core knows what the network told last, and what is in service does not conflict with the configuration
}

// A term is what a leadership needs of an *election.Term.
type term interface {
	core.Term
	Done() <-chan struct{}
	StepDown()
}

// New checks cfg and joins the overlay as thor_manager; nothing is sent yet.
func New(cfg Config) (*Manager, error) {
	if cfg.Overlay == nil || cfg.Domain == "" {
		return nil, errors.New("manager: Overlay and Domain are required")
	}
	if len(cfg.Overlay.Roles()) > 0 {
		return nil, errors.New("manager: Overlay must follow all roles")
	}
	setting.Fill(&cfg)
	if err := setting.Join("manager", cfg.Validate()); err != nil {
		return nil, err
	}
	epochs, err := openEpochs(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: cfg, log: cfg.Log.With().Str("comp", "manager").Str("node", string(cfg.Overlay.ID())).Logger(), metrics: newMetrics(cfg.Metrics), epochs: epochs,
		ready: make(chan struct{}), orders: make(chan order), answers: answers{waiting: make(chan request, requestsWait)}, in: make(chan *nats.Msg, inbox), ends: make(chan *nats.Msg, inbox),
	}
	m.history = newHistorian(recordIn(m.cfg.Overlay.Conn), m.cfg.Overlay.Boot(), m.log, m.metrics)
	m.core = core.New(core.Config{
		Domain: cfg.Domain, Node: cfg.Overlay.ID(), Membership: cfg.Membership, SlotBits: m.cfg.SlotBits, Known: epochs.mark(),
	})
	if cfg.StateDir != "" {
		m.facts.path = filepath.Join(cfg.StateDir, factsName)
	}
	m.priority.Store(int64(cfg.Priority))
	m.share()
	m.member, err = cfg.Overlay.Join(overlay.Member{
		Role: subjects.Manager, Addresses: cfg.Addresses, Priority: cfg.Priority, Version: cfg.Version,
		Attrs: m.attrs(core.Standing{}),
	})
	if err != nil {
		return nil, fmt.Errorf("manager: %w", err)
	}
	m.handleDecisions()
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
		Known: func() subjects.Mark { return *m.known.Load() }, Order: m.candidateOrder, StoreEpoch: m.epochs.keep, MayLead: m.mayLead.Load, Log: m.log,
		Absurd: func(b *subjects.BadMessage) { m.metrics.rejected.WithLabelValues(string(b.Code)).Inc() },
	})
	m.seeker = newSeeker(ctx, m.cfg.Overlay, m.log)
	close(m.ready)
	var g errgroup.Group
	g.Go(func() error { return m.elect.Run(ctx) })
	g.Go(func() error { m.serve(ctx.Done()); return nil })
	recording, stopRecording := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { m.history.run(recording); return nil })
	g.Go(func() error {
		defer stopRecording()
		m.loop(ctx)
		m.seeker.work.Wait()
		return nil
	})
	return g.Wait()
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
		{subjects.RequestFrom("*", "*", "*", subjects.VerbDrain), m.ends},
		{subjects.RequestFrom("*", "*", "*", subjects.VerbResume), m.ends},
		{subjects.AllBrokers, m.ends},
	} {
		s, err := nc.ChanSubscribe(x.subject, x.to)
		if err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to %s: %w", x.subject, err)
		}
		m.subs = append(m.subs, s)
	}
	for verb, answer := range map[string]nats.MsgHandler{subjects.VerbStatus: m.answerManager, subjects.VerbHears: m.answerHearing} {
		subject := subjects.ManagerRequest(m.cfg.Overlay.ID(), verb)
		if _, err := nc.Subscribe(subject, answer); err != nil {
			stop()
			return nil, fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	return stop, nil
}

// loop owns the core.
func (m *Manager) loop(ctx context.Context) {
	m.loadIdentities(time.Now())
	defer m.storeIdentities()
	views := m.cfg.Overlay.Watch(ctx)
	timer := time.NewTimer(stepTime)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			m.finish()
			m.endHistory()
			return
		case msg := <-m.in:
			m.put(msg)
			m.drain(time.Now())
		case msg := <-m.ends:
			m.gather(m.in) // it arrived before
			m.put(msg)
			m.drain(time.Now())
		case t := <-m.elect.Terms():
			m.takeLead(t, t.Epoch, t.First, time.Now())
		case v, ok := <-views:
			if ok && v.Status != nil {
				m.core.Follow(v.Status, v.Encoded, v.FromDisk, time.Now())
			}
		case do := <-m.orders:
			do(time.Now())
		case f := <-m.seeker.found:
			m.takeFound(f, time.Now())
		case h := <-m.seeker.heard:
			m.core.Heard(h.from, h.hearing)
		case <-timer.C:
			if !m.intake.empty() {
				m.drain(time.Now())
			}
		}
		m.step(time.Now())
		if m.intake.empty() {
			timer.Reset(min(stepTime, max(time.Until(m.core.Next()), leastStep)))
		} else {
			timer.Reset(0)
		}
	}
}

// step is one turn of the loop: let time pass, do what is due.
func (m *Manager) step(now time.Time) {
	m.core.Online(m.cfg.Overlay.Connected(), now)
	m.core.Confirm(m.cfg.Overlay.Confirmation())
	m.core.Overtaken(m.cfg.Overlay.Overtaken())
	m.noteDropped(now)
	m.noteRevocations(now)
	m.core.Step(now)
	m.do()
	m.share()
	if m.active.Load() {
		m.metrics.guards(m.core.Guards())
		if h := m.holding.Load(); m.term.Valid(time.Now()) {
			m.history.keep(h.Held, now)
		}
	}
	if err := m.facts.fault(); err != nil {
		m.log.Error().Err(err).Msg("certificates of members not stored: one that is revoked while its member is dead will not be known after a restart")
	}
}

// takeFound takes the answer to a question of the seeker.
func (m *Manager) takeFound(f found, now time.Time) {
	if f.from == "" {
		if f.unread {
			return
		}
		m.core.Stored(f.Status, f.Encoded, now)
		return
	}
	m.core.Told(f.from, f.Status, f.Encoded, f.Known, now)
}

// share gives other goroutines what they read of the core.
func (m *Manager) share() {
	k, h := m.core.Known(), m.core.Holding()
	m.known.Store(&k)
	m.holding.Store(&h)
	m.mayLead.Store(m.core.MayLead() && m.core.MayCampaign())
	if m.elect == nil {
		return // it does not run yet
	}
	m.subscribeAnswers(h.Present(time.Now()))
}

// takeLead takes up a term that was won.
func (m *Manager) takeLead(t term, epoch, first uint64, now time.Time) {
	m.term = t
	m.core.Lead(t, epoch, first, now)
	m.do()
	m.share()
}

// finish ends a leadership on purpose: the last status first, then the lease.
func (m *Manager) finish() {
	if !m.core.Leads() {
		return
	}
	m.core.Finish(time.Now())
	m.do()
	if m.term.Valid(time.Now()) {
		m.snapshots.flush()
	}
	if m.cfg.Overlay.Connected() {
		_ = m.cfg.Overlay.Conn().FlushTimeout(time.Second)
	}
	m.term.StepDown()
	<-m.term.Done()
	m.setActive(false)
}

// endHistory waits for the records of the last moments.
func (m *Manager) endHistory() {
	ctx, cancel := flushContext()
	defer cancel()
	m.history.flush(ctx)
}

// defaultPriority is that of a manager that announces none.
var defaultPriority = func() int {
	var c Config
	setting.Fill(&c)
	return c.Priority
}()

// candidateOrder is this manager's place among the candidates: how many come before it.
func (m *Manager) candidateOrder() int {
	h := m.holding.Load()
	if h.Held == nil {
		return 0
	}
	return core.OrderIn(h.Status, m.cfg.Overlay.ID(), int(m.priority.Load()), defaultPriority) + core.Handicap(h.Hears)
}
