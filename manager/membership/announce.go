package membership

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// Announce takes in what a member says of itself. The announcement must have
// passed Check and belongs to the table from now on. The error is a
// *subjects.BadMessage that says why it was dropped without effect.
func (t *Table) Announce(a *subjects.Announcement, now time.Time) error {
	t.enter(now)
	t.noteHeard()
	err := t.hear(a)
	t.flush()
	return err
}

func (t *Table) announce(a *subjects.Announcement) error {
	k := key{a.Role, a.Node}
	if t.refuses(k, a.Boot) {
		return refuse(subjects.CodeReplay, "%s: the certificate of boot %s was revoked", a.Node, a.Boot)
	}
	// What a connection carried before its end may come after the news of that,
	// however late: DISCONNECT events have a route of their own between brokers.
	if a.State != subjects.Leave && t.nodes[a.Node].throughClosed(a.Via, t.now) {
		return refuse(subjects.CodeReplay, "%s as %s: connection %s has ended", a.Node, a.Role, a.Via)
	}
	if n := t.nodes[a.Node]; n != nil && a.Boot == "" && t.now < n.bareAfter {
		return refuse(subjects.CodeReplay, "%s: its certificate was revoked just now", a.Node)
	}
	m := t.members[k]
	if m == nil || !m.listed {
		if a.State == subjects.Leave && m == nil {
			delete(t.pending, k)
			return nil
		}
		if err := t.nameable(k); err != nil {
			return err
		}
	}
	cut := ""
	if a.State == subjects.Leave {
		delete(t.pending, k)
	} else {
		var ok bool
		var err error
		if cut, ok, err = t.checkClaim(k, m, a); !ok {
			return err
		}
	}
	if m == nil {
		if !t.room() {
			return refuse(subjects.CodeRange, "%s as %s: the table holds %d members and takes no more", a.Node, a.Role, len(t.members))
		}
		m = t.member(k)
		m.instance = instance{born: t.now}.next(a)
	} else if ok, err := t.accept(m, a); !ok {
		return err
	}
	if a.State == subjects.Leave {
		t.leave(m)
		return nil
	}
	t.reject(m, cut)
	t.beat(m, a)
	return nil
}

// nameable refuses names that would mean two things in the zone: the one in
// the status first keeps the name.
func (t *Table) nameable(k key) error {
	if r, taken := t.labels[string(k.node)]; taken {
		return refuse(subjects.CodeName, "node %s has the host name of role %s", k.node, r)
	}
	label := subjects.NodeID(k.role.HostLabel())
	if n := t.nodes[label]; label == k.node || n != nil && n.listed > 0 {
		return refuse(subjects.CodeName, "role %s has the host name of node %s", k.role, label)
	}
	if t.collides(k.node) {
		return refuse(subjects.CodeName, "node %s has the lookup hash of another node: give it another name", k.node)
	}
	if t.cfg.NodeHash != nil {
		t.hashes[t.cfg.NodeHash(k.node)] = k.node
	}
	return nil
}

// collides reports whether another node of the status has the lookup hash of
// node: in each slot only one of the two could ever be chosen.
func (t *Table) collides(node subjects.NodeID) bool {
	if t.cfg.NodeHash == nil {
		return false
	}
	other := t.hashes[t.cfg.NodeHash(node)]
	n := t.nodes[other]
	return other != node && n != nil && n.listed > 0
}

// leave takes m out because it asks for it, even as the last of its role.
func (t *Table) leave(m *member) {
	if m.cause == alive && t.replaceDead(m) {
		return
	}
	m.cause = left
	m.weak = m.instance.beside()
	m.closed = closed{}
	m.adopted, m.late = false, false
	m.damping.restart()
	t.undamp(m)
	t.detach(m)
	if m.listed {
		t.remove(m)
	} else {
		t.arm(m)
	}
}

// beat is the whole effect of an accepted announcement. Its cost does not grow
// with the table unless it changes something.
func (t *Table) beat(m *member, a *subjects.Announcement) {
	reopened := t.lives(m, a.Via)
	if !t.takeIn(m, a) && reopened {
		t.arm(m)
	}
}

// lives notes that m's process lives, and sends through via. It reports whether that
// disproves the end of its connection.
func (t *Table) lives(m *member, via string) (reopened bool) {
	if t.now-m.last > t.missed() && via == m.via {
		m.returned = t.now
	}
	m.last, m.node.last, m.node.beat = t.now, t.now, t.now
	t.noteSiteHeard(m.node)
	t.attach(m, via)
	switch {
	case !m.adopted:
	case t.mayLag(m.broker):
		m.met = t.now
	default: // others were heard through its broker, it was not until now
		m.returned = t.now
	}
	if m.closed.on && m.closed.disproved(via, t.now) {
		m.closed = closed{}
		return true
	}
	return false
}

// takeIn brings m in line with a, which its process announced, and reports
// whether that changes anything.
func (t *Table) takeIn(m *member, a *subjects.Announcement) bool {
	plain := a.Plain()
	m.contested = t.contested(m)
	changed := m.cause != alive || m.adopted || !m.listed || plain != m.plain || !m.announced.same(a)
	if _, reason := m.shownState(); !changed && m.shown.Reason == reason {
		return false
	}
	m.announced = announcedIn(a)
	m.plain = plain
	m.adopted = false
	m.cause = alive
	m.why = ""
	t.count(m)
	t.settle(m)
	t.arm(m)
	return true
}

func (s *announced) same(a *subjects.Announcement) bool {
	state, weight := a.State, a.Weight
	if state == "" {
		state = subjects.Up
	}
	if weight == 0 {
		weight = subjects.DefaultWeight
	}
	return s.state == state && s.reason == a.Reason && s.priority == a.Priority && s.weight == weight &&
		s.version == a.Version && slices.Equal(s.addresses, a.Addresses) && maps.Equal(s.attrs, a.Attrs) && s.site == a.Site
}
