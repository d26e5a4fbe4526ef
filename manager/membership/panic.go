package membership

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// panicWindow is within which nodes that fall silent count as one incident.
const panicWindow = 10 * time.Second

// A loss is a removal by silence.
type loss struct {
	key       key
	host      netip.Addr
	at        instant
	explained bool
}

// A census counts nodes: those thought alive until now, and how many of them
// are falling silent together.
type census struct {
	silent, total int
	hosts         map[netip.Addr]*census // the nodes of each machine
}

func (c *census) add(host netip.Addr, silent bool) {
	count := func(c *census) {
		if c.total++; silent {
			c.silent++
		}
	}
	count(c)
	if c.hosts == nil {
		c.hosts = make(map[netip.Addr]*census)
	}
	h := c.hosts[host]
	if h == nil {
		h = &census{}
		c.hosts[host] = h
	}
	count(h)
}

// incident is how many failures it takes to explain the silence, of how many that there could
// be. A machine is one, where all its nodes are silent, and one that could fail, where all
// beat: each of its programs may be a node of its own. Where some of its nodes are silent and
// others beat, the machine is not what failed, and each counts; so does each without an
// address of a machine.
func (c *census) incident() (silent, total int) {
	for addr, h := range c.hosts {
		if addr.IsValid() && (h.silent == 0 || h.silent == h.total) {
			h = &census{silent: min(h.silent, 1), total: 1}
		}
		silent, total = silent+h.silent, total+h.total
	}
	return silent, total
}

// reason is what the guard says: the nodes and, where machines counted as one each, how many that made.
func (c *census) reason() string {
	text := fmt.Sprintf("%d of %d nodes fell silent at once", c.silent, c.total)
	if silent, total := c.incident(); silent != c.silent || total != c.total {
		text += fmt.Sprintf(" (%d of %d by machine)", silent, total)
	}
	return text
}

// host is the machine that m runs on, by the least of the addresses that the status shows,
// which its certificate bounds. Loopback addresses are of no machine.
func (m *member) host() (host netip.Addr) {
	for _, a := range m.shown.Addresses {
		if !a.IsLoopback() && (!host.IsValid() || a.Less(host)) {
			host = a
		}
	}
	return host
}

// alarm looks whether the members that just fell silent are too many.
func (t *Table) alarm(dead []*member) {
	t.recent = slices.DeleteFunc(t.recent, func(l loss) bool { return t.now-l.at > panicWindow })
	excused := t.excused()
	if t.panic == nil {
		c := t.countNodes(excused)
		if silent, total := c.incident(); silent >= 2 && silent*5 > total {
			t.panic = t.raise(guardKey{name: GuardPanic}, c.reason())
			t.panic.until = t.now + t.cfg.PanicHold
			t.timers.set(&t.panicTimer, t.panic.until)
		}
	}
	looked := make(map[*role]bool, len(dead))
	for _, m := range dead {
		r := m.role
		if r.panic != nil || looked[r] {
			continue
		}
		looked[r] = true
		c := t.countRole(r, excused)
		silent, total := c.incident()
		mine := silent >= 2 && silent*3 > total
		if !mine && t.panic == nil {
			continue
		}
		begin := t.raiseQuietly // what the guard for all roles says is enough
		if mine {
			begin = t.raise
		}
		r.panic = begin(guardKey{name: GuardPanic, role: r.name}, c.reason())
		r.panic.until, r.panic.stable = t.now+t.cfg.PanicHold, c.total+t.lostBefore(r)
		t.timers.sooner(&r.timer, r.panic.until)
	}
}

// explained reports whether the silence of n since its last beat has a cause that
// a living broker told: a connection of it ended, and nothing was heard after.
// Silence like that is not this observer's or the network's fault, so it makes
// no panic: or one certificate, which is cut off or says no more, would hold back
// the removal of others.
func (n *node) explained(last instant) bool { return n.lastClosed+afterglow >= last }

// excused are the brokers that G5 suspects: the silence of their members has
// an explanation already.
func (t *Table) excused() map[*broker]bool {
	ex := make(map[*broker]bool)
	for _, b := range t.brokers {
		if t.suspected(b) {
			ex[b] = true
		}
	}
	return ex
}

func (t *Table) countRole(r *role, excused map[*broker]bool) census {
	var c census
	for _, m := range r.list {
		switch {
		case m.wentWithSite(), t.incidentOf(m.node) != nil:
		case m.cause != lost && t.now-m.last >= t.quiet() && m.node.explained(m.last):
		case m.cause == silent && t.now-m.died <= panicWindow:
			c.add(m.host(), true)
		case m.cause == alive:
			c.add(m.host(), t.now-m.last >= t.quiet() && !excused[m.broker])
		}
	}
	for i, l := range t.recent {
		if l.key.role == r.name && !l.explained && !t.members[l.key].isListed() && !t.lostSince(i, func(o key) bool { return o == l.key }) {
			c.add(l.host, true)
		}
	}
	return c
}

func (t *Table) countNodes(excused map[*broker]bool) census {
	var c census
	for _, n := range t.nodes {
		here, excuse, host := false, false, netip.Addr{}
		for _, m := range n.members {
			if m.listed && !m.wentWithSite() && (m.cause == alive || m.cause == silent && t.now-m.died <= panicWindow) {
				if h := m.host(); !here || h.Less(host) {
					host = h
				}
				here = true
				excuse = excuse || excused[m.broker]
			}
		}
		quiet := t.now-n.last >= t.quiet()
		if !here || quiet && n.explained(n.last) || t.incidentOf(n) != nil {
			continue
		}
		c.add(host, quiet && !excuse)
	}
	for i, l := range t.recent {
		n := t.nodes[l.key.node]
		if !l.explained && (n == nil || n.listed == 0) && !t.lostSince(i, func(o key) bool { return o.node == l.key.node }) {
			c.add(l.host, true)
		}
	}
	return c
}

// lostBefore counts the nodes that a former manager let go from r for silence not long
// ago: the half that stays is half of what was there before it began.
func (t *Table) lostBefore(r *role) (n int) {
	for k, a := range t.losses.by {
		if k.role == r.name && a.lost != nil && a.lost.Reason == whySilent && !a.told.IsZero() && t.cfg.LostFor-(a.end-t.now) <= incidentFor {
			n++
		}
	}
	return n
}

// lostSince reports whether a loss after the i-th is the same for the counter.
func (t *Table) lostSince(i int, same func(key) bool) bool {
	return slices.ContainsFunc(t.recent[i+1:], func(l loss) bool { return same(l.key) })
}

func (m *member) isListed() bool { return m != nil && m.listed }

// healthy reports whether those who are not dead beat as they should.
func (t *Table) healthy() bool {
	rest, quiet := 0, 0
	for _, n := range t.nodes {
		silent := t.now-n.last >= t.quiet()
		if !n.alive() || silent && n.explained(n.last) || t.incidentOf(n) != nil {
			continue
		}
		rest++
		if silent {
			quiet++
		}
	}
	return rest > 0 && quiet*5 <= rest
}

// reviewPanic ends r's panic when its time is over and no doubted member is held,
// else sees that it is looked at again.
func (t *Table) reviewPanic(r *role, doubted bool) {
	switch {
	case r.panic == nil:
	case doubted || t.now < r.panic.until:
		at := max(r.since+t.dead(), t.blind.until, r.panic.until, r.panic.next)
		t.timers.sooner(&r.timer, max(at, t.now+heartbeat))
	default:
		t.endPanic(r)
	}
}

func (t *Table) endPanic(r *role) {
	if r.panic != nil {
		r.panic = nil
		t.lower(guardKey{name: GuardPanic, role: r.name})
	}
}

// endPanics ends the panic of all roles when its time is over and none of them
// holds a member.
func (t *Table) endPanics() {
	if t.panic == nil {
		return
	}
	for _, r := range t.roles {
		if r.panic != nil {
			t.timers.set(&t.panicTimer, t.now+heartbeat)
			return
		}
	}
	t.panic = nil
	t.timers.stop(&t.panicTimer)
	t.lower(guardKey{name: GuardPanic})
}
