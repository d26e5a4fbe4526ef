package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/manager/core"
	"thor/manager/election"
	"thor/subjects"
)

const (
	aloneAfter = 3 * time.Second
	aloneTick  = 250 * time.Millisecond
)

// An audience is who subscribes to a message.
type audience int

const (
	toManagers  audience = iota // announcements, ended connections, certificates, the lease
	toEverybody                 // ticks and deltas
)

// Messages that are not values of other packages.
type (
	identityGet struct{}
	overflow    struct{} // messages were lost
	fullAsk     struct{} // to a member: its full announcements are wanted
	closedGet   election.Ask
	closedAt    election.Ask
	direct      struct { // to one process, wherever it is connected
		to *proc
		m  any
	}
	query struct { // for the snapshot, to one of the managers that may answer
		from *proc
		id   int
		req  *subjects.SnapshotRequest
		at   *proc // not nil: to this manager
	}
	notice struct {
		broker subjects.NodeID
		alone  bool
	}
	question struct { // of one manager to another: what it holds, current or not
		from  *proc
		reply func(core.Holding) any
	}
	operation struct { // on a bucket
		from *proc
		do   func(b *broker)
	}
)

// A broker carries the messages of the processes that are connected to it.
type broker struct {
	w     *world
	index int
	name  string
	boots int

	alive, frozen bool
	life          int
	conns         int
	links         []*link
	words         []*subjects.Identity
	beat          uint64
	seen          *subjects.Mark
	disk          *subjects.Mark // as it was when an epoch began
	lonely        time.Duration  // since when it has no route; -1: it has one
	alone         bool           // and says so
	noticed       time.Duration  // when it said so last
	ticked        time.Duration  // when a tick passed last…
	tick          subjects.Mark  // …and its mark
	stalled       []func()       // while it is frozen
}

func newBroker(w *world, i int) *broker {
	return &broker{w: w, index: i, name: fmt.Sprintf("b%d", i+1), alive: true, boots: 1, lonely: -1}
}

// site is where it is; empty: there are no sites.
func (b *broker) site() subjects.Site {
	if !b.w.wan.on {
		return ""
	}
	return siteNames[b.index]
}

func (b *broker) addr() netip.Addr { return netip.AddrFrom4([4]byte{10, 1, 0, byte(b.index + 1)}) }

// after lets the broker's process do something later.
func (b *broker) after(d time.Duration, do func()) {
	life := b.life
	b.w.after(d, func() {
		switch {
		case b.life != life:
		case b.frozen:
			b.stalled = append(b.stalled, do)
		default:
			do()
		}
	})
}

// announce begins the life of a broker as a member.
func (b *broker) announce() {
	id := b.identity(subjects.NodeID(b.name), b.addr(), []subjects.Role{subjects.EventServer})
	b.note(id)
	b.after(0, func() { b.publish(id, toManagers) })
	var beat func()
	beat = func() {
		b.beat++
		b.publish(&subjects.Announcement{
			V: subjects.Version, Node: subjects.NodeID(b.name), Role: subjects.EventServer, Boot: fmt.Sprintf("%s-%d", b.name, b.boots), Seq: b.beat,
			Via: b.name + "#1", Addresses: []netip.Addr{b.addr()}, Weight: subjects.DefaultWeight, State: subjects.Up, Seen: b.seen, Site: b.site(),
			Attrs: subjects.Attrs{subjects.AttrIdentity: "1", subjects.AttrRoutes: strconv.Itoa(len(b.routes())), subjects.AttrPeers: strings.Join(b.routes(), ",")},
		}, toManagers)
		b.after(b.w.between(900, 1100), beat)
	}
	var look func()
	look = func() {
		b.lookRound()
		b.after(aloneTick, look)
	}
	b.after(aloneTick, look)
	b.conns = 1 // its own
	b.after(b.w.between(10, 1000), beat)
}

// routes are the other brokers that b has a route to.
func (b *broker) routes() (names []string) {
	for i, r := range b.w.routes[b.index] {
		if r != nil && r.up {
			names = append(names, b.w.brokers[i].name)
		}
	}
	return names
}

// lookRound finds out whether this broker is alone: it has had no route for 3 s.
// Its clients look for another one then.
func (b *broker) lookRound() {
	switch {
	case slices.ContainsFunc(b.w.routes[b.index][:], func(r *route) bool { return r != nil && r.up }):
		if b.alone {
			b.notice(false)
		}
		b.lonely, b.alone = -1, false
	case b.lonely < 0:
		b.lonely = b.w.now
	case !b.alone && b.w.now-b.lonely >= aloneAfter:
		b.alone = true
		b.w.log("%s is alone", b.name)
		b.w.stats.count("broker", "was alone")
	}
	if b.alone && b.w.now-b.noticed >= time.Second {
		b.notice(true)
	}
}

// notice tells the clients that this broker is alone, or is no more.
func (b *broker) notice(alone bool) {
	b.noticed = b.w.now
	b.publish(notice{subjects.NodeID(b.name), alone}, toManagers)
	for _, l := range b.links {
		if !l.blocked && !l.p.frozen && l.p.link == l {
			l.p.roamer.Notice(alone, l.p.clock())
		}
	}
}

func (b *broker) kill() {
	if !b.alive {
		return
	}
	b.w.log("%s is killed", b.name)
	b.alive, b.frozen = false, false
	b.life++
	b.stalled, b.words, b.seen = nil, nil, nil
	b.w.bucket.forget(b)
	b.w.store.forget(b)
	links := b.links
	b.links = nil
	for _, l := range links {
		l.brokerUp = false
		if l.p.reaches(b) && l.clientUp {
			l.ended("the broker died")
		}
	}
	for _, r := range b.w.routes[b.index] {
		if r != nil {
			r.end()
		}
	}
	b.w.changed()
}

func (b *broker) start() {
	if b.alive {
		return
	}
	b.w.log("%s starts", b.name)
	b.alive, b.conns, b.beat, b.lonely, b.alone, b.ticked = true, 0, 0, -1, false, 0
	b.seen = b.disk
	b.life++
	b.boots++
	b.w.bucket.back(b)
	b.announce()
	b.w.changed()
}

func (b *broker) freeze() {
	b.w.log("%s freezes", b.name)
	b.frozen = true
	b.w.changed()
}

func (b *broker) thaw() {
	if !b.frozen {
		return
	}
	b.w.log("%s goes on", b.name)
	b.frozen = false
	do := b.stalled
	b.stalled = nil
	b.w.changed()
	for _, f := range do {
		f()
	}
}

// handle takes a message from a client.
func (b *broker) handle(l *link, m any) {
	switch m := m.(type) {
	case *subjects.Tick, *subjects.Delta:
		b.publish(m, toEverybody)
	case query:
		b.ask(m)
	case direct:
		b.route(m)
	case operation:
		m.do(b)
	case identityGet, closedGet:
		b.toBrokers(m)
	default:
		b.publish(m, toManagers)
	}
}

// publish hands m to all who subscribe to it, at each broker that b reaches.
func (b *broker) publish(m any, to audience) {
	b.each(func(o *broker) { o.spread(m, to) })
}

// each does f at b and at each broker it has a route to.
func (b *broker) each(f func(*broker)) {
	f(b)
	for i, r := range b.w.routes[b.index] {
		if r != nil {
			r.carry(b, func() { f(b.w.brokers[i]) })
		}
	}
}

// spread hands m to the clients of this broker that subscribe to it.
func (b *broker) spread(m any, to audience) {
	if k, ok := m.(*subjects.Tick); ok {
		b.ticked, b.tick = b.w.now, k.Mark()
		for _, l := range b.links {
			if !l.blocked && !l.p.frozen && l.p.link == l {
				l.p.heardTick(b.tick)
			}
		}
		b.witness(k.Mark())
	}
	if d, ok := m.(*subjects.Delta); ok {
		b.witness(d.Mark())
	}
	for _, l := range b.links {
		if _, is := l.p.app.(*manager); is || to == toEverybody && subscribes(l.p.app) {
			l.down(m)
		}
	}
}

// witness remembers the newest mark that was told, on disk when an epoch begins.
func (b *broker) witness(mark subjects.Mark) {
	if b.seen != nil && !mark.After(*b.seen) {
		return
	}
	b.seen = &mark
	if b.disk == nil || mark.Epoch > b.disk.Epoch {
		b.disk = &mark
	}
}

// subscribes reports whether a follows the status.
func subscribes(a app) bool {
	_, is := a.(*observer)
	return is
}

// route hands a message to one process.
func (b *broker) route(m direct) {
	b.each(func(o *broker) {
		for _, l := range o.links {
			if l.p == m.to {
				l.down(m.m)
				return
			}
		}
	})
}

// ask hands a request to one of the managers that answer, of this broker first.
func (b *broker) ask(q query) {
	var near, far []*link
	b.w.eachLink(func(l *link) {
		m, is := l.p.app.(*manager)
		switch {
		case !is || q.at != nil && q.at != l.p || q.at == nil && !m.answers:
		case l.b == b:
			near = append(near, l)
		default:
			if r := b.w.routes[b.index][l.b.index]; r.up {
				far = append(far, l)
			}
		}
	})
	if len(near) == 0 {
		near = far
	}
	if len(near) == 0 {
		b.route(direct{q.from, &answer{id: q.id, code: subjects.ErrorBehind}}) // no responders
		return
	}
	l := near[b.w.rng.IntN(len(near))]
	if l.b == b {
		l.down(q)
		return
	}
	b.w.routes[b.index][l.b.index].carry(b, func() { l.down(q) })
}

func (w *world) eachLink(f func(*link)) {
	for _, b := range w.brokers {
		for _, l := range b.links {
			f(l)
		}
	}
}

// toBrokers lets each broker answer a question of managers.
func (b *broker) toBrokers(m any) {
	b.each(func(o *broker) {
		switch m := m.(type) {
		case identityGet:
			for _, x := range o.words {
				o.publish(x, toManagers)
			}
		case closedGet:
			if l := (subjects.Link{Boot: m.Boot, Via: m.Via}); string(l.Broker()) == o.name && !slices.ContainsFunc(o.links, func(x *link) bool {
				return x.via == m.Via && x.boot == m.Boot
			}) {
				o.w.stats.count("broker", "told that a connection is closed")
				o.publish(closedAt(m), toManagers)
			}
		}
	})
}

// vouch tells managers what the certificate of p says, before its first message.
func (b *broker) vouch(p *proc) {
	id := b.identity(p.node, p.addr, p.app.roles())
	b.note(id)
	b.publish(id, toManagers)
}

func (b *broker) identity(node subjects.NodeID, addr netip.Addr, roles []subjects.Role) *subjects.Identity {
	return &subjects.Identity{
		V: subjects.Version, Broker: subjects.NodeID(b.name), Node: node, Serial: fmt.Sprintf("%02x%02x", addr.As4()[2], addr.As4()[3]),
		NotAfter: t0.Add(10_000 * time.Hour), Roles: roles, Addresses: []netip.Addr{addr},
	}
}

func (b *broker) note(id *subjects.Identity) {
	for i, x := range b.words {
		if x.Node == id.Node {
			b.words[i] = id
			return
		}
	}
	b.words = append(b.words, id)
}

// A route joins two brokers.
type route struct {
	w    *world
	ends [2]*broker

	cut     bool // packets do not go through
	up      bool // as the brokers see it
	blocked bool
	since   time.Duration
	waiting []func()
	at      [2]time.Duration // of the newest message to each end, so that they stay in order
	life    int
}

// carry takes something to the other end than from.
func (r *route) carry(from *broker, do func()) {
	to, i := r.ends[0], 0
	if from == to {
		to, i = r.ends[1], 1
	}
	if !r.up {
		return
	}
	life := r.life
	f := func() {
		if r.life == life && to.alive {
			do()
		}
	}
	if r.blocked {
		r.waiting = append(r.waiting, f)
		return
	}
	r.at[i] = max(r.at[i], r.w.now+r.w.hop()+r.w.way(r.ends[0].index, r.ends[1].index))
	r.w.after(r.at[i]-r.w.now, func() {
		if r.blocked && r.life == life {
			r.waiting = append(r.waiting, f)
			return
		}
		f()
	})
}

func (r *route) sound() bool {
	return !r.cut && r.ends[0].alive && r.ends[1].alive && !r.ends[0].frozen && !r.ends[1].frozen
}

// update takes note of whether packets go through. A route that does not answer
// pings ends after 2 to 3 s; brokers connect again a while after they can.
func (r *route) update() {
	blocked := !r.sound()
	if blocked == r.blocked {
		return
	}
	r.blocked = blocked
	r.plan()
	if !blocked {
		do := r.waiting
		r.waiting = nil
		for _, f := range do {
			r.w.after(r.w.hop(), f)
		}
	}
}

// plan schedules what follows from a change of blocked.
func (r *route) plan() {
	r.since = r.w.now
	since := r.since
	if r.blocked {
		r.w.after(r.w.between(2000, 3000), func() {
			if r.blocked && r.since == since {
				r.end()
			}
		})
		return
	}
	r.w.after(r.w.between(200, 1500), func() {
		if !r.blocked && r.since == since && !r.up {
			r.w.log("route %s-%s is back", r.ends[0].name, r.ends[1].name)
			r.up = true
		}
	})
}

// end is the end of the connection between two brokers.
func (r *route) end() {
	if r.up {
		r.w.log("route %s-%s ends", r.ends[0].name, r.ends[1].name)
	}
	r.up, r.waiting = false, nil
	r.life++
}

// changed looks at all connections after something happened to the network.
func (w *world) changed() {
	w.truth.survey()
	for i := range w.routes {
		for j := range i {
			w.routes[i][j].update()
		}
	}
	w.eachLink((*link).update)
	for _, p := range w.procs {
		if p.link != nil {
			p.link.update()
		}
	}
}
