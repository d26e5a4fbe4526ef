package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"thor/overlay/roam"
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
	died          time.Duration // last
	life          int           // raised to make scheduled things of an earlier life void
	cut           bool
	paths         [brokerCount]bool // to which it is cut
	link          *link             // as the process sees it
	held          []func()          // that wait while it is frozen
	timers        []func()
	resume        func() // what it was about to do when it stood still
	roamer        roam.Roamer
	newest        subjects.Mark              // of the ticks that it heard
	misled        time.Duration              // when it heard a tick of a leader that had been replaced, last
	pathSince     [brokerCount]time.Duration // since when packets go to a broker
	soundSince    time.Duration              // since when it runs
	dialling      bool
	home          int // the broker on its host, which it dials first; -1: there is none
	place         int // its site, that of the broker with this index; -1: it has none
	site          subjects.Site
}

// at puts p into the site of a broker, where there are sites.
func (p *proc) at(i int) {
	if p.w.wan.on {
		p.place, p.site = i, siteNames[i]
	}
}

func newProc(w *world, node subjects.NodeID, a app) *proc {
	p := &proc{w: w, node: node, app: a, skew: w.between(-900_000, 900_000), home: -1, place: -1}
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
		p.newest = subjects.Mark{}
		p.roamer = roam.New(func(d time.Duration) time.Duration { return time.Duration(p.w.rng.Int64N(max(int64(d), 1))) })
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
	p.died = p.w.now
	p.life++
	p.w.truth.survey()
	if l := p.link; l != nil {
		p.link = nil
		l.clientClosed()
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
