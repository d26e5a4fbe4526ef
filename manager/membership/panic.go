package membership

import (
	"fmt"
	"slices"
	"time"
)

// panicWindow is within which nodes that fall silent count as one incident.
const panicWindow = 10 * time.Second

// A loss is a removal by silence.
type loss struct {
	key       key
	at        instant
	explained bool
}

// A census counts nodes: those thought alive until now, and how many of them
// are falling silent together.
type census struct{ silent, total int }

// alarm looks whether the members that just fell silent are too many.
func (t *Table) alarm(dead []*member) {
	t.recent = slices.DeleteFunc(t.recent, func(l loss) bool { return t.now-l.at > panicWindow })
	excused := t.excused()
	if t.panic == nil {
		if c := t.countNodes(excused); c.silent >= 2 && c.silent*5 > c.total {
			t.panic = t.raise(guardKey{name: GuardPanic}, fmt.Sprintf("%d of %d nodes fell silent at once", c.silent, c.total))
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
		mine := c.silent >= 2 && c.silent*3 > c.total
		if !mine && t.panic == nil {
			continue
		}
		begin := t.raiseQuietly // what the guard for all roles says is enough
		if mine {
			begin = t.raise
		}
		r.panic = begin(guardKey{name: GuardPanic, role: r.name}, fmt.Sprintf("%d of %d nodes fell silent at once", c.silent, c.total))
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
		case m.cause != lost && t.now-m.last >= t.quiet() && m.node.explained(m.last):
			continue
		case m.cause == silent && t.now-m.died <= panicWindow:
			c.silent++
		case m.cause != alive:
			continue
		case t.now-m.last >= t.quiet() && !excused[m.broker]:
			c.silent++
		}
		c.total++
	}
	for i, l := range t.recent {
		if l.key.role == r.name && !l.explained && !t.members[l.key].isListed() && !t.lostSince(i, func(o key) bool { return o == l.key }) {
			c.silent++
			c.total++
		}
	}
	return c
}

func (t *Table) countNodes(excused map[*broker]bool) census {
	var c census
	for _, n := range t.nodes {
		here, excuse := false, false
		for _, m := range n.members {
			if m.listed && (m.cause == alive || m.cause == silent && t.now-m.died <= panicWindow) {
				here = true
				excuse = excuse || excused[m.broker]
			}
		}
		quiet := t.now-n.last >= t.quiet()
		if !here || quiet && n.explained(n.last) {
			continue
		}
		c.total++
		if quiet && !excuse {
			c.silent++
		}
	}
	for i, l := range t.recent {
		n := t.nodes[l.key.node]
		if !l.explained && (n == nil || n.listed == 0) && !t.lostSince(i, func(o key) bool { return o.node == l.key.node }) {
			c.silent++
			c.total++
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
		if !n.alive() || silent && n.explained(n.last) {
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
