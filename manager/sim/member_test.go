package sim

import (
	"net/netip"
	"time"

	"thor/subjects"
)

// A member is a process that offers services.
type member struct {
	p     *proc
	serve []subjects.Role
	seq   map[subjects.Role]uint64
	state subjects.State
	short bool // it sends short beats
	told  map[subjects.Role]told

	left   bool // on purpose, in this life…
	wish   bool // …or in any
	starts []time.Duration
}

var services = []subjects.Role{subjects.SIPProxy, subjects.MediaRelay, subjects.VoicemailServer}

func newMember(w *world, i int) *member {
	m := &member{serve: []subjects.Role{services[i%2]}, short: i%4 != 3}
	if w.rng.IntN(4) == 0 {
		m.serve = append(m.serve, services[2])
	}
	m.p = newProc(w, subjects.NodeID("n"+string(rune('a'+i))), m)
	return m
}

// twin is another process with the identity of m.
func (m *member) twin() *member {
	t := &member{serve: m.serve, short: m.short}
	t.p = newProc(m.p.w, m.p.node, t)
	t.p.addr, t.p.boots = m.p.addr, m.p.boots+100
	return t
}

func (m *member) roles() []subjects.Role { return m.serve }

func (m *member) begin() {
	p := m.p
	m.seq, m.state, m.left, m.told = map[subjects.Role]uint64{}, subjects.Up, false, map[subjects.Role]told{}
	m.starts = append(m.starts, p.w.now)
	p.w.truth.touch(p.node)
	var beat func()
	beat = func() {
		m.say(m.state)
		p.after(p.w.between(900, 1100), beat)
	}
	p.after(p.w.between(0, 1000), beat)
}

func (m *member) say(s subjects.State) { m.announce(s, false) }

// moves says that this process leaves its connection for another one.
func (m *member) moves() { m.announce(m.state, true) }

func (m *member) announce(s subjects.State, moves bool) {
	if m.left && s != subjects.Leave {
		return
	}
	for _, r := range m.serve {
		m.seq[r]++
		a := &subjects.Announcement{
			V: subjects.Version, Node: m.p.node, Role: r, Boot: m.p.boot, Seq: m.seq[r], Via: m.p.via(), Addresses: []netip.Addr{m.p.addr},
			State: s, Weight: subjects.DefaultWeight, Moves: moves, Site: m.p.site,
		}
		if m.short && !moves && s != subjects.Leave {
			a = m.shorten(a)
		}
		m.p.send(a)
	}
}

// fullEvery is after how long a member sends its full announcement again.
const fullEvery = time.Minute

// A told is the full announcement that the present connection carried last.
type told struct {
	hash string
	link *link
	at   time.Duration
}

// shorten makes a a short beat if it stands for what this connection carried.
func (m *member) shorten(a *subjects.Announcement) *subjects.Announcement {
	a.Hash = m.p.boot + string(a.State)
	if t := m.told[a.Role]; t.hash == a.Hash && t.link == m.p.link && m.p.w.now-t.at < fullEvery {
		m.p.w.stats.count("beats", "short")
		return a.Shorten()
	}
	m.p.w.stats.count("beats", "full")
	m.told[a.Role] = told{a.Hash, m.p.link, m.p.w.now}
	return a
}

// receive takes a manager's request for full announcements.
func (m *member) receive(x any) {
	if _, is := x.(fullAsk); is && m.short {
		clear(m.told)
		m.say(m.state)
	}
}

func (m *member) online(up bool) {
	if up {
		m.say(m.state)
	}
}

// leave ends the process on purpose.
func (m *member) leave() {
	m.p.w.log("%s leaves", m.p.boot)
	m.left, m.wish = true, true
	m.say(subjects.Leave)
	m.p.w.truth.touch(m.p.node)
	m.p.after(20*time.Millisecond, m.p.kill)
}
