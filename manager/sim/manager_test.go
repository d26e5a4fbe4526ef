package sim

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"thor/manager/core"
	"thor/manager/election"
	"thor/manager/membership"
	"thor/subjects"
)

const (
	readPatience  = 1500 * time.Millisecond
	writePatience = 2 * time.Second
	storeEvery    = time.Second
	priority      = 50
)

// A manager is a process with the pure parts of a real one: core, election and
// tracker. Around them is what its shell does.
type manager struct {
	p       *proc
	core    *core.Manager
	machine *election.Machine
	feed    feed
	term    *term // the newest
	disk    disk
	seq     uint64
	stand   core.Standing
	answers bool // requests for the snapshot

	open   map[int]bool // operations that wait for a result
	opened int
	wakeAt time.Duration
	out    []core.Output // that a pause of the process delays
	stored time.Duration // when the store was written last
	waits  *core.Held    // for that
}

// A disk outlives its process, unless a fault wipes it.
type disk struct {
	known  subjects.Mark // epoch and ceiling
	status *core.Held
	facts  []*subjects.Identity
}

// save keeps a status, unless a newer one is there.
func (d *disk) save(h *core.Held) {
	if d.status == nil || h.Status.Mark().After(d.status.Status.Mark()) {
		d.status = h
	}
}

// A term is what an election.Term is.
type term struct {
	m       *manager
	epoch   uint64
	until   time.Time
	ceiling uint64
	wanted  uint64
	ended   bool
	quiet   time.Time // nothing is published before
	sure    time.Time // the lease was its own then; zero: it is
}

func (t *term) Valid(now time.Time) bool { return !t.ended && now.Before(t.until) }

func (t *term) Quiet() time.Time { return t.quiet }

func (t *term) Sure() time.Time { return t.sure }

func (t *term) Ceiling(used uint64) uint64 {
	t.wanted = max(t.wanted, election.Want(used, t.ceiling))
	return t.ceiling
}

func newManager(w *world, node subjects.NodeID) *manager {
	m := &manager{}
	m.p = newProc(w, node, m)
	return m
}

func (m *manager) roles() []subjects.Role { return []subjects.Role{subjects.Manager} }

// simulated has hold-downs short enough to end within a run.
func simulated() membership.Config {
	return membership.Config{HoldDown: 20 * time.Second, MaxHoldDown: 40 * time.Second, TrustAnnouncedSites: true}
}

func (m *manager) begin() {
	p := m.p
	m.core = core.New(core.Config{
		Domain: domain, Node: p.node, Membership: simulated(), SlotBits: func(subjects.Role) int { return 0 }, Known: m.disk.known,
	})
	m.machine = election.NewMachine(p.node, p.boot, func(d time.Duration) time.Duration { return time.Duration(p.w.rng.Int64N(int64(d))) })
	m.feed = newFeed(p, m.turn)
	m.term, m.stand, m.seq = nil, core.Standing{}, 0
	m.open, m.out, m.waits = map[int]bool{}, nil, nil
	m.wakeAt, m.stored, m.answers = 0, -time.Hour, false
	now := p.clock()
	for _, f := range m.disk.facts {
		m.core.Identity(f, false, now)
	}
	if h := m.disk.status; h != nil {
		m.feed.tracker.Restore(h.Status, h.Encoded, now)
		m.core.Follow(h.Status, h.Encoded, true, now)
	}
	m.core.Online(false, now)
	var beat func()
	beat = func() {
		m.say()
		p.after(p.w.between(900, 1100), beat)
	}
	p.after(p.w.between(10, 1000), beat)
	m.elect(election.Woken{})
	m.turn()
}

// say announces this manager.
func (m *manager) say() { m.announce(false) }

// moves says that this process leaves its connection for another one.
func (m *manager) moves() { m.announce(true) }

func (m *manager) announce(moves bool) {
	m.seq++
	a := &subjects.Announcement{
		V: subjects.Version, Node: m.p.node, Role: subjects.Manager, Boot: m.p.boot, Seq: m.seq, Via: m.p.via(), Addresses: []netip.Addr{m.p.addr},
		State: subjects.Up, Priority: priority, Weight: subjects.DefaultWeight, Attrs: m.stand.Attrs(), Moves: moves, Site: m.p.site,
	}
	if k := m.feed.tracker.Mark(); !k.IsZero() {
		a.Seen = &k
	}
	m.p.send(a)
}

func (m *manager) online(up bool) {
	m.feed.online(up)
	if up {
		m.say()
		m.elect(election.Online{})
	}
	m.turn()
}

// receive takes one message.
func (m *manager) receive(x any) {
	now := m.p.clock()
	switch x := x.(type) {
	case *subjects.Announcement:
		a := *x
		m.core.Announce(&a, now)
	case membership.Disconnect:
		m.core.Disconnect(x, now)
		m.elect(election.Closed{Boot: x.Boot, Via: x.Via})
	case *subjects.Identity:
		m.core.Identity(x, false, now)
	case notice:
		m.core.BrokerAlone(&subjects.BrokerNotice{V: subjects.Version, Broker: x.broker, Alone: x.alone}, now)
	case overflow:
		m.core.Missed(now)
	case closedAt:
		m.elect(election.Closed{Boot: x.Boot, Via: x.Via})
	case *election.Entry:
		m.elect(election.Told{Entry: x})
	case result:
		if !m.open[x.id] {
			return
		}
		delete(m.open, x.id)
		x.do()
	case query:
		m.answer(x)
		return
	case question:
		m.p.send(direct{x.from, x.reply(m.core.Holding())})
		return
	default:
		m.feed.receive(x)
	}
	m.turn()
}

// answer replies to a request for the snapshot.
func (m *manager) answer(q query) {
	now := m.p.clock()
	h := m.core.Holding()
	a := &answer{id: q.id, by: m}
	if a.age, a.code = h.Answer(q.req, now); a.code == "" {
		a.held = h.Held
	}
	m.p.w.stats.count("snapshot", "answered "+string(a.code))
	m.p.send(direct{q.from, a})
}

// turn is one turn of the loop: let time pass, do what is due.
func (m *manager) turn() {
	if m.out != nil { // it stands still between deciding and doing
		return
	}
	now := m.p.clock()
	m.feed.advance()
	if s := m.feed.tracker; s.Status != nil {
		m.follow(now)
	}
	m.core.Online(m.p.link != nil, now)
	m.core.Step(now)
	m.out = m.core.Outputs()
	m.do()
}

// do carries out what the core decided. What only the holder of the lease may say
// goes out while a fresh reading of the clock says that the lease is valid.
func (m *manager) do() {
	w := m.p.w
	for len(m.out) > 0 {
		o := m.out[0]
		switch o.(type) {
		case core.RoleTick, core.RoleDelta: // no observer here follows some roles only
			m.out = m.out[1:]
			continue
		}
		if core.Led(o) && w.chance(w.noise.pauses) && !m.p.frozen {
			w.stats.count("fault", "pause before publishing")
			m.p.freeze()
			m.p.resume = m.do
			life := m.p.life
			w.after(w.between(100, 15_000), func() {
				if m.p.life == life {
					m.p.thaw()
				}
			})
			return
		}
		m.out = m.out[1:]
		if core.Led(o) && (m.term == nil || !m.term.Valid(m.p.clock())) {
			w.stats.count("election", "dropped what the lease forbids")
			continue
		}
		life := m.p.life
		m.carryOut(o)
		if m.p.life != life {
			return
		}
	}
	m.out = nil
	m.answers = m.core.Holding().Present(m.p.clock())
	m.arm()
}

func (m *manager) carryOut(o core.Output) {
	w := m.p.w
	switch o := o.(type) {
	case core.Tick:
		w.truth.ticked(m, o.Tick)
		m.p.send(o.Tick)
	case core.Delta:
		heard := w.truth.published(m, o.Delta)
		if l := m.p.link; l != nil && m.p.alive {
			l.up(func() {
				heard()
				l.b.handle(l, o.Delta)
			})
		}
	case core.Event:
		w.truth.event(m, &o.Event)
	case core.Duplicate:
		w.stats.count("guard", "duplicate")
	case core.Snapshot:
		m.waits = o.Held
		m.keep()
	case core.Stand:
		m.stand = o.Standing
		m.say()
	case core.StepDown:
		m.elect(election.StepDown{})
	case core.AskIdentities:
		m.p.send(identityGet{})
	case core.ReadStore:
		m.readStore()
	case core.AskAnnouncement:
		w.stats.count("beats", "full announcement asked for")
		for _, q := range w.procs {
			if q.node == o.Node {
				m.p.send(direct{q, fullAsk{}})
			}
		}
	case core.AskManager:
		m.askManager(o.Node)
	case core.AskHearing:
		m.askHearing(o.Node)
	case core.StoreFacts:
		m.disk.facts = o.Identities
	case core.Rejected:
		w.stats.count("refused", string(o.Code))
	case core.Note:
		if o.Event == "site" {
			w.stats.count("site", "heard by another manager")
		}
		w.log("%s: %s %v", m.p.node, o.Text, o.Fields)
	}
}

// follow hands the tracker's status to the core, as Watch does.
func (m *manager) follow(now time.Time) {
	t := m.feed.tracker
	if m.feed.handed != t.Status {
		m.feed.handed = t.Status
		if !t.FromDisk {
			h := core.Hold(t.Status, t.Encoded)
			m.p.after(m.p.w.between(0, 1000), func() { m.disk.save(h) })
		}
		m.core.Follow(t.Status, t.Encoded, t.FromDisk, now)
	}
	if !t.Confirmed.IsZero() && !t.FromDisk {
		m.core.Confirm(t.Mark(), t.Confirmed)
		m.core.Overtaken(t.Missing())
	}
}

// arm sees that the parts are woken when they want.
func (m *manager) arm() {
	next := earliest(earliest(m.core.Next(), m.feed.tracker.Next()), m.machine.Next())
	if next.IsZero() {
		next = m.p.clock().Add(time.Second)
	}
	at := max(m.p.w.now+time.Millisecond, m.p.w.now+next.Sub(m.p.clock()))
	if m.wakeAt > m.p.w.now && m.wakeAt <= at {
		return
	}
	m.wakeAt = at
	m.p.after(at-m.p.w.now, func() {
		if m.wakeAt == at {
			m.wakeAt = 0
			m.elect(election.Woken{})
			m.turn()
		}
	})
}

func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// elect hands one input to the machine and does what it says.
func (m *manager) elect(in election.Input) {
	f := election.Facts{Known: m.core.Known(), MayLead: m.core.MayLead() && m.core.MayCampaign(), Via: m.p.via()}
	if h := m.core.Holding(); h.Held != nil {
		f.Order = core.OrderIn(h.Status, m.p.node, priority, priority) + core.Handicap(h.Hears)
	}
	if m.term != nil {
		f.Wanted = m.term.wanted
	}
	w := m.p.w
	for _, a := range m.machine.Step(in, f, m.p.clock()) {
		w.stats.transition(in, a)
		switch a := a.(type) {
		case election.Read:
			m.operate(readPatience, func(b *broker, done func(func())) {
				w.bucket.read(b, func(e *election.Entry, ok bool) {
					if !ok {
						done(func() { m.elect(election.Fetched{ID: a.ID, Err: election.ErrNoBucket}) })
						return
					}
					done(func() { m.elect(election.Fetched{ID: a.ID, Entry: e}) })
				})
			}, func() { m.elect(election.Fetched{ID: a.ID, Err: errNoAnswer}) })
		case election.Write:
			m.write(a)
		case election.Release:
			m.operate(writePatience, func(b *broker, done func(func())) {
				w.bucket.write(b, nil, a.Revision, func(_ uint64, outcome election.Outcome) {
					done(func() { m.elect(election.Released{ID: a.ID}) })
				})
			}, func() { m.elect(election.Released{ID: a.ID, Err: errNoAnswer}) })
		case election.Ask:
			m.p.send(closedGet(a))
		case election.Begin:
			w.log("%s leads epoch %d from %d", m.p.boot, a.Epoch, a.First)
			m.term = &term{m: m, epoch: a.Epoch, until: a.Until, ceiling: a.Ceiling}
			w.truth.began(m, a)
			m.core.Lead(m.term, a.Epoch, a.First, m.p.clock())
		case election.Hold:
			m.term.quiet, m.term.sure = a.Until, a.Sure
		case election.Extend:
			m.term.quiet, m.term.sure = time.Time{}, time.Time{}
			m.term.until, m.term.ceiling = a.Until, a.Ceiling
			if a.Rewritten != 0 {
				w.log("%s wrote the lost lease again", m.p.boot)
			}
		case election.End:
			w.log("%s ends epoch %d: %s", m.p.boot, a.Epoch, a.Reason)
			m.term.ended = true
		}
	}
}

func (m *manager) write(a election.Write) {
	if a.Keep {
		m.disk.known = subjects.Mark{Epoch: a.Epoch, Generation: a.Ceiling}
	}
	l := &subjects.Lease{V: subjects.Version, Manager: m.p.node, Boot: m.p.boot, Via: a.Via, Epoch: a.Epoch, Ceiling: a.Ceiling, Time: m.p.clock()}
	w, sent := m.p.w, m.p.w.now
	m.operate(writePatience, func(b *broker, done func(func())) {
		w.bucket.write(b, l, a.Revision, func(rev uint64, outcome election.Outcome) {
			if outcome == election.Stored {
				w.truth.stored(l.Boot, sent)
			}
			done(func() { m.elect(election.Written{ID: a.ID, Revision: rev, Outcome: outcome}) })
		})
	}, func() { m.elect(election.Written{ID: a.ID, Outcome: election.Unknown, Err: errNoAnswer}) })
}

// A result is the answer to an operation.
type result struct {
	id int
	do func()
}

// operate has do done at the broker; late follows when no result comes.
func (m *manager) operate(patience time.Duration, do func(b *broker, done func(func())), late func()) {
	m.opened++
	id, p := m.opened, m.p
	m.open[id] = true
	p.send(operation{p, func(b *broker) {
		do(b, func(f func()) {
			if p.w.chance(p.w.noise.asides) {
				p.w.stats.count("bus", "acknowledgement lost")
				return
			}
			b.route(direct{p, result{id, f}})
		})
	}})
	if p.link == nil { // publishing fails
		patience = time.Millisecond
	}
	p.after(patience, func() {
		if m.open[id] {
			delete(m.open, id)
			late()
			m.turn()
		}
	})
}

// keep writes the status to the store, once a second at most.
func (m *manager) keep() {
	w := m.p.w
	if m.waits == nil {
		return
	}
	if d := m.stored + storeEvery - w.now; d > 0 {
		m.p.after(d, m.keep)
		return
	}
	h := m.waits
	m.waits, m.stored = nil, w.now
	m.p.send(operation{m.p, func(b *broker) { w.store.write(b, h) }})
}

func (m *manager) readStore() {
	m.operate(readPatience, func(b *broker, done func(func())) {
		h, ok := m.p.w.store.read(b)
		if ok {
			done(func() { m.fetched(h) })
		}
	}, func() {})
}

// fetched hands the core what the store holds.
func (m *manager) fetched(h *core.Held) {
	if h == nil {
		m.core.Stored(nil, nil, m.p.clock())
		return
	}
	m.core.Stored(h.Status, h.Encoded, m.p.clock())
}

func (m *manager) askManager(node subjects.NodeID) {
	m.question(node, func(h core.Holding) {
		if h.Held == nil {
			m.core.Told(node, nil, nil, h.Known, m.p.clock())
			return
		}
		m.core.Told(node, h.Status, h.Encoded, h.Known, m.p.clock())
	})
}

func (m *manager) askHearing(node subjects.NodeID) {
	m.p.w.stats.count("site", "hearing asked for")
	m.question(node, func(h core.Holding) {
		if h.Hears != nil {
			m.p.w.stats.count("site", "hearing told")
		}
		m.core.Heard(node, h.Hears)
	})
}

// question asks another manager; told gets what it holds, or nothing.
func (m *manager) question(node subjects.NodeID, told func(core.Holding)) {
	for _, o := range m.p.w.procs {
		x, is := o.app.(*manager)
		if !is || o.node != node || x == m {
			continue
		}
		m.opened++
		id := m.opened
		m.open[id] = true
		m.p.send(direct{o, question{from: m.p, reply: func(h core.Holding) any {
			return result{id, func() { told(h) }}
		}}})
		m.p.after(readPatience, func() {
			if m.open[id] {
				delete(m.open, id)
				told(core.Holding{})
				m.turn()
			}
		})
		return
	}
	told(core.Holding{})
}

// leads reports whether m may publish now.
func (m *manager) leads() bool {
	return m.p.alive && !m.p.frozen && m.core.Leads() && m.term != nil && m.term.Valid(m.p.clock())
}

// guardOf is the name of the guard in the detail of an event.
func guardOf(detail string) string {
	name, _, _ := strings.Cut(detail, ":")
	return fmt.Sprint(name)
}

// finish ends the process gracefully: the last status first, then the lease.
func (m *manager) finish() {
	m.p.w.log("%s ends", m.p.boot)
	m.core.Finish(m.p.clock())
	m.out = append(m.out, m.core.Outputs()...)
	m.do()
	m.elect(election.StepDown{})
	m.p.send(&subjects.Announcement{
		V: subjects.Version, Node: m.p.node, Role: subjects.Manager, Boot: m.p.boot, Seq: m.seq + 1, Via: m.p.via(), Addresses: []netip.Addr{m.p.addr},
		State: subjects.Leave, Priority: priority, Weight: subjects.DefaultWeight,
	})
	m.p.w.truth.touch(m.p.node)
	m.p.after(30*time.Millisecond, m.p.kill)
}
