package membership

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A Disconnect is what a living broker says of a client connection that ended.
type Disconnect struct {
	Node   subjects.NodeID
	Boot   string // the connection's name
	Via    string // "<broker>#<connection>", as the member announces it; empty: not known
	Reason string // as nats-server names it
}

// closed is a member's connection that ended.
type closed struct {
	on     bool
	via    string
	at     instant
	due    instant // dead, unless it shows before
	afresh time.Duration
	// renewed says that the grace began anew since this observer missed something.
	renewed bool
}

// disproved reports whether a beat through via shows that the member lives on:
// it came through another connection or, where that is not known, too late to
// have been on its way.
func (c *closed) disproved(via string, now instant) bool {
	return via != "" && c.via != "" && via != c.via || now-c.at >= afterglow
}

// An end is that of a connection which a living broker told of.
type closedConn struct {
	via string
	at  instant
}

// maxClosedConns are remembered of a node.
const maxClosedConns = 8

// end notes that a connection of n ended.
func (n *node) connClosed(via string, now instant) {
	n.lastClosed = now
	if via == "" {
		return
	}
	if len(n.closedConns) >= maxClosedConns {
		n.closedConns = slices.Delete(n.closedConns, 0, 1)
	}
	n.closedConns = append(n.closedConns, closedConn{via, now})
}

// throughClosed reports whether a message came through a connection of n that had
// lastClosed before.
func (n *node) throughClosed(via string, now instant) bool {
	return via != "" && n != nil && slices.ContainsFunc(n.closedConns, func(e closedConn) bool { return e.via == via && now-e.at < closedConnWindow })
}

// Disconnect takes in that a connection ended. It is proof against the members
// that beat through this very connection, unless they show on another one in
// time. A broker that goes away takes its connections along: that proves
// nothing. Brokers themselves are judged by silence only.
func (t *Table) Disconnect(d Disconnect, now time.Time) {
	t.enter(now)
	wait, proof := t.graceFor(d.Reason)
	n := t.nodes[d.Node]
	if proof && d.Boot != "" {
		t.dropPending(d.Node, d.Boot)
	}
	if !proof || n == nil {
		return
	}
	n.connClosed(d.Via, t.now)
	if d.Boot == "" {
		return
	}
	for _, m := range n.members {
		if m.instance.boot != d.Boot {
			m.instance.withdraw(d.Boot)
		}
		wait := max(wait, t.minGrace(m))
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
		m.closed = closed{on: true, via: d.Via, at: t.now, due: t.now + wait, afresh: wait}
		t.arm(m)
	}
}

// graceFor is how long the member of a connection that ended for reason may
// take to show again. A socket that its client closed most often is a process
// that ended. When the broker ends it, as on missing pongs, the client may live
// and first has to find out.
func (t *Table) graceFor(reason string) (wait time.Duration, proof bool) {
	switch r := strings.ToLower(reason); {
	case strings.Contains(r, "shutdown"), strings.Contains(r, "lame duck"):
		return 0, false
	case r == "", r == "client closed", r == "read error", r == "write error":
		return t.cfg.Grace, true
	}
	return max(t.cfg.StaleGrace, t.cfg.Grace), true
}

// minGrace is the least patience with m. A client that fell silent before its
// connection ended may have given that up and live. And where this observer
// heard nothing for a while, or m's broker said nothing, the news may be old: m
// may go through another connection by now.
func (t *Table) minGrace(m *member) time.Duration {
	b := m.broker
	switch {
	case t.now-t.resumed < t.cfg.BareGrace, m.last < t.resumed, t.now-t.heard > gapAfter:
		return t.cfg.BareGrace
	case t.now-m.met < t.cfg.BareGrace, b != nil && (t.now-b.resumed < t.cfg.BareGrace || t.now-b.last > missedAfter):
		return t.cfg.BareGrace
	case t.now-m.last > missedAfter:
		return t.cfg.StaleGrace
	}
	return 0
}

// arm sets m's timer to when m must be looked at next.
func (t *Table) arm(m *member) {
	at := never
	switch {
	case m.cause == alive:
		at = m.last + t.cfg.Dead
	case m.listed: // its role decides
	case m.damping.on:
		at = m.last + t.cfg.MaxHoldDown
	default:
		at = m.last + forgetAfter
	}
	if m.closed.on {
		at = min(at, m.closed.due)
	}
	if m.role.damped[m] {
		at = min(at, m.damping.until())
	}
	if m.late {
		at = min(at, m.nextChange())
	}
	if at <= t.now {
		at = t.now + time.Millisecond
	}
	t.timers.set(&m.timer, at)
}

// wake is what m's timer does. Beats do not touch the timer, so it may find
// that nothing is due yet.
func (t *Table) wake(m *member) {
	if m.late && t.now >= m.nextChange() {
		if m.late = false; m.cause == alive {
			t.settle(m)
		}
	}
	quiet := t.now - m.last
	switch {
	case m.closed.on && m.closed.due <= t.now:
		t.markDead(m, lost, "connection lost")
	case m.cause == alive && quiet >= t.cfg.Dead:
		if hold := t.heldUntil(m); hold > t.now {
			if m.closed.on {
				hold = min(hold, m.closed.due)
			}
			t.timers.set(&m.timer, hold)
			return
		}
		t.markDead(m, silent, "silent")
	case m.role.damped[m] && t.now >= m.damping.until():
		t.settle(m)
	case m.cause != alive && !m.listed && quiet >= forgetAfter:
		t.forget(m)
		return
	case m.cause != alive && !m.listed && quiet >= t.cfg.MaxHoldDown:
		t.endHoldDown(m)
	}
	t.arm(m)
}

// heldUntil is until when m's silence is not held against it.
func (t *Table) heldUntil(m *member) instant {
	if t.blind.until > t.now {
		return t.blind.until
	}
	return t.brokerHold(m)
}

// markDead notes that m is dead. What follows is decided when all who died with it
// are known.
func (t *Table) markDead(m *member, c cause, why string) {
	if m.cause == alive && t.replaceDead(m) {
		return
	}
	m.cause = c
	m.why = why
	m.died = t.now
	if c == lost {
		m.closed = closed{}
	}
	m.damping.restart()
	t.undamp(m)
	t.detach(m)
	if !m.listed {
		return
	}
	if c == silent {
		t.silent = append(t.silent, m)
	}
	t.count(m)
	t.failed = append(t.failed, m)
}

// judgeSilent judges those who fell silent together.
func (t *Table) judgeSilent() {
	if len(t.silent) > 0 {
		t.alarm(t.silent)
		t.silent = t.silent[:0]
	}
}

// settle brings m's place in the status in line with what is known of it.
func (t *Table) settle(m *member) {
	switch {
	case m.fine() && !m.listed && t.damp(m):
	case m.fine():
		t.present(m)
	case m.listed:
		t.failed = append(t.failed, m)
	case m.cause == alive && len(m.role.list) == 0:
		t.present(m) // a wrong address lets a client retry, none is cached
	default:
		m.damping.restart()
		t.undamp(m)
	}
}

// flush decides what this call left open, so that who fails together is judged
// together.
func (t *Table) flush() {
	for _, m := range t.failed {
		if m.listed && !m.fine() {
			t.decide(m)
		}
	}
	t.failed = t.failed[:0]
	for len(t.dirty) > 0 {
		rs := slices.SortedFunc(maps.Keys(t.dirty), func(a, b *role) int { return cmp.Compare(a.name, b.name) })
		clear(t.dirty)
		for _, r := range rs {
			t.review(r)
		}
	}
}

// decide removes a failed member, or keeps it and says so.
func (t *Table) decide(m *member) {
	r := m.role
	if r.canLose() && (t.proven(m) || t.release(r)) {
		t.remove(m)
		return
	}
	t.present(m)
	if r.canLose() {
		t.timers.sooner(&r.timer, max(t.releaseAt(r), t.now+heartbeat))
	}
}

// proven reports whether m's failure is beyond the uncertainty of silence: it
// announced so, or its connection ended, and this observer heard all since.
func (t *Table) proven(m *member) bool {
	switch m.cause {
	case silent:
		return false
	case lost:
		return m.died >= t.resumed
	}
	return m.last >= t.resumed
}

// canLose reports whether r can do without its failed members (guard G2): a member
// is up, or the role is not needed. Monitors only look on.
func (r *role) canLose() bool { return r.ups > 0 || r.name == subjects.Monitor }

// review looks at a whole role again: a member came up or the last one went,
// or a guard may let go.
func (t *Table) review(r *role) {
	if r.ups == 0 {
		t.admit(r)
	}
	bad := slices.SortedFunc(maps.Keys(r.bad), func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.cause, a.cause), cmp.Compare(a.last, b.last), cmp.Compare(a.key.node, b.key.node))
	})
	held := false
	for _, m := range bad {
		t.decide(m)
		held = held || m.listed && !t.proven(m)
	}
	t.reviewPanic(r, held)
}
