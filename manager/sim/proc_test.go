package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"thor/subjects"
)

// An app is what runs in a process.
type app interface {
	begin()        // a new process
	receive(m any) // a message
	online(up bool)
	roles() []subjects.Role
}

// A proc is one process with one connection to a broker at most.
type proc struct {
	w     *world
	node  subjects.NodeID
	addr  netip.Addr
	boot  string
	boots int
	app   app
	skew  time.Duration // of its clock

	alive, frozen bool
	life          int // raised to make scheduled things of an earlier life void
	cut           bool
	paths         [brokerCount]bool // to which it is cut
	link          *link             // as the process sees it
	held          []func()          // that wait while it is frozen
	timers        []func()
	resume        func()                     // what it was about to do when it stood still
	lookAt        time.Duration              // for a better broker; 0: not planned
	looks         int                        // that found none
	left          time.Duration              // when it left a broker for another
	pathSince     [brokerCount]time.Duration // since when packets go to a broker
	soundSince    time.Duration              // since when it runs
	dialling      bool
}

func newProc(w *world, node subjects.NodeID, a app) *proc {
	p := &proc{w: w, node: node, app: a, skew: w.between(-900_000, 900_000)}
	n := len(w.procs) + 1
	p.addr = netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
	w.procs = append(w.procs, p)
	return p
}

// clock is the time as the process has it.
func (p *proc) clock() time.Time { return t0.Add(p.skew + p.w.now) }

// start begins a process after d.
func (p *proc) start(d time.Duration) {
	if p.alive {
		return
	}
	p.life++
	life := p.life
	p.w.after(d, func() {
		if p.life != life || p.alive {
			return
		}
		p.boots++
		p.boot = fmt.Sprintf("%s-%d", p.node, p.boots)
		p.alive, p.frozen, p.dialling, p.link = true, false, false, nil
		p.held, p.timers, p.resume = nil, nil, nil
		p.w.log("%s starts as %s", p.node, p.boot)
		p.w.truth.survey()
		p.app.begin()
		p.dial(0, nil)
	})
}

// kill ends the process at once. Its broker finds out when it can.
func (p *proc) kill() {
	if !p.alive {
		return
	}
	p.w.log("%s is killed", p.boot)
	p.alive, p.frozen = false, false
	p.life++
	p.w.truth.survey()
	if l := p.link; l != nil {
		p.link = nil
		l.clientClosed(p.w.between(4, 30))
	}
}

// after lets the process do something later. While it is frozen that waits.
func (p *proc) after(d time.Duration, do func()) {
	life := p.life
	p.w.after(d, func() {
		switch {
		case p.life != life:
		case p.frozen:
			p.timers = append(p.timers, do)
		default:
			do()
		}
	})
}

// arrive hands over what came from the network.
func (p *proc) arrive(do func()) {
	if p.frozen {
		p.held = append(p.held, do)
		return
	}
	do()
}

func (p *proc) freeze() {
	p.w.log("%s freezes", p.boot)
	p.frozen = true
	p.w.changed()
}

func (p *proc) thaw() {
	if !p.frozen {
		return
	}
	p.w.log("%s goes on", p.boot)
	p.frozen = false
	first, then := p.held, p.timers
	if p.w.rng.IntN(2) == 0 {
		first, then = then, first
	}
	p.held, p.timers = nil, nil
	life := p.life
	if do := p.resume; do != nil {
		p.resume = nil
		do()
	}
	for _, do := range slices.Concat(first, then) {
		if p.life == life {
			do()
		}
	}
	p.w.changed()
}

// reaches reports whether packets go between p and b.
func (p *proc) reaches(b *broker) bool { return !p.cut && !p.paths[b.index] }

// How the SDK looks for a broker: beside one that does not accept or does not
// greet the next one is dialled, and one that is alone is taken when no other is there.
const (
	nextAfter     = 250 * time.Millisecond
	nextAfterSlow = time.Second
	aloneWait     = time.Second
	silentAfter   = 3 * time.Second // without a tick another broker is looked for
	lookPause     = 5 * time.Second
	lookLongest   = time.Minute
)

// dial looks for a broker, after d. The one just left comes last.
func (p *proc) dial(d time.Duration, left *broker) {
	if p.dialling {
		return
	}
	p.dialling = true
	p.after(d, func() {
		order := p.w.rng.Perm(brokerCount)
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case left == nil || a != left.index && b != left.index:
				return 0
			case a == left.index:
				return 1
			}
			return -1
		})
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
		p.after(w.between(1, 5), func() { p.attempt(rest, alone) })
	default:
		p.after(w.between(3, 30), func() {
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

// roam looks whether p should leave its broker for a better one: when that is
// alone, or no tick comes through it.
func (p *proc) roam() {
	l, w := p.link, p.w
	if l == nil || p.frozen || l.blocked || !l.b.alive {
		return
	}
	b := l.b
	silent := w.now-max(b.ticked, l.began) > silentAfter
	switch {
	case !b.alone && !silent:
		p.lookAt, p.looks = 0, 0
		return
	case p.lookAt == 0:
		p.lookAt = w.now + w.between(500, 3000)
		return
	case w.now < p.lookAt:
		return
	}
	for _, i := range w.rng.Perm(brokerCount) {
		o := w.brokers[i]
		if o == b || !o.greets(p) || o.alone || !b.alone && w.now-o.ticked > 2*time.Second {
			continue
		}
		w.stats.count("sdk", "left its broker for a better one")
		p.lookAt, p.looks, p.left = 0, 0, w.now
		l.clientClosed(w.between(4, 30))
		p.link, p.dialling = nil, true
		w.log("%s leaves %s for %s", p.boot, l.via, o.name)
		p.app.online(false)
		p.after(w.between(3, 30), func() { p.attempt([]int{o.index, b.index}, nil) })
		return
	}
	pause := min(lookPause<<min(p.looks, 4), lookLongest)
	p.looks++
	p.lookAt = w.now + pause/2 + w.between(0, int(pause/2/time.Millisecond))
}

func (p *proc) connect(b *broker) {
	b.conns++
	l := &link{w: p.w, p: p, b: b, boot: p.boot, via: fmt.Sprintf("%s#%d", b.name, b.conns), clientUp: true, brokerUp: true, began: p.w.now}
	b.links = append(b.links, l)
	p.link, p.lookAt = l, 0
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
	p.app.online(false)
	p.dial(p.w.between(20, 150), l.b)
}

// send publishes a message through the broker; without one it is lost.
func (p *proc) send(m any) {
	if l := p.link; l != nil && p.alive {
		l.up(func() { l.b.handle(l, m) })
	}
}

// via names the connection of now.
func (p *proc) via() string {
	if p.link == nil {
		return ""
	}
	return p.link.via
}
