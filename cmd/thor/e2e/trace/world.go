package trace

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// An entry is one (role, node).
type entry struct {
	role subjects.Role
	node subjects.NodeID
}

func (e entry) String() string { return string(e.role) + " of " + string(e.node) }

// The ports on which brokers serve members and each other.
const (
	ClientPort = 4222
	RoutePort  = 6222
)

// A cable is one direction between two hosts; port 0 stands for all.
type cable struct {
	from, to string
	port     int
}

// A world is what the lab made of the network up to some moment.
type world struct {
	processes map[string]*proc
	cut       map[cable]bool
	down      map[string]bool // hosts without a link
}

// A proc is a process and what the lab did to it.
type proc struct {
	Process
	running  bool
	frozen   bool
	service  bool // the one that it checks is up
	drained  bool
	revoked  bool
	twin     bool   // a second one runs
	began    Moment // the last start
	twinGone Moment // the end of the last twin
}

func newWorld() *world {
	return &world{processes: make(map[string]*proc), cut: make(map[cable]bool), down: make(map[string]bool)}
}

func (w *world) add(p Process, at Moment) {
	w.processes[p.Name] = &proc{Process: p, running: true, service: true, began: at}
}

// apply changes the world by an effect.
func (w *world) apply(e *Effect, at Moment) {
	switch e.Act {
	case Cut:
		w.cut[cable{e.From, e.To, e.Port}] = true
	case Heal:
		delete(w.cut, cable{e.From, e.To, e.Port})
	case LinkDown:
		w.down[e.Host] = true
	case LinkUp:
		delete(w.down, e.Host)
	}
	if p := w.processes[e.Process]; p != nil {
		p.apply(e.Act, at)
	}
}

func (p *proc) apply(a Act, at Moment) {
	switch a {
	case Kill, Term:
		p.running, p.frozen = false, false
	case Start:
		p.running, p.began = true, at
	case Freeze:
		p.frozen = true
	case Continue:
		p.frozen = false
	case ServiceDown:
		p.service = false
	case ServiceUp:
		p.service = true
	case Drain:
		p.drained = true
	case Resume:
		p.drained = false
	case Revoke:
		p.revoked = true
	case Reissue:
		p.revoked = false
	case TwinStart:
		p.twin = true
	case TwinTerm, TwinKill:
		p.twin, p.twinGone = false, at
	}
}

// dead reports whether a member of the process would be right to be gone at once.
func (p *proc) dead() bool { return !p.running || !p.service || p.revoked }

// passes reports whether packets of the port get from one host to the other and
// back.
func (w *world) passes(a, b string, port int) bool {
	if a == b {
		return true
	}
	if w.down[a] || w.down[b] {
		return false
	}
	for _, c := range []cable{{a, b, 0}, {b, a, 0}, {a, b, port}, {b, a, port}} {
		if w.cut[c] {
			return false
		}
	}
	return true
}

// brokers are those that run and are not frozen.
func (w *world) brokers() (alive []*proc, all int) {
	for _, name := range slices.Sorted(maps.Keys(w.processes)) {
		if p := w.processes[name]; p.Program == Broker {
			all++
			if p.running && !p.frozen {
				alive = append(alive, p)
			}
		}
	}
	return alive, all
}

// quorum are the brokers that have routes to so many others that together they are
// a majority of all: there the manager leads. Routes pass a message on one hop only.
func (w *world) quorum() map[string]bool {
	alive, all := w.brokers()
	in := make(map[string]bool)
	for _, b := range alive {
		n := 0
		for _, o := range alive {
			if w.passes(b.Host, o.Host, RoutePort) {
				n++
			}
		}
		if n > all/2 {
			in[b.Name] = true
		}
	}
	return in
}

// connects reports whether a process could be connected to the network: it reaches
// a broker of the quorum or, when there is none, any broker at all.
func (w *world) connects(p *proc) bool {
	alive, _ := w.brokers()
	quorum := w.quorum()
	for _, b := range alive {
		if (len(quorum) == 0 || quorum[b.Name]) && (p.Program != Broker || p.Name == b.Name || w.passes(p.Host, b.Host, RoutePort)) && w.reaches(p, b) {
			return true
		}
	}
	return false
}

func (w *world) reaches(p, b *proc) bool {
	if p.Program == Broker {
		return w.passes(p.Host, b.Host, RoutePort)
	}
	return w.passes(p.Host, b.Host, ClientPort)
}

// silent reports whether the others hear nothing of a process that is not dead.
func (w *world) silent(p *proc) bool { return p.frozen || !w.connects(p) }

// A span is a time in which something held.
type span struct{ from, to Moment }

// spans collects when something held of each of several things.
type spans map[string][]span

// note says what holds of name from at on; it is called in the order of time.
func (s spans) note(name string, at Moment, holds bool) {
	list := s[name]
	open := len(list) > 0 && list[len(list)-1].to == forever
	switch {
	case holds && !open:
		s[name] = append(list, span{at, forever})
	case !holds && open:
		list[len(list)-1].to = at
	}
}

const forever = Moment(1<<63 - 1)

// touches finds a span of at least so long that reaches into [from, to].
func (s spans) touches(name string, from, to Moment, least time.Duration) bool {
	return slices.ContainsFunc(s[name], func(x span) bool {
		return x.from <= to && x.to >= from && time.Duration(min(x.to, to)-x.from) >= least
	})
}

// A history is what the effects of a trace say of each process over time.
type history struct {
	processes  []Process
	byEntry    map[entry]string // process
	dead       spans            // of processes: not running, its service down, revoked
	silent     spans            // of processes: neither dead nor heard
	drained    spans
	stopped    spans // of processes: not running, or frozen
	alone      spans // of processes: they run, and reach no broker of the quorum
	cutOff     spans // of hosts: the same
	twins      spans // of processes: a second one with its certificate runs
	leaderless spans // "": no broker is in a quorum, or no manager could lead
	stalls     spans // "": the machine stood still
	faults     []fault
	started    map[string][]Moment // of processes
}

// A fault is one round: its faults overlap.
type fault struct {
	span
	number int
	kinds  []string
	settle Moment
}

// replay computes the history of a trace.
func replay(lines []Line) *history {
	h := &history{
		byEntry: make(map[entry]string), dead: make(spans), silent: make(spans), drained: make(spans), stopped: make(spans),
		alone: make(spans), cutOff: make(spans), twins: make(spans), leaderless: make(spans), stalls: make(spans), started: make(map[string][]Moment),
	}
	w := newWorld()
	for _, l := range lines {
		switch {
		case l.Process != nil:
			w.add(*l.Process, l.At)
			h.processes = append(h.processes, *l.Process)
			for _, e := range l.Process.entries() {
				h.byEntry[e] = l.Process.Name
			}
		case l.Effect != nil:
			w.apply(l.Effect, l.At)
			if l.Effect.Act == Start {
				h.started[l.Effect.Process] = append(h.started[l.Effect.Process], l.At)
			}
		case l.Begin != nil:
			h.begin(l.Begin, l.At)
		case l.End != nil:
			h.end(l.End.Number, l.At)
		case l.Stall != nil:
			h.stalls[""] = append(h.stalls[""], span{l.At, l.Stall.Until})
		default:
			continue
		}
		h.sample(w, l.At)
	}
	return h
}

func (h *history) begin(f *Fault, at Moment) {
	if n := len(h.faults); n > 0 && h.faults[n-1].number == f.Number {
		last := &h.faults[n-1]
		last.kinds, last.settle = append(last.kinds, f.Kind), max(last.settle, f.Settle)
		return
	}
	h.faults = append(h.faults, fault{span{at, forever}, f.Number, []string{f.Kind}, f.Settle})
}

func (h *history) end(number int, at Moment) {
	for i := range h.faults {
		if h.faults[i].number == number {
			h.faults[i].to = at
		}
	}
}

// sample notes the state of the world at a moment.
func (h *history) sample(w *world, at Moment) {
	leads := false
	quorum := w.quorum()
	for name, p := range w.processes {
		dead, connects := p.dead(), w.connects(p)
		h.dead.note(name, at, dead)
		h.silent.note(name, at, !dead && w.silent(p))
		h.drained.note(name, at, p.drained)
		h.stopped.note(name, at, !p.running || p.frozen)
		h.alone.note(name, at, p.running && !connects)
		if p.Program == Agent {
			h.cutOff.note(p.Host, at, !connects)
		}
		h.twins.note(name, at, p.twin)
		leads = leads || p.Program == Manager && p.running && !p.frozen && connects && len(quorum) > 0
	}
	h.leaderless.note("", at, !leads)
}

// kindsAt names the faults that were on at a moment, or ended less than a while
// before.
func (h *history) kindsAt(at Moment, while time.Duration) (kinds []string) {
	for _, f := range h.faults {
		if f.from <= at && (f.to == forever || at <= f.to+Moment(while)) {
			kinds = append(kinds, f.kinds...)
		}
	}
	return kinds
}
