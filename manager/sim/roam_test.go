package sim

import (
	"fmt"
	"slices"
	"time"

	"thor/overlay/roam"
	"thor/subjects"
)

// How the SDK looks for a broker: beside one that does not accept or does not
// greet the next one is dialled, and one that is alone is taken when no other is there.
const (
	nextAfter     = 250 * time.Millisecond
	nextAfterSlow = time.Second
	greetTrips    = 3 // round trips for TCP, TLS and the greeting
)

// dial looks for a broker, after d. The one just left comes last.
func (p *proc) dial(d time.Duration, left *broker) {
	if p.dialling {
		return
	}
	p.dialling = true
	p.after(d, func() {
		order := p.w.rng.Perm(brokerCount)
		rank := func(i int) int {
			switch {
			case left != nil && i == left.index:
				return 2
			case i == p.home:
				return 0
			}
			return 1
		}
		slices.SortStableFunc(order, func(a, b int) int { return rank(a) - rank(b) })
		p.attempt(order, nil)
	})
}

// attempt dials the first of order. alone is one that greeted and is alone.
func (p *proc) attempt(order []int, alone *broker) {
	w := p.w
	if len(order) == 0 {
		if alone != nil && alone.greets(p) {
			p.dialling = false
			p.connect(alone)
			return
		}
		p.dialling = false
		p.dial(w.between(100, 300), nil)
		return
	}
	b, rest := w.brokers[order[0]], order[1:]
	switch {
	case !p.reaches(b):
		p.after(nextAfter, func() { p.attempt(rest, alone) })
	case b.alive && b.frozen:
		p.after(nextAfterSlow, func() { p.attempt(rest, alone) })
	case !b.alive:
		p.after(w.between(1, 5)+w.trips(1), func() { p.attempt(rest, alone) })
	default:
		p.after(w.between(3, 30)+w.trips(greetTrips)+2*greetTrips*w.way(p.place, b.index), func() {
			switch {
			case !b.greets(p):
				p.attempt(order, alone)
			case b.alone && len(rest) > 0:
				p.attempt(rest, b)
			default:
				p.dialling = false
				p.connect(b)
			}
		})
	}
}

// greets reports whether p can connect to b now.
func (b *broker) greets(p *proc) bool { return b.alive && !b.frozen && p.reaches(b) }

// trips is the time that so many round trips to a broker take.
func (w *world) trips(n int) (d time.Duration) {
	for range 2 * n {
		d += w.hop()
	}
	return d
}

// roam lets p look for a better broker when that is due.
func (p *proc) roam() {
	if p.link == nil || !p.alive || p.frozen || !p.roamer.Advance(false, p.clock()) {
		return
	}
	if m, is := p.app.(*manager); is && p.roamer.Homing() && m.core.Leads() {
		p.roamer.Looked(false, p.clock())
		return
	}
	p.look(p.link, p.w.now, p.roamer.Alone() && !p.roamer.Homing())
}

// look looks at the other brokers since a time: any that greets and is not alone is better
// than one that is alone, else a tick has to come through it.
func (p *proc) look(l *link, began time.Duration, alone bool) {
	w := p.w
	better := -1
	for _, i := range w.rng.Perm(brokerCount) {
		o := w.brokers[i]
		if p.roamer.Homing() && i != p.home || o == l.b || !o.greets(p) || o.alone || !alone && (o.ticked < began || p.newest.After(o.tick)) {
			continue
		}
		better = i
	}
	switch {
	case better < 0 && !alone && w.now-began < roam.TickWait:
		p.after(aloneTick, func() { p.look(l, began, alone) })
	case better < 0 || p.link != l:
		p.roamer.Looked(false, p.clock())
	default:
		wait := w.trips(greetTrips)
		if !alone {
			wait += roam.Settle
		}
		p.after(wait, func() {
			if p.link != l || !p.roamer.Better() {
				p.roamer.Looked(false, p.clock())
				return
			}
			p.roamer.Looked(true, p.clock())
			p.move(l, w.brokers[better])
		})
	}
}

// move leaves l for another broker, and says so.
func (p *proc) move(l *link, to *broker) {
	w := p.w
	w.stats.count("sdk", "left its broker for a better one")
	w.log("%s leaves %s for %s", p.boot, l.via, to.name)
	if m, is := p.app.(interface{ moves() }); is {
		m.moves()
	}
	l.clientClosed()
	p.link, p.dialling = nil, true
	p.roamer.Disconnected()
	p.app.online(false)
	p.after(w.between(3, 30), func() { p.attempt([]int{to.index, l.b.index}, nil) })
}

// heardTick notes that a tick came, unless it is older than another one.
func (p *proc) heardTick(k subjects.Mark) {
	if k.Epoch < p.w.truth.lastEpoch {
		p.misled = p.w.now
	}
	if !p.newest.After(k) {
		p.newest = k
		p.roamer.Tick(p.clock())
	}
}

func (p *proc) connect(b *broker) {
	b.conns++
	l := &link{w: p.w, p: p, b: b, boot: p.boot, via: fmt.Sprintf("%s#%d", b.name, b.conns), clientUp: true, brokerUp: true, rtt: p.w.trips(1) + 2*p.w.way(p.place, b.index)}
	b.links = append(b.links, l)
	p.link = l
	p.roamer.Connected(b.alone, p.clock())
	if p.home >= 0 && p.home != b.index {
		p.roamer.Away(p.clock())
	}
	p.w.log("%s connects as %s", p.boot, l.via)
	b.vouch(p)
	p.app.online(true)
	p.w.changed()
}

// lost is the end of the connection, as the process finds out.
func (p *proc) lost(l *link, why string) {
	if p.link != l {
		return
	}
	p.w.log("%s loses %s: %s", p.boot, l.via, why)
	p.link = nil
	p.roamer.Disconnected()
	p.app.online(false)
	p.dial(p.w.between(20, 150), l.b)
}
