package membership

import "thor/subjects"

// A broker is what the members that beat through it tell of it (guard G5).
type broker struct {
	name  string
	last  instant                 // beat that came through it
	nodes map[subjects.NodeID]int // that beat through it, with how many members
	had   int                     // how many nodes that were at the last beat

	since   instant // when the first beat came through it
	resumed instant // when beats came through it again after a gap
	suspect bool
}

// attach notes that m beats through via. A via that names no broker counts as
// none.
func (t *Table) attach(m *member, via string) {
	if name := subjects.ViaBroker(via); m.broker == nil || m.broker.name != name {
		t.detach(m)
		t.join(m, name)
	}
	if via != m.via {
		m.via, m.moves = via, ""
	}
	if b := m.broker; b != nil {
		if t.now-b.last > t.missed() {
			b.resumed = t.now
		}
		b.last, b.had = t.now, len(b.nodes)
		t.endSuspicion(b)
	} else {
		t.bare = t.now
	}
}

func (t *Table) join(m *member, name string) {
	if name == "" {
		return
	}
	if _, err := subjects.ParseNodeID(name); err != nil {
		return
	}
	b := t.brokers[name]
	if b == nil {
		b = &broker{name: name, last: t.now, since: t.now, resumed: longAgo, nodes: make(map[subjects.NodeID]int)}
		t.brokers[name] = b
	}
	b.nodes[m.key.node]++
	m.broker = b
}

// detach notes that m beats through its broker no more.
func (t *Table) detach(m *member) {
	b := m.broker
	if b == nil {
		return
	}
	m.broker = nil
	if b.nodes[m.key.node]--; b.nodes[m.key.node] == 0 {
		delete(b.nodes, m.key.node)
	}
	if len(b.nodes) == 0 {
		delete(t.brokers, b.name)
		t.endSuspicion(b)
	}
}

// mayLag reports whether what comes through b may have lain there for long: this
// observer has not followed b for long enough to know that it did not.
func (t *Table) mayLag(b *broker) bool { return b == nil || t.now-b.since < t.cfg.BareGrace }

// raiseSuspicion and endSuspicion begin and end the suspicion against b.
func (t *Table) raiseSuspicion(b *broker) {
	if !b.suspect {
		b.suspect = true
		t.raise(guardKey{name: GuardBroker, node: subjects.NodeID(b.name)}, "all that beat through it are silent").until = t.suspectedUntil(b)
	}
}

func (t *Table) endSuspicion(b *broker) {
	if b.suspect {
		b.suspect = false
		t.lower(guardKey{name: GuardBroker, node: subjects.NodeID(b.name)})
	}
}

// brokerHold is until when m may be silent because its broker is suspected, or
// 0. The guard ends with the hold: who beats elsewhere by then lives.
func (t *Table) brokerHold(m *member) instant {
	b := m.broker
	if b == nil {
		return 0
	}
	if !t.suspected(b) {
		t.endSuspicion(b)
		return 0
	}
	t.raiseSuspicion(b)
	return t.suspectedUntil(b)
}

// suspected reports whether b is more likely dead than each of its members: two
// nodes or more beat through it, all of them stopped, and elsewhere others beat.
func (t *Table) suspected(b *broker) bool {
	quiet := t.now - t.quiet()
	if b.had < 2 || b.last > quiet || t.now >= t.suspectedUntil(b) {
		return false
	}
	if t.bare > quiet {
		return true
	}
	for _, o := range t.brokers {
		if o != b && o.last > quiet {
			return true
		}
	}
	return false
}

// suspectedUntil is when the members of b had the time to reconnect: the budget of
// silence, see pace, and a dial that times out.
func (t *Table) suspectedUntil(b *broker) instant { return b.last + t.dead() + suspectMargin }
