package membership

import (
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A Disconnect is what a living broker says of a client connection that ended.
type Disconnect struct {
	Node   subjects.NodeID
	Boot   string        // the connection's name
	Via    string        // "<broker>#<connection>", as the member announces it; empty: not known
	Reason string        // as nats-server names it
	RTT    time.Duration // of the connection, as its broker measured it; 0: not known
}

// closed is a member's connection that ended.
type closed struct {
	on       bool
	via      string
	byBroker bool // gave it up: the client may live, see unsure
	silent   bool // the client had been silent: it may have given it up, and live
	at       instant
	due      instant // dead, unless it shows before
	afresh   time.Duration
	// renewed says that the grace began anew since this observer missed something.
	renewed bool
}

// disproved reports whether a beat through via shows that the member lives on:
// it came through another connection or, where that is not known, too late to
// have been on its way.
func (c *closed) disproved(via string, now instant) bool {
	return via != "" && c.via != "" && via != c.via || now-c.at >= afterglow
}

// A closedConn is a connection of which a living broker told that it ended.
type closedConn struct {
	via string
	at  instant
}

// maxClosedConns are remembered of a node.
const maxClosedConns = 8

// connClosed notes that a connection of n ended.
func (n *node) connClosed(via string, now instant) {
	if via == "" {
		return
	}
	if len(n.closedConns) >= maxClosedConns {
		n.closedConns = slices.Delete(n.closedConns, 0, 1)
	}
	n.closedConns = append(n.closedConns, closedConn{via, now})
}

// throughClosed reports whether a message came through a connection of n that had
// ended before.
func (n *node) throughClosed(via string, now instant) bool {
	return via != "" && n != nil && slices.ContainsFunc(n.closedConns, func(e closedConn) bool { return e.via == via && now-e.at < closedConnWindow })
}

// mayBeatThrough reports whether a member of n beats through via, or may.
func (n *node) mayBeatThrough(via string) bool {
	return via == "" || slices.ContainsFunc(n.members, func(m *member) bool { return m.via == "" || m.via == via })
}

// Disconnect takes in that a connection ended. It is proof against the members
// that beat through this very connection, unless they show on another one in
// time. A broker that goes away takes its connections along: that proves
// nothing, nor does a connection that a broker gave up which is cut off itself.
// Brokers themselves are judged by silence only.
func (t *Table) Disconnect(d Disconnect, now time.Time) {
	t.enter(now)
	end := endOf(d.Reason)
	n := t.nodes[d.Node]
	if end != byShutdown && d.Boot != "" {
		t.dropPending(d.Node, d.Boot)
	}
	if end == byShutdown || n == nil {
		return
	}
	if d.Boot == "" && !n.mayBeatThrough(d.Via) {
		return // a connection beside, such as one that looked for ticks at another broker
	}
	n.connClosed(d.Via, t.now)
	if end == byBroker && t.cutOff(subjects.ViaBroker(d.Via)) || t.saysAlone(subjects.ViaBroker(d.Via)) {
		return
	}
	if n.moves(d) {
		return
	}
	n.lastClosed = t.now
	if d.Boot == "" {
		return
	}
	for _, m := range n.members {
		if m.instance.boot != d.Boot {
			m.instance.withdraw(d.Boot)
		}
		wait := max(t.graceFor(end), t.minGrace(m)) + redial(d.RTT)
		switch {
		case m.key.role == subjects.EventServer, m.instance.boot != d.Boot, m.adopted, m.closed.on:
			continue
		case m.cause == lost, m.cause == left, m.cause == revoked:
			continue
		case m.via == "" || d.Via == "":
			wait = max(wait, t.cfg.BareGrace)
		case m.via != d.Via:
			continue
		}
		m.closed = closed{on: true, via: d.Via, byBroker: end == byBroker, silent: t.hadFallenSilent(m), at: t.now, due: t.now + wait, afresh: wait}
		t.arm(m)
	}
}

// An ending is which side ended a connection.
type ending uint8

const (
	byClient   ending = iota // its socket closed: most often a process that ended
	byBroker                 // it gave up, as on missing pongs or a full buffer: the client may live and first has to find out
	byShutdown               // the broker itself ended
)

func endOf(reason string) ending {
	switch r := strings.ToLower(reason); {
	case strings.Contains(r, "shutdown"), strings.Contains(r, "lame duck"):
		return byShutdown
	case r == "", r == "client closed", r == "read error", r == "write error":
		return byClient
	}
	return byBroker
}

// graceFor is how long the member of a connection that ended may take to show again.
func (t *Table) graceFor(end ending) time.Duration {
	if end == byBroker {
		return max(t.cfg.StaleGrace, t.cfg.Grace)
	}
	return t.cfg.Grace
}

// A client that reconnects over a long way takes three round trips for TCP, TLS and
// the greeting, one to find out, and one for its beat; the way to the other broker
// may be longer.
const (
	redialTrips = 6
	longestTrip = 500 * time.Millisecond
)

// redial is what the way to its broker adds to the time in which a member shows again.
func redial(rtt time.Duration) time.Duration { return redialTrips * min(max(rtt, 0), longestTrip) }

// moves reports whether the process of a connection that ended had said that it
// leaves it for another one.
func (n *node) moves(d Disconnect) bool {
	return d.Boot != "" && slices.ContainsFunc(n.members, func(m *member) bool { return m.instance.boot == d.Boot && m.moves == d.Via && d.Via != "" })
}

// noteMove takes in that a process leaves its connection for another one: the end of
// that, told before or after, proves nothing. If it does not get through elsewhere,
// its silence decides.
func (t *Table) noteMove(a *subjects.Announcement) {
	m := t.members[key{a.Role, a.Node}]
	if m == nil || a.Via == "" || m.instance.boot != a.Boot || m.via != a.Via {
		return
	}
	m.moves = a.Via
	if m.closed.on && m.closed.via == a.Via {
		m.closed = closed{}
		m.node.lastClosed = longAgo // its silence is explained by nothing
		t.arm(m)
	}
}

// minGrace is the least patience with m. A client that fell silent before its
// connection ended may have given that up and live; what it had sent may come just
// before the end. And where this observer
// heard nothing for a while, or m's broker said nothing, the news may be old: m
// may go through another connection by now.
func (t *Table) minGrace(m *member) time.Duration {
	b := m.broker
	switch {
	case t.now-t.resumed < t.cfg.BareGrace, m.last < t.resumed, t.now-t.heard > gapAfter:
		return t.cfg.BareGrace
	case t.now-m.met < t.cfg.BareGrace, b != nil && (t.now-b.resumed < t.cfg.BareGrace || t.now-b.last > t.missed()):
		return t.cfg.BareGrace
	case t.hadFallenSilent(m):
		return t.cfg.StaleGrace
	}
	return 0
}

// hadFallenSilent reports whether m fell silent before its connection ended: what it
// had sent may have come just before that.
func (t *Table) hadFallenSilent(m *member) bool {
	return t.now-m.last > t.missed() || m.returned > 0 && t.now-m.returned < t.cfg.StaleGrace
}

// unsure reports whether the end of m's connection, whose grace is over, proves
// nothing: the broker, or the client, gave it up while it, or this observer, was cut off from the
// others, or while other nodes lost it at the same time. A rack that loses its way
// to two brokers finds the third one only when its dials have timed out. Or input was lost: the
// process may have said that it moves. Or the two are in different sites: the way between these may
// be cut while the member has another one. Then silence decides.
func (t *Table) unsure(m *member) bool {
	c := &m.closed
	return t.saysAlone(subjects.ViaBroker(c.via)) || (c.givenUp() || t.missedAt >= m.last) && (t.cutOff(subjects.ViaBroker(c.via)) || t.inCompany(m) || t.incidentOf(m.node) != nil || t.farFrom(m, c.via))
}

// farFrom reports whether m and the broker of via are in different sites, as far as sites count.
func (t *Table) farFrom(m *member, via string) bool {
	b := t.nodes[subjects.NodeID(subjects.ViaBroker(via))]
	return b != nil && b.site() != "" && m.node.site() != "" && b.site() != m.node.site()
}

// givenUp reports whether one side gave the connection up while the other may live.
func (c *closed) givenUp() bool { return c.byBroker || c.silent }

// deaf reports whether nothing at all was heard since the grace of m's connection was over: what
// shows that the process lives may wait for this observer, which may be cut off. That is known soon.
func (t *Table) deaf(m *member) bool {
	c := &m.closed
	return c.givenUp() && t.heard < c.due && t.now <= c.due+isolatedAfter
}

// saysAlone reports whether broker name, or any if that is empty, says that it is
// alone, and its clients may be on their way to others, which this observer may not
// hear. One that stays alone, as the last of a network, is not doubted for ever.
func (t *Table) saysAlone(name string) bool {
	doubted := func(a aloneness) bool { return t.now < a.until && t.now-a.since < 2*t.cfg.Dead }
	if name != "" {
		return doubted(t.alone[name])
	}
	for _, a := range t.alone {
		if doubted(a) {
			return true
		}
	}
	return false
}

// cutOff reports whether what is known of broker name, or of this observer, leaves
// open that the clients whose connections it gave up live on elsewhere: it says
// that it is alone, this observer was cut off, or another broker of the status is
// not heard, or only just again, or is lost since not long ago: they may have gone
// there. A lost one may run behind a route that is cut, while a third one has routes to both.
func (t *Table) cutOff(name string) bool {
	if t.saysAlone(name) || t.blind.cut && t.now < t.blind.until {
		return true
	}
	for node, a := range t.losses.brokers {
		if a.lost != nil && string(node) != name && t.now-(a.end-t.cfg.LostFor) < lostBrokerFor {
			return true
		}
	}
	r := t.roles[subjects.EventServer]
	return r != nil && slices.ContainsFunc(r.list, func(m *member) bool {
		o := t.brokers[string(m.key.node)]
		return string(m.key.node) != name && (o == nil || t.now-o.last > t.missed() || t.now-o.resumed < t.cfg.BareGrace)
	})
}

// inCompany reports whether another node that beat through m's broker fell silent
// when m did, and still is.
func (t *Table) inCompany(m *member) bool {
	b := m.broker
	if b == nil {
		return false
	}
	for id := range b.nodes {
		n := t.nodes[id]
		if n != nil && n != m.node && t.now-n.last > t.missed() && (n.last-m.last).Abs() <= t.missed() && n.alive() {
			return true
		}
	}
	return false
}

// aloneFor is how long a broker's word that it is alone holds; it repeats that each second.
const aloneFor = 3 * time.Second

// An aloneness is what a broker says of itself: that it is alone.
type aloneness struct{ since, until instant }

// Alone takes in that a broker, the one that this observer is connected to, says that
// it is alone, or that it is no more. While it is alone, silence proves nothing
// either: who is silent may beat elsewhere.
func (t *Table) Alone(broker subjects.NodeID, alone bool, now time.Time) {
	t.enter(now)
	name := string(broker)
	a, known := t.alone[name]
	switch {
	case !alone:
		delete(t.alone, name)
		return
	case !known && len(t.alone) >= maxAlone:
		return
	case t.now >= a.until:
		a.since = t.now
	}
	a.until = t.now + aloneFor
	t.alone[name] = a
	if t.saysAlone(name) {
		t.beginBlind("is connected to a broker that is alone")
	}
}
