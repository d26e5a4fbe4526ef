package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"thor/subjects"
)

const (
	brokerCount  = 3
	managerCount = 3
	domain       = "example.net"
)

// t0 is the wall clock of the world's beginning. Each process has its own
// difference to it.
var t0 = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// A world is one simulated network.
type world struct {
	rng   *rand.Rand
	now   time.Duration
	queue schedule
	order uint64

	brokers   []*broker
	routes    [brokerCount][brokerCount]*route
	managers  []*manager
	members   []*member
	observers []*observer
	procs     []*proc // all of the above, and those of duplicates
	bucket    bucket  // of the lease
	store     store   // of the status
	noise     noise
	calm      noise // without a fault
	wan       wan

	truth truth
	stats *stats
	trace func(string)          // nil: none
	drop  func(*link, any) bool // nil: nothing. What a broker does not hand to a client
}

// noise is what the bus does to messages.
type noise struct {
	loss   int // of 1000
	double int // of 1000
	late   int // of 1000: out of order
	delay  time.Duration
	jitter time.Duration
	pauses int // of 1000 turns of a manager: its process stands still between deciding and doing
	asides int // of 1000: an acknowledgement is lost
}

var quiet = noise{loss: 0, double: 3, late: 5, delay: time.Millisecond, jitter: 4 * time.Millisecond}

// far is a network whose machines are far from each other.
var far = noise{loss: 0, double: 3, late: 5, delay: 100 * time.Millisecond, jitter: 100 * time.Millisecond}

func newWorld(p plan, s *stats) *world {
	w := &world{rng: rand.New(rand.NewPCG(p.seed, 11)), stats: s, noise: quiet}
	if p.far {
		w.noise = far
	}
	w.calm = w.noise
	if p.sites {
		w.wan = wan{delay: 39 * time.Millisecond, on: true}
	}
	w.truth.w = w
	for i := range brokerCount {
		w.brokers = append(w.brokers, newBroker(w, i))
	}
	for i := range w.brokers {
		for j := range i {
			r := &route{w: w, ends: [2]*broker{w.brokers[i], w.brokers[j]}, up: true}
			w.routes[i][j], w.routes[j][i] = r, r
		}
	}
	for _, b := range w.brokers {
		b.announce()
	}
	var roam func()
	roam = func() {
		for _, p := range w.procs {
			p.roam()
		}
		w.after(aloneTick, roam)
	}
	w.after(aloneTick, roam)
	w.bucket.begin(w)
	w.store.w = w
	for i := range managerCount {
		m := newManager(w, subjects.NodeID(fmt.Sprintf("m%d", i+1)))
		m.p.home = i // the host of that broker
		m.p.at(i)
		w.managers = append(w.managers, m)
		m.p.start(w.between(0, 3000))
	}
	for i := range p.members {
		m := newMember(w, i)
		w.members = append(w.members, m)
		if m.p.at(i % brokerCount); p.sites {
			m.p.home = m.p.place
		}
		m.p.start(w.between(0, 2000))
	}
	for i := range 3 {
		o := newObserver(w, subjects.NodeID(fmt.Sprintf("o%d", i+1)))
		w.observers = append(w.observers, o)
		if o.p.at(i); p.sites {
			o.p.home = i
		}
		o.p.start(w.between(0, 2000))
	}
	return w
}

// A task is something that will happen.
type task struct {
	at    time.Duration
	order uint64
	do    func()
}

// schedule is a binary heap of tasks.
type schedule []task

func (s schedule) before(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].order < s[j].order
}

func (s *schedule) push(t task) {
	q := append(*s, t)
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q.before(i, up) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
	*s = q
}

func (s *schedule) pop() task {
	q := *s
	top := q[0]
	last := len(q) - 1
	q[0] = q[last]
	q[last] = task{}
	q = q[:last]
	for i := 0; ; {
		c := 2*i + 1
		if c >= last {
			break
		}
		if c+1 < last && q.before(c+1, c) {
			c++
		}
		if !q.before(c, i) {
			break
		}
		q[i], q[c] = q[c], q[i]
		i = c
	}
	*s = q
	return top
}

func (w *world) after(d time.Duration, do func()) {
	w.order++
	w.queue.push(task{w.now + d, w.order, do})
}

// between draws a time from a to b, both in milliseconds.
func (w *world) between(a, b int) time.Duration {
	return time.Duration(a)*time.Millisecond + time.Duration(w.rng.Int64N(int64(b-a+1)*1000))*time.Microsecond
}

func (w *world) chance(permille int) bool { return permille > 0 && w.rng.IntN(1000) < permille }

// run plays until the given time, or until an invariant is broken.
func (w *world) run(until time.Duration) {
	for len(w.queue) > 0 && w.queue[0].at <= until && len(w.truth.broken) == 0 {
		x := w.queue.pop()
		w.now = x.at
		x.do()
	}
	w.now = until
}

func (w *world) log(format string, args ...any) {
	if w.trace != nil {
		w.trace(fmt.Sprintf("%10.3f  %s", w.now.Seconds(), fmt.Sprintf(format, args...)))
	}
}
