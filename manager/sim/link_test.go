package sim

import (
	"slices"
	"time"

	"thor/manager/membership"
)

// A link is one connection of a process to a broker. Each side closes it when it
// finds out.
type link struct {
	w         *world
	p         *proc
	b         *broker
	boot, via string
	rtt       time.Duration // as the broker measured it, when the connection was made

	clientUp, brokerUp bool
	blocked            bool // packets do not go through, or a side does not read
	since              time.Duration
	toBroker, toClient []func() // that wait
	upAt, downAt       time.Duration
}

func (l *link) isBlocked() bool { return !l.p.reaches(l.b) || l.b.frozen }

// up carries something to the broker, in order.
func (l *link) up(do func()) {
	if l.blocked {
		l.toBroker = append(l.toBroker, do)
		return
	}
	l.upAt = max(l.upAt, l.w.now+l.w.hop()+l.w.way(l.p.place, l.b.index))
	l.w.after(l.upAt-l.w.now, func() {
		switch {
		case !l.brokerUp || !l.b.alive:
		case l.blocked: // meanwhile
			l.toBroker = append(l.toBroker, do)
		default:
			do()
		}
	})
}

// down carries a message to the process, in order but for noise. A connection loses
// nothing by itself: what is lost is what a process did not read in time, and its
// client library says so. Managers heed that.
func (l *link) down(m any) {
	w := l.w
	if w.drop != nil && w.drop(l, m) {
		return
	}
	if w.chance(w.noise.loss) {
		w.stats.count("bus", "lost")
		if _, is := l.p.app.(*manager); is {
			l.carry(overflow{}, 0)
		}
		return
	}
	if w.chance(w.noise.double) {
		w.stats.count("bus", "doubled")
		l.carry(m, 0)
	}
	if w.chance(w.noise.late) {
		w.stats.count("bus", "reordered")
		l.carry(m, w.between(20, 300))
		return
	}
	l.carry(m, 0)
}

func (l *link) carry(m any, late time.Duration) {
	do := func() {
		if l.p.link == l && l.p.alive {
			l.p.app.receive(m)
		}
	}
	if l.blocked {
		l.toClient = append(l.toClient, do)
		return
	}
	at := l.w.now + l.w.hop() + l.w.way(l.p.place, l.b.index) + late
	if late == 0 {
		l.downAt = max(l.downAt, at)
		at = l.downAt
	}
	l.w.after(at-l.w.now, func() {
		switch {
		case l.p.link != l:
		case l.blocked:
			l.toClient = append(l.toClient, do)
		default:
			l.p.arrive(do)
		}
	})
}

// hop is how long a message takes from one machine to another.
func (w *world) hop() time.Duration {
	return w.noise.delay + time.Duration(w.rng.Int64N(int64(w.noise.jitter)+1))
}

// clientClosed lets the broker find out that the process has closed the link: after
// all that was sent, when packets go through again, or by missing pongs.
func (l *link) clientClosed() {
	l.clientUp = false
	l.w.after(l.w.between(1, 20), func() { l.up(func() { l.drop("Client Closed") }) })
}

// drop is the broker's end of the link. A living broker tells of it.
func (l *link) drop(reason string) {
	if !l.brokerUp || !l.b.alive {
		return
	}
	l.brokerUp = false
	b := l.b
	b.links = slices.DeleteFunc(b.links, func(x *link) bool { return x == l })
	l.w.log("%s tells that %s of %s ended: %s", b.name, l.via, l.boot, reason)
	b.publish(membership.Disconnect{Node: l.p.node, Boot: l.boot, Via: l.via, Reason: reason, RTT: l.rtt}, toManagers)
	if l.clientUp && !l.blocked {
		l.ended("the broker closed it")
	}
}

// ended lets the process find out that the broker has closed the link.
func (l *link) ended(why string) {
	l.clientUp = false
	l.w.after(l.w.between(1, 20)+l.w.hop(), func() { l.p.arrive(func() { l.p.lost(l, why) }) })
}

// update takes note of whether packets go through.
func (l *link) update() {
	stuck := l.isBlocked() || l.p.frozen
	if blocked := l.isBlocked(); blocked != l.blocked {
		l.blocked = blocked
		if !blocked {
			l.flush()
		}
	}
	switch {
	case stuck && l.since == 0:
		l.since = l.w.now
		l.pingBroker(l.since)
		l.pingClient(l.since)
	case !stuck:
		l.since = 0
	}
}

// pingBroker lets the client find out by its pings that nothing goes through since then.
func (l *link) pingBroker(since time.Duration) {
	l.w.after(l.w.between(2000, 3000), func() {
		switch {
		case l.since != since || l.p.link != l:
		case l.p.frozen: // it goes on counting later
			l.pingBroker(since)
		case l.blocked:
			l.clientUp = false
			l.p.lost(l, "no pong")
		}
	})
}

// pingClient lets the broker find out.
func (l *link) pingClient(since time.Duration) {
	l.w.after(l.w.between(3000, 3800), func() {
		switch {
		case l.since != since || !l.b.alive:
		case l.b.frozen:
			l.pingClient(since)
		default:
			l.drop("Stale Connection")
		}
	})
}

// flush delivers what waited, and then what one side did meanwhile.
func (l *link) flush() {
	in, out := l.toBroker, l.toClient
	l.toBroker, l.toClient = nil, nil
	for _, do := range in {
		l.up(do)
	}
	for _, do := range out {
		l.w.after(l.w.hop(), func() { l.p.arrive(do) })
	}
	switch {
	case l.brokerUp && !l.clientUp:
		l.clientClosed()
	case !l.brokerUp && l.clientUp:
		l.ended("the broker had closed it")
	}
}
