package membership_test

import (
	"cmp"
	"container/heap"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"thor/manager/membership"
	"thor/subjects"
)

// A world is a simulated network on a simulated bus, and two managers that hear
// of it: the active one, whose table is judged, and a standby that follows it.
// It draws everything from its seed.
type world struct {
	rng   *rand.Rand
	now   time.Duration
	queue schedule
	order int

	brokers []*simBroker
	procs   []*proc
	active  *observer
	standby *observer
	status  *subjects.Status // of the active one, after its last event
	orderly bool             // the bus loses, doubles and reorders nothing
	mixed   bool             // one broker tells nothing of certificates

	hash     hash.Hash64  // of all that the table said, when wanted
	trace    func(string) // gets a line for all that happens, when wanted
	faults   map[string]int
	removals map[string]int
	broken   []string                 // promises
	missing  map[subjects.Pair]string // removed by a failure and not back, with the reason
}

// An observer is one manager's table and what keeps it from hearing.
type observer struct {
	table  *membership.Table
	paused bool // it stands still: messages wait
	cut    bool // its connection is gone: messages are lost
	cutAt  time.Duration
	due    time.Duration // when the table is called next
	held   []message
	beats  map[string]time.Duration // when the last one of "node role" was taken
	asked  time.Duration            // when it asked brokers for what certificates say
}

// A message is what an observer does on receipt.
type message func(*observer)

// A simBroker carries the connections of the processes attached to it.
type simBroker struct {
	name     string
	alive    bool
	frozen   bool
	apart    bool          // from the manager: what its clients say is lost
	rejoined time.Duration // when that ended
	stuck    []message
	conns    int
	words    map[string]subjects.Identity // of certificates, by serial; nil: it is of a version that tells nothing of them
}

// A proc is one process with one connection, under one or more roles.
type proc struct {
	node      string
	roles     []subjects.Role
	boot      string
	addresses []netip.Addr
	boots     int
	seq       uint64
	plain     bool
	alive     bool
	frozen    bool
	cutoff    bool // from all brokers
	leaving   bool // left on purpose, in this life
	left      bool // or in any
	state     subjects.State
	broker    *simBroker
	via       string
	life      int // raised to make scheduled things of an earlier life void

	certificate subjects.Identity
	certified   int // how many it had

	connected time.Duration // since when it can be heard; -1: it cannot
	cause     string        // of the last loss of its connection
	lost      time.Duration
	downs     time.Duration // last time it said down
}

type task struct {
	at    time.Duration
	order int
	do    func()
}

type schedule []task

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(s[i].at, s[j].at), cmp.Compare(s[i].order, s[j].order)) < 0
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(x any)   { *s = append(*s, x.(task)) }
func (s *schedule) Pop() any {
	x := (*s)[len(*s)-1]
	*s = (*s)[:len(*s)-1]
	return x
}

func newWorld(seed uint64, nodes int, cfg membership.Config) *world {
	w := &world{
		rng: rand.New(rand.NewPCG(seed, 7)), active: observe(cfg), standby: observe(cfg), status: &subjects.Status{V: 1},
		faults: map[string]int{}, removals: map[string]int{}, missing: map[subjects.Pair]string{},
	}
	for i := range 3 {
		b := &simBroker{name: fmt.Sprintf("b%d", i+1), alive: true, words: map[string]subjects.Identity{}}
		w.brokers = append(w.brokers, b)
	}
	if w.mixed = seed%4 == 3; w.mixed {
		w.brokers[w.rng.IntN(3)].words = nil
	}
	names := []subjects.Role{"sip_proxy", "media_relay", "voicemail_server", "xcap_server", "my_role"}
	for i := range nodes {
		p := &proc{node: fmt.Sprintf("n%d", i+1), plain: w.rng.IntN(15) == 0}
		for _, r := range w.rng.Perm(len(names))[:1+w.rng.IntN(3)] {
			p.roles = append(p.roles, names[r])
		}
		slices.Sort(p.roles)
		w.renew(p)
		w.procs = append(w.procs, p)
		w.start(p)
	}
	for _, b := range w.brokers {
		p := &proc{node: b.name, roles: []subjects.Role{subjects.EventServer}, broker: b}
		w.renew(p)
		w.procs = append(w.procs, p)
		w.start(p)
	}
	for _, o := range []*observer{w.active, w.standby} {
		o.table.Advance(w.clock())
		w.arm(o)
	}
	w.lie()
	return w
}

func observe(cfg membership.Config) *observer {
	return &observer{table: membership.New(cfg), beats: map[string]time.Duration{}}
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	heap.Push(&w.queue, task{w.now + d, w.order, do})
}

// between draws a time from a to b, both in milliseconds.
func (w *world) between(a, b int) time.Duration {
	return time.Duration(a+w.rng.IntN(b-a+1)) * time.Millisecond
}

func (w *world) run(d time.Duration) {
	end := w.now + d
	for len(w.queue) > 0 && w.queue[0].at <= end {
		x := heap.Pop(&w.queue).(task)
		w.now = x.at
		x.do()
	}
	w.now = end
}

func (w *world) clock() time.Time { return t0.Add(w.now) }

// arm sees that the table's time passes when it asks for it, as the manager's
// loop does after each call.
func (w *world) arm(o *observer) {
	next := max(o.table.Next().Sub(w.clock()), time.Millisecond)
	if o.paused {
		next = 50 * time.Millisecond
	}
	if o.due > w.now && o.due <= w.now+next {
		return
	}
	due := w.now + next
	o.due = due
	w.after(next, func() {
		if o.due != due || o != w.active && o != w.standby {
			return // another one is due sooner, or the manager is no more
		}
		if !o.paused {
			o.table.Advance(w.clock())
			w.check(o)
			if o.table.Waiting() > 0 && w.now-o.asked >= 500*time.Millisecond {
				w.ask(o)
			}
		}
		w.arm(o)
	})
}

// hear lets the managers get a message, each after a while.
func (w *world) hear(do message) {
	for _, o := range []*observer{w.active, w.standby} {
		d := w.between(1, 20)
		if w.rng.IntN(50) == 0 && !w.orderly {
			d = w.between(20, 300) // out of order
		}
		w.after(d, func() {
			switch {
			case o.cut:
			case o.paused:
				o.held = append(o.held, do)
			default:
				do(o)
				w.check(o)
				w.arm(o)
			}
		})
	}
}

// carry takes a message of a client through broker b.
func (w *world) carry(b *simBroker, do message) {
	switch {
	case !b.alive, b.apart:
	case b.frozen:
		b.stuck = append(b.stuck, do)
	default:
		w.hear(do)
		if w.rng.IntN(100) == 0 && !w.orderly {
			w.hear(do) // twice
		}
	}
}

// start lets p begin a new life.
func (w *world) start(p *proc) {
	p.boots++
	p.boot = fmt.Sprintf("%s-%d", p.node, p.boots)
	p.life++
	p.seq, p.alive, p.frozen, p.leaving, p.state, p.connected = 0, true, false, false, subjects.Up, -1
	w.connect(p, 0)
	life := p.life
	var beat func()
	beat = func() {
		if p.life != life || !p.alive {
			return
		}
		w.beat(p)
		w.after(w.between(900, 1100), beat)
	}
	w.after(w.between(0, 1000), beat)
}

// connect lets p look for a broker, after d.
func (w *world) connect(p *proc, d time.Duration) {
	life := p.life
	w.after(d, func() {
		if p.life != life || !p.alive || p.frozen || p.connected >= 0 {
			return
		}
		b := p.broker
		if !p.server() {
			b = w.brokers[w.rng.IntN(len(w.brokers))]
		}
		switch {
		case p.cutoff || b.frozen:
			w.connect(p, w.between(2000, 2100)) // the dial times out
			return
		case !b.alive:
			w.connect(p, w.between(50, 250))
			return
		}
		b.conns++
		w.log("%s connects as %s#%d", p.node, b.name, b.conns)
		p.broker, p.via, p.connected = b, fmt.Sprintf("%s#%d", b.name, b.conns), w.now
		w.tell(b, p.certificate)
		w.beat(p)
	})
}

func (p *proc) server() bool { return p.roles[0] == subjects.EventServer }

// beat announces p under all its roles.
func (w *world) beat(p *proc) {
	if p.frozen || p.cutoff || p.connected < 0 || p.leaving {
		return
	}
	w.say(p, p.state)
}

func (w *world) say(p *proc, s subjects.State) {
	for _, r := range p.roles {
		p.seq++
		a := subjects.Announcement{
			V: 1, Node: subjects.NodeID(p.node), Role: r, State: s, Addresses: p.addresses,
			Boot: p.boot, Seq: p.seq, Via: p.via,
		}
		if p.plain {
			a.Boot, a.Seq = "", 0
		}
		if p.server() && p.broker.words != nil {
			a.Attrs = subjects.Attrs{subjects.AttrIdentity: "1"}
		}
		w.carry(p.broker, func(o *observer) {
			b := a // the table keeps it
			if o == w.active {
				w.log("%s says %s as %s, seq %d via %s", b.Node, b.State, b.Role, b.Seq, b.Via)
			}
			if o.table.Announce(&b, w.clock()) == nil && s != subjects.Leave {
				o.beats[p.node+" "+string(r)] = w.now
			}
		})
	}
}

// hangUp ends p's connection; reason is what its broker, if it lives, tells
// after d.
func (w *world) hangUp(p *proc, reason string, d time.Duration) {
	if p.connected < 0 {
		return
	}
	p.connected, p.lost, p.cause = -1, w.now, reason
	w.log("%s hangs up %s: %s", p.node, p.via, reason)
	if reason == "" || p.server() || w.rng.IntN(20) == 0 && !w.orderly { // an event may be lost
		return
	}
	b, gone := p.broker, membership.Disconnect{Node: subjects.NodeID(p.node), Boot: p.boot, Via: p.via, Reason: reason}
	w.after(d, func() {
		w.carry(b, func(o *observer) {
			if o == w.active {
				w.log("DISCONNECT %+v", gone)
			}
			o.table.Disconnect(gone, w.clock())
		})
	})
}

// check looks at what a table did. The standby adopts what the active one
// publishes, whose promises are judged.
func (w *world) check(o *observer) {
	o.table.Duplicates()
	events := o.table.Events()
	if len(events) == 0 || o != w.active {
		return
	}
	s := &subjects.Status{V: 1, Time: w.clock()}
	o.table.Fill(s)
	if err := s.Check(); err != nil {
		w.broke("the status breaks the rules: %v", err)
	}
	w.checkLosses(s)
	if m := s.Member("sip_proxy", liar); m != nil {
		w.broke("the liar is in the status: %+v", *m)
	}
	for _, e := range events {
		if w.hash != nil {
			fmt.Fprintln(w.hash, e.Time.Sub(t0), e.Kind, e.Role, e.Node, e.Detail)
		}
		w.log("%s %s %s: %s", e.Kind, e.Role, e.Node, e.Detail)
		if e.Kind == subjects.EventLeave {
			w.judge(&e, s)
		}
		if e.Kind == subjects.EventLeave || e.Kind == subjects.EventJoin {
			w.noteLoss(&e, s)
		}
	}
	if w.hash != nil {
		w.hash.Write(s.EncodeFull(s.Encode()))
	}
	w.status = s
	if w.standby.cut || w.standby.paused {
		return
	}
	w.standby.table.Adopt(s, w.clock())
	w.arm(w.standby)
}

// takeOver makes next the active manager. A member that is missing afterwards
// was removed, whatever next thinks of it.
func (w *world) takeOver(next, standby *observer) {
	before := w.status
	w.active, w.standby = next, standby
	next.table.Events()
	next.table.Adopt(before, w.clock())
	w.standby.table.Adopt(before, w.clock())
	w.check(next)
	w.status = &subjects.Status{V: 1, Time: w.clock()}
	next.table.Fill(w.status)
	w.checkLosses(w.status)
	for _, c := range subjects.Changes(before, w.status) {
		if p := w.proc(c.Node); c.Op == subjects.Left && w.couldHear(p, "connection lost") && p.downs == 0 {
			w.broke("%s as %s got lost in a take-over", c.Node, c.Role)
		}
	}
	w.arm(w.active)
	w.arm(w.standby)
	w.ask(w.active)
	w.ask(w.standby)
}

func (w *world) proc(id subjects.NodeID) *proc {
	return w.procs[slices.IndexFunc(w.procs, func(p *proc) bool { return p.node == string(id) })]
}

// judge looks whether a removal was right.
func (w *world) judge(e *subjects.Event, s *subjects.Status) {
	why, _, _ := strings.Cut(e.Detail, ":")
	w.removals[why]++
	p := w.proc(e.Node)
	if why != "left" && why != "revoked" && len(s.Roles[e.Role]) == 0 {
		w.broke("%s was emptied by failure: %s", e.Role, e.Detail)
	}
	switch why {
	case "left":
		if !p.left {
			w.broke("%s as %s never left", e.Node, e.Role)
		}
	case "check failed":
		if p.downs == 0 {
			w.broke("%s as %s never was down", e.Node, e.Role)
		}
	default:
		if w.couldHear(p, why) {
			w.broke("%s as %s lives on %s since %v, removed: %s", e.Node, e.Role, p.via, w.now-p.connected, e.Detail)
		}
		if silent := w.now - w.active.beats[p.node+" "+string(e.Role)]; why == "silent" && silent < 10*time.Second {
			w.broke("%s as %s was silent for %v only", e.Node, e.Role, silent)
		}
	}
}

// couldHear reports whether p lives and its beats had a way to the manager for
// long enough, or whether it has a right to be waited for: its broker died, and
// it is looking for another one.
func (w *world) couldHear(p *proc, why string) bool {
	until := w.now
	if w.active.cut {
		until = w.active.cutAt
	}
	patience := 8 * time.Second
	if why == "connection lost" {
		patience = 2400 * time.Millisecond // enough for one dial that times out
		if w.now-until > time.Second {
			return false // a manager cut off since then could not hear that the member lives
		}
	}
	switch {
	case !p.alive, p.frozen, p.cutoff, p.leaving:
		return false
	case p.connected >= 0:
		return p.broker.sound() && until-max(p.connected, p.broker.rejoined) > 1200*time.Millisecond
	}
	return !p.server() && p.cause == "" && until > p.lost && w.now-p.lost < patience &&
		p.lost-p.broker.rejoined > 1200*time.Millisecond
}

func (w *world) log(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%v ", w.now) + fmt.Sprintf(format, args...))
	}
}

func (w *world) broke(format string, args ...any) {
	if len(w.broken) < 10 {
		w.broken = append(w.broken, fmt.Sprintf("%v: ", w.now)+fmt.Sprintf(format, args...))
	}
}
