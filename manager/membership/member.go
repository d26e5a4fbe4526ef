package membership

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"thor/subjects"
)

type addresses = []netip.Addr

// A cause is why a member is not alive.
type cause uint8

const (
	alive   cause = iota
	silent        // no beat for Dead
	lost          // its connection ended and it did not come back
	left          // it said so
	revoked       // its certificate is not good any more
	dropped       // another manager removed it
)

// Why a suspect is one, unless its check says so.
const (
	whySilent = "silent"
	whyLost   = "connection lost"
)

// A member is what the table knows of one (node, role), in the status or not.
type member struct {
	key  key
	role *role
	node *node

	instance  instance
	announced announced
	plain     bool // without boot or seq
	adopted   bool // known from an adopted status only
	inherited bool // what it claims comes from an adopted status and was not compared with certificates yet
	via       string
	moves     string  // the connection that it said it leaves
	broker    *broker // that via names
	last      instant // beat
	returned  instant // when it was heard again, after it had missed a beat, through the same connection
	met       instant // when its first message was heard, if that may have been an old one

	cause       cause
	why         string  // of silent and lost, as shown
	weak        bool    // lost, but it was its broker that gave the connection up; or lost or left, and another process may live
	died        instant // when cause was set to silent or lost
	gone        instant // when it was removed
	closed      closed
	listed      bool
	up          bool            // counted in role.ups
	shown       subjects.Member // as in the status
	reasons     instant         // when shown.Reason last changed
	changesPaid instant         // until when its changes are paid for, see allowChange
	late        bool            // the status is behind what it said, until it may change again
	damping     damping
	absencePaid instant       // until when changes of its absence are paid for, see absenceEvery
	reportedAt  instant       // when it was last reported as a duplicate
	contested   bool          // another process announces the same, as shown
	fell        bool          // its check fails, and it was in the status when that began…
	fellAt      instant       // …then
	confirmed   bool          // an operator says that its failure is real
	withSite    subjects.Site // of silent: with which it was taken for dead as a whole; empty: alone

	rejected   string  // what was refused of its claims, as told…
	rejectedAt instant // …then
	timer      timer
}

// announced is the part of an announcement that the status shows.
type announced struct {
	state     subjects.State // Up, Down or Draining
	reason    string
	addresses addresses
	priority  int
	weight    int
	version   string
	attrs     subjects.Attrs
	site      subjects.Site
}

func announcedIn(a *subjects.Announcement) announced {
	return announced{
		state: cmp.Or(a.State, subjects.Up), reason: a.Reason, addresses: a.Addresses,
		priority: a.Priority, weight: cmp.Or(a.Weight, subjects.DefaultWeight), version: a.Version, attrs: a.Attrs, site: a.Site,
	}
}

// fine reports whether m is alive and its checks pass.
func (m *member) fine() bool { return m.cause == alive && m.announced.state != subjects.Down }

// shownState is the state in which the status shows m, and why.
func (m *member) shownState() (subjects.State, string) {
	state, reason := subjects.Suspect, m.why
	switch {
	case m.cause == alive && m.announced.state == subjects.Up && m.contested:
		return subjects.Up, "duplicate: another process announces the same node and role"
	case m.cause == alive && m.announced.state == subjects.Up:
		return subjects.Up, ""
	case m.cause == alive:
		reason = cmp.Or(m.announced.reason, "check failed")
		if m.announced.state == subjects.Draining {
			reason = m.announced.reason
		}
	}
	if m.announced.state == subjects.Draining {
		state = subjects.Draining
	} else if m.role.hold != nil && m.cause != lost {
		reason = subjects.Printable(reason, subjects.MaxReason-keptMost) + m.role.hold.mark()
	}
	return state, reason
}

// leaveReason is why m leaves the status, for history.
func (m *member) leaveReason() string {
	switch m.cause {
	case silent:
		if m.wentWithSite() {
			return subjects.SilentWith(m.withSite)
		}
		return whySilent
	case lost:
		return whyLost
	case left:
		return "left"
	case revoked:
		return "revoked"
	}
	if m.announced.reason == "" {
		return "check failed"
	}
	return "check failed: " + m.announced.reason
}

// member makes the record of (role, node).
func (t *Table) member(k key) *member {
	r := t.roles[k.role]
	if r == nil {
		r = &role{name: k.role, label: k.role.HostLabel(), bad: make(map[*member]bool), down: make(map[*member]bool), damped: make(map[*member]bool), since: longAgo}
		r.timer = timer{kind: timerRole, role: string(k.role), index: -1, act: func() { t.dirty[r] = struct{}{} }}
		t.roles[k.role] = r
	}
	n := t.nodes[k.node]
	if n == nil {
		n = &node{id: k.node, last: t.now, beat: longAgo, lastClosed: longAgo}
		t.nodes[k.node] = n
		if t.cfg.NodeHash != nil && !t.collides(k.node) {
			t.hashes[t.cfg.NodeHash(k.node)] = k.node
		}
	}
	m := &member{key: k, role: r, node: n, last: t.now, met: longAgo, gone: longAgo, reportedAt: longAgo, reasons: longAgo, changesPaid: longAgo, absencePaid: longAgo, rejectedAt: longAgo}
	m.timer = timer{kind: timerMember, role: string(k.role), node: string(k.node), index: -1, act: func() { t.wake(m) }}
	r.all++
	i, _ := slices.BinarySearchFunc(n.members, k.role, func(m *member, r subjects.Role) int { return cmp.Compare(m.key.role, r) })
	n.members = slices.Insert(n.members, i, m)
	t.members[k] = m
	return m
}

// forget drops the record of a member that is not in the status.
func (t *Table) forget(m *member) {
	t.detach(m)
	t.endHoldDown(m)
	t.timers.stop(&m.timer)
	delete(t.members, m.key)
	delete(m.role.down, m)
	if m.role.all--; m.role.all == 0 {
		t.endPanic(m.role)
		t.endChecks(m.role)
		t.endHold(m.role)
		t.timers.stop(&m.role.timer)
		delete(t.roles, m.key.role)
		delete(t.dirty, m.role)
	}
	m.node.members = slices.DeleteFunc(m.node.members, func(o *member) bool { return o == m })
	if len(m.node.members) == 0 {
		delete(t.nodes, m.key.node)
		if t.cfg.NodeHash != nil && t.hashes[t.cfg.NodeHash(m.key.node)] == m.key.node {
			delete(t.hashes, t.cfg.NodeHash(m.key.node))
		}
	}
}

// room reports whether one more record may be made, if need be by forgetting
// who has been gone for longest. Where there is none to forget, it does not look again
// for a moment, unless one is removed: a full table must not scan all records for
// each beat that it refuses.
func (t *Table) room() bool {
	if len(t.members) < t.cfg.MaxMembers {
		return true
	}
	if t.now < t.fullUntil {
		return false
	}
	var oldest *member
	for _, m := range t.members {
		if m.listed || m.cause == alive {
			continue
		}
		if oldest == nil || cmp.Or(cmp.Compare(m.last, oldest.last),
			cmp.Compare(m.key.role, oldest.key.role), cmp.Compare(m.key.node, oldest.key.node)) < 0 {
			oldest = m
		}
	}
	if oldest == nil {
		t.fullUntil = t.now + fullPause
		return false
	}
	t.forget(oldest)
	return true
}

// present puts m into the status, or brings what the status shows up to date.
func (t *Table) present(m *member) {
	state, reason := m.shownState()
	now := subjects.Member{
		Node: m.key.node, Addresses: m.announced.addresses, State: state, Reason: reason, Priority: m.announced.priority, Weight: m.announced.weight,
		Since: m.shown.Since, Version: m.announced.version, Plain: m.plain, Attrs: m.announced.attrs,
	}
	now.Site, now.AnnouncedSite = t.place(m)
	before, reasons := m.shown, m.reasons
	decided := m.listed && keptAs(before.Reason) != keptAs(reason) // by an operator
	switch {
	case !m.listed || before.State != state:
		now.Since, m.reasons = t.wall, t.now
	case decided:
	case before.Reason != reason && m.cause == alive && t.now-m.reasons < reasonEvery:
		now.Reason = before.Reason
	case before.Reason != reason:
		m.reasons = t.now
	}
	worse := decided || m.cause != alive || before.State != state && (state == subjects.Suspect || state == subjects.Draining)
	changes := !m.listed || !now.Equal(&before)
	if m.late = changes && !worse && !t.allowChange(m); m.late {
		m.reasons = reasons
		t.count(m)
		t.arm(m)
		return
	}
	if !m.listed {
		m.shown = now
		t.enlist(m)
	} else if changes {
		m.shown = now
		t.revision++
		t.event(subjects.EventUpdate, m.key.role, m.key.node, difference(&before, &now))
	}
	t.count(m)
}

// enlist puts m, whose shown is set, into the status.
func (t *Table) enlist(m *member) {
	r, n := m.role, m.node
	if len(r.list) == 0 {
		t.labels[r.label] = r.name
		t.expire(subjects.NodeID(r.label))
	}
	r.list = slices.Insert(r.list, r.index(m.key.node), m)
	m.listed = true
	n.listed++
	if m.service() {
		n.services++
	}
	if x := t.departed[n.id]; x != nil && (m.service() || !x.service) {
		t.expire(n.id)
	}
	t.endHoldDown(m)
	t.endAbsence(m.key)
	t.revision++
	t.joins++
	if !m.adopted {
		detail := string(m.shown.State)
		if m.shown.Reason != "" {
			detail += ": " + m.shown.Reason
		}
		t.causedEvent(subjects.EventJoin, m.key, subjects.CauseJoin, "", detail)
	}
}

// remove takes m out of the status.
func (t *Table) remove(m *member) {
	r, n := m.role, m.node
	if !m.listed {
		return
	}
	i := r.index(m.key.node)
	r.list = slices.Delete(r.list, i, i+1)
	m.listed = false
	m.late = false
	m.gone = t.now
	t.fullUntil = 0
	n.listed--
	if m.service() {
		n.services--
	}
	t.count(m)
	t.revision++
	if m.cause != dropped {
		t.causedEvent(subjects.EventLeave, m.key, t.causeOf(m), "", m.leaveReason())
	}
	t.noteRemoved(m)
	if len(r.list) == 0 {
		delete(t.labels, r.label)
		t.endPanic(r)
	}
	if m.cause == silent {
		t.recent = append(t.recent, loss{m.key, m.host(), t.now, m.wentWithSite() || m.node.explained(m.last)})
	}
	if !m.wentWithSite() {
		m.damping.owe(m.cause)
	}
	if m.cause != dropped { // who removed it knows whether it departed
		t.depart(m)
	}
	t.arm(m)
}

// service reports whether m is in a role that is not thor's own.
func (m *member) service() bool { return !m.role.name.Infrastructure() }

func (r *role) index(id subjects.NodeID) int {
	i, _ := slices.BinarySearchFunc(r.list, id, func(m *member, id subjects.NodeID) int { return cmp.Compare(m.key.node, id) })
	return i
}

// count brings role.ups, role.bad and role.down in line with m.
func (t *Table) count(m *member) {
	r := m.role
	if m.fine() {
		m.confirmed = false
	}
	t.noteCheck(m)
	if m.listed && !m.fine() {
		r.bad[m] = true
	} else {
		if delete(r.bad, m); r.hold != nil && len(r.bad) == 0 {
			t.dirty[r] = struct{}{} // the hold ends
		}
	}
	if up := m.listed && m.fine() && m.announced.state == subjects.Up; up != m.up {
		m.up = up
		if up {
			if r.ups++; r.ups == 1 {
				r.since = t.now
				t.dirty[r] = struct{}{}
			}
		} else if r.ups--; r.ups == 0 {
			t.dirty[r] = struct{}{}
		}
	}
	k := guardKey{name: GuardLast, role: r.name}
	if len(r.bad) > 0 && !r.canLose() {
		t.raise(k, "no member is up, the failed ones stay")
	} else {
		t.lower(k)
	}
}

// difference says what changed from a to b, in one line.
func difference(a, b *subjects.Member) string {
	switch {
	case a.State != b.State || a.Reason != b.Reason:
		if b.Reason == "" {
			return string(b.State)
		}
		return string(b.State) + ": " + b.Reason
	case !slices.Equal(a.Addresses, b.Addresses):
		return "addresses"
	case a.Priority != b.Priority:
		return "priority"
	case a.Weight != b.Weight:
		return "weight"
	case a.Version != b.Version || a.Plain != b.Plain:
		return "version"
	case !maps.Equal(a.Attrs, b.Attrs):
		return "attributes"
	case a.Site != b.Site || a.AnnouncedSite != b.AnnouncedSite:
		return "site"
	}
	return "since"
}
