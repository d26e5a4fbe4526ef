package sim

import (
	"slices"
	"time"

	"thor/subjects"
)

// A kind is a kind of fault. begin returns what ends it, or nil when it does not
// fit at the moment.
type kind struct {
	least, most time.Duration
	begin       func(w *world, f fault) (end func())
}

const second = time.Second

func nothing() {}

// kinds are the faults.
var kinds = map[string]kind{
	"member killed": {second, 20 * second, killed(aMember)},
	"member killed for good": {0, 0, func(w *world, f fault) func() {
		p := aMember(w, f.a)
		if p == nil {
			return nil
		}
		p.kill()
		return nothing
	}},
	"member frozen":     {second, 25 * second, frozen(aMember)},
	"member cut off":    {second, 30 * second, cutOff(aMember)},
	"member's path cut": {second, 20 * second, pathCut(aMember)},
	"member leaves": {second, 20 * second, func(w *world, f fault) func() {
		p := aMember(w, f.a)
		if p == nil || p.link == nil || p.link.blocked {
			return nil
		}
		p.app.(*member).leave()
		return func() { p.start(0) }
	}},
	"member's check fails": {second, 20 * second, state(subjects.Down)},
	"member drained":       {second, 20 * second, state(subjects.Draining)},
	"member flaps": {20 * second, 30 * second, func(w *world, f fault) func() {
		p := aMember(w, f.a)
		if p == nil {
			return nil
		}
		for i := range 4 {
			w.after(time.Duration(i)*4*second, func() {
				p.kill()
				p.start(2 * second)
			})
		}
		return func() { p.start(0) }
	}},
	"duplicate of a member killed": {second, 12 * second, duplicate((*proc).kill)},
	"duplicate of a member leaves": {second, 12 * second, duplicate(func(p *proc) {
		if m := p.app.(*member); p.alive {
			m.leave()
		}
	})},
	"third of the members cut off": {3 * second, 40 * second, func(w *world, f fault) func() {
		var ends []func()
		for i := range (len(w.members) + 2) / 3 {
			if end := cutOff(aMember)(w, fault{a: f.a + i}); end != nil {
				ends = append(ends, end)
			}
		}
		return all(ends)
	}},
	"third of the members killed for good": {0, 0, func(w *world, f fault) func() {
		for i := range (len(w.members) + 2) / 3 {
			if p := aMember(w, f.a+i); p != nil && f.b%3 == 0 {
				p.kill()
			}
		}
		return nothing
	}},

	"broker killed":      {second, 20 * second, brokersKilled(1)},
	"two brokers killed": {second, 20 * second, brokersKilled(2)},
	"all brokers killed": {second, 20 * second, brokersKilled(3)},
	"broker frozen": {second, 25 * second, func(w *world, f fault) func() {
		b := w.brokers[f.a%brokerCount]
		if !b.alive || b.frozen {
			return nil
		}
		b.freeze()
		return b.thaw
	}},
	"broker without its peers": {second, 40 * second, func(w *world, f fault) func() {
		return cutRoutes(w, w.routes[f.a%brokerCount][:])
	}},
	"two brokers cut from each other": {second, 30 * second, func(w *world, f fault) func() {
		i := f.a % brokerCount
		return cutRoutes(w, []*route{w.routes[i][(i+1)%brokerCount]})
	}},
	"all routes cut": {second, 30 * second, func(w *world, _ fault) func() {
		return cutRoutes(w, []*route{w.routes[0][1], w.routes[0][2], w.routes[1][2]})
	}},
	"host cut off": {second, 40 * second, func(w *world, f fault) func() { // a broker, a manager, an observer and a member
		i := f.a % brokerCount
		ends := []func(){cutRoutes(w, w.routes[i][:])}
		on := []*proc{w.managers[i].p, w.observers[i].p, w.members[i].p}
		for _, p := range w.procs {
			for j := range w.brokers {
				if here := slices.Contains(on, p); here != (i == j) && !p.paths[j] && (here || i == j) {
					p.paths[j] = true
					ends = append(ends, func() { p.paths[j] = false })
				}
			}
		}
		w.changed()
		return func() { all(ends)(); w.changed() }
	}},

	"manager killed": {second, 20 * second, killed(aManager)},
	"manager's disk lost": {second, 20 * second, func(w *world, f fault) func() {
		p := aManager(w, f.a)
		if p == nil {
			return nil
		}
		p.kill()
		p.app.(*manager).disk = disk{}
		return func() { p.start(0) }
	}},
	"manager steps down": {second, 10 * second, func(w *world, f fault) func() {
		p := aManager(w, f.a)
		if p == nil {
			return nil
		}
		p.app.(*manager).finish()
		return func() { p.start(0) }
	}},
	"all managers killed": {second, 10 * second, allManagersKilled},
	"all brokers and managers killed": {second, 15 * second, func(w *world, f fault) func() {
		end, also := allManagersKilled(w, f), brokersKilled(3)(w, f)
		if end == nil || also == nil {
			return nil
		}
		return func() { also(); end() }
	}},
	"manager frozen":            {second, 30 * second, frozen(aManager)},
	"active manager frozen":     {second, 30 * second, frozen(theActive)},
	"active manager killed":     {second, 20 * second, killed(theActive)},
	"active manager's path cut": {second, 20 * second, pathCut(theActive)},
	"active manager cut off":    {second, 30 * second, cutOff(theActive)},
	"manager cut off":           {second, 30 * second, cutOff(aManager)},
	"manager's path cut":        {second, 20 * second, pathCut(aManager)},
	"manager's loop pauses":     {2 * second, 4 * second, frozen(aManager)},
	"duplicate of a manager": {second, 12 * second, func(w *world, f fault) func() {
		p := aManager(w, f.a)
		if p == nil {
			return nil
		}
		t := newManager(w, p.node)
		t.p.addr, t.p.boots = p.addr, p.boots+100
		w.truth.touch(p.node)
		t.p.start(0)
		return func() {
			w.truth.touch(p.node)
			t.p.kill()
		}
	}},
	"managers pause before publishing": {5 * second, 20 * second, noisy(func(n *noise) { n.pauses = 30 })},

	"bucket deleted": {0, 0, func(w *world, _ fault) func() {
		if !w.bucket.exists {
			return nil
		}
		w.bucket.delete()
		return nothing
	}},
	"bucket without a leader": {0, 0, func(w *world, _ fault) func() {
		w.bucket.stuck = w.now + w.between(0, 3000)
		return nothing
	}},
	"bucket away": {5 * second, 25 * second, func(w *world, f fault) func() {
		w.bucket.stuck = w.now + f.span
		return nothing
	}},
	"acknowledgements lost": {2 * second, 20 * second, noisy(func(n *noise) { n.asides = 400 })},

	"observer killed": {second, 20 * second, killed(anObserver)},
	"observer's disk lost": {second, 20 * second, func(w *world, f fault) func() {
		p := anObserver(w, f.a)
		if p == nil {
			return nil
		}
		p.kill()
		p.app.(*observer).wipe = true
		return func() { p.start(0) }
	}},
	"observer frozen":  {second, 25 * second, frozen(anObserver)},
	"observer cut off": {second, 30 * second, cutOff(anObserver)},

	"bus loses":    {2 * second, 20 * second, noisy(func(n *noise) { n.loss = 100 })},
	"bus is slow":  {2 * second, 20 * second, noisy(func(n *noise) { n.delay, n.jitter = far.delay, far.jitter })},
	"bus reorders": {2 * second, 20 * second, noisy(func(n *noise) { n.late, n.double = 200, 200 })},
}

func all(ends []func()) func() {
	if len(ends) == 0 {
		return nil
	}
	return func() {
		for _, f := range ends {
			f()
		}
	}
}

// A chooser chooses a process that runs and has no fault of its own.
type chooser func(w *world, a int) *proc

func sound(p *proc) *proc {
	if p == nil || !p.alive || p.frozen || p.cut || p.paths != [brokerCount]bool{} {
		return nil
	}
	return p
}

func aMember(w *world, a int) *proc    { return sound(w.members[a%len(w.members)].p) }
func aManager(w *world, a int) *proc   { return sound(w.managers[a%len(w.managers)].p) }
func anObserver(w *world, a int) *proc { return sound(w.observers[a%len(w.observers)].p) }

func theActive(w *world, _ int) *proc {
	for _, m := range w.managers {
		if m.p.alive && m.leads() {
			return sound(m.p)
		}
	}
	return nil
}

func killed(which chooser) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := which(w, f.a)
		if p == nil {
			return nil
		}
		p.kill()
		return func() { p.start(0) }
	}
}

func frozen(which chooser) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := which(w, f.a)
		if p == nil {
			return nil
		}
		p.freeze()
		life := p.life
		return func() {
			if p.life == life {
				p.thaw()
			}
		}
	}
}

func cutOff(which chooser) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := which(w, f.a)
		if p == nil {
			return nil
		}
		w.log("%s is cut off", p.node)
		p.cut = true
		w.changed()
		return func() {
			p.cut = false
			w.changed()
		}
	}
}

// pathCut cuts a process from the broker that it is connected to.
func pathCut(which chooser) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := which(w, f.a)
		if p == nil || p.link == nil {
			return nil
		}
		i := p.link.b.index
		w.log("%s is cut from %s", p.node, p.link.b.name)
		p.paths[i] = true
		w.changed()
		return func() {
			p.paths[i] = false
			w.changed()
		}
	}
}

func state(s subjects.State) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := aMember(w, f.a)
		if p == nil || p.app.(*member).state != subjects.Up {
			return nil
		}
		m := p.app.(*member)
		set := func(s subjects.State) {
			m.state = s
			w.truth.touch(p.node)
			w.log("%s is %s", p.boot, s)
			m.say(s)
		}
		set(s)
		life := p.life
		return func() {
			if p.life == life && !p.frozen {
				set(subjects.Up)
			} else if p.life == life {
				m.state = subjects.Up
				w.truth.touch(p.node)
			}
		}
	}
}

// duplicate runs another process with a member's identity for a while.
func duplicate(end func(*proc)) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		p := aMember(w, f.a)
		if p == nil {
			return nil
		}
		t := p.app.(*member).twin()
		w.truth.touch(p.node)
		t.p.start(0)
		return func() {
			w.truth.touch(p.node)
			end(t.p)
		}
	}
}

func allManagersKilled(w *world, _ fault) func() {
	var ends []func()
	for i := range w.managers {
		if end := killed(aManager)(w, fault{a: i}); end != nil {
			ends = append(ends, end)
		}
	}
	return all(ends)
}

func brokersKilled(n int) func(*world, fault) func() {
	return func(w *world, f fault) func() {
		var ends []func()
		for i := range n {
			if b := w.brokers[(f.a+i)%brokerCount]; b.alive {
				b.kill()
				ends = append(ends, func() { w.after(w.between(0, 300), b.start) })
			}
		}
		return all(ends)
	}
}

func cutRoutes(w *world, routes []*route) func() {
	var cut []*route
	for _, r := range routes {
		if r != nil && !r.cut {
			w.log("route %s-%s is cut", r.ends[0].name, r.ends[1].name)
			r.cut = true
			cut = append(cut, r)
		}
	}
	w.changed()
	return func() {
		for _, r := range cut {
			r.cut = false
		}
		w.changed()
	}
}

// noisy makes the bus worse for a while.
func noisy(set func(*noise)) func(*world, fault) func() {
	return func(w *world, _ fault) func() {
		if w.noise != w.calm {
			return nil
		}
		set(&w.noise)
		return func() { w.noise = w.calm }
	}
}

// heal ends all that is still wrong. Who was killed for good stays away.
func (w *world) heal() {
	w.log("all heals")
	w.noise = w.calm
	for _, b := range w.brokers {
		b.start()
		b.thaw()
	}
	for _, rs := range w.routes {
		for _, r := range rs {
			if r != nil {
				r.cut = false
			}
		}
	}
	for _, p := range w.procs {
		p.cut, p.paths = false, [brokerCount]bool{}
		p.thaw()
	}
	for _, m := range w.managers {
		if !m.p.alive {
			m.p.start(0)
		}
	}
	for _, o := range w.observers {
		if !o.p.alive {
			o.p.start(0)
		}
	}
	w.changed()
}
