package membership

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// blindness is guard G4: until then silence proves nothing, since the observer
// itself may have missed the beats.
type blindness struct {
	until instant
	cut   bool // this observer was cut off, or is: connections that brokers gave up prove nothing either
	timer timer
}

// Blind says that this observer was cut off: it removes no member for silence
// until all that are alive had time to be heard. DISCONNECT stays proof, but its
// grace begins anew.
func (t *Table) Blind(now time.Time) {
	t.enter(now)
	t.identitiesKnownAt = t.now + identityWait // certificates told meanwhile are to be asked for
	t.wasCutOff(true)
	t.flush()
}

// Missed says that this observer did not take in all that it was sent. It is as
// Blind, but the grace of a closed connection begins anew once only: whatever
// keeps sending more than is taken in would hold back every removal.
func (t *Table) Missed(now time.Time) {
	t.enter(now)
	t.identitiesKnownAt = t.now + identityWait
	t.missedAt = t.now
	t.wasCutOff(false)
	t.flush()
}

// wasCutOff begins blindness. A member that came back elsewhere meanwhile shows
// with its next beat.
func (t *Table) wasCutOff(again bool) {
	t.resumed = t.now
	// An observer with more to read than it can is not cut off: ended connections are told as ever.
	t.blind.cut = again || t.blind.cut && t.now < t.blind.until
	t.blindFor("was cut off", t.cfg.BareGrace, again)
}

// pause notes that the observer stood still for gap. What it missed is still in
// its queues, so proof of life gets longer to show than usual. A process that
// starts beside many others on a loaded machine stands still now and then: that
// is as blind, but raises no guard.
func (t *Table) pause(gap time.Duration) {
	why := "was paused"
	if t.now-gap < t.dead() && gap < t.dead() {
		why = ""
	}
	t.resumed, t.heard = t.now, t.now // whether it hears members is not known yet
	t.blindFor(why, t.cfg.BareGrace, true)
}

// noteHeard notes that a member is heard.
func (t *Table) noteHeard() {
	if t.now-t.heard > gapAfter {
		t.resumed = t.now
	}
	t.heard = t.now
}

// blindFor begins blindness and, again or for the first time only, the grace of
// closed connections.
func (t *Table) blindFor(why string, grace time.Duration, again bool) {
	t.beginBlind(why)
	for _, m := range t.members {
		if c := &m.closed; c.on && (again || !c.renewed) {
			c.renewed = true
			c.due = t.now + max(c.afresh, grace)
			t.arm(m)
		}
	}
}

// beginBlind begins blindness, or prolongs it; with an empty why it raises no guard.
func (t *Table) beginBlind(why string) { t.blindUntil(why, t.now+t.dead()+blindMargin) }

func (t *Table) blindUntil(why string, until instant) {
	t.blind.until = max(t.blind.until, until)
	t.timers.set(&t.blind.timer, t.blind.until)
	begin := t.raise
	if why == "" {
		begin = t.raiseQuietly
	}
	begin(guardKey{name: GuardObserver}, "this manager "+why).until = t.blind.until
}

// endBlind is what the end of blindness does.
func (t *Table) endBlind() {
	t.blind.cut = false
	t.lower(guardKey{name: GuardObserver})
}

// isolation finds out that no member at all is heard: then this observer is cut off. One node
// alone can be dead, so it takes two that should beat.
func (t *Table) isolation() {
	if t.now-t.heard <= isolatedAfter {
		return
	}
	beating := 0
	for _, n := range t.nodes {
		if n.alive() {
			beating++
		}
		if beating == 2 {
			t.beginBlind("hears nobody")
			t.blind.cut = true
			return
		}
	}
}

// alive reports whether some member of n in the status is thought alive.
func (n *node) alive() bool {
	for _, m := range n.members {
		if m.listed && m.cause == alive {
			return true
		}
	}
	return false
}

// Adopt takes over a status that another manager made, to begin from it or to
// keep step with it. Members that this table has not heard keep their place,
// state and since until they are heard, or stay silent for Dead and 2 s; what
// it hears itself it knows better. s is not changed. Silence proves nothing
// afterwards, as after Blind, unless this table has followed all of s itself; a closed
// connection does.
func (t *Table) Adopt(s *subjects.Status, now time.Time) { t.AdoptAged(s, -1, now) }

// AdoptAged is Adopt for a status of which it is known how long ago the other
// manager made it: losses then show the time of this manager's clock.
func (t *Table) AdoptAged(s *subjects.Status, age time.Duration, now time.Time) {
	t.enter(now)
	t.adoptStatus(s, t.now, age)
}

// TakeUp is AdoptAged for the status with which this observer begins to lead, of which its
// maker said at the time of confirmed, last, that it is the current one; zero: that is not
// known. Members that fell silent together with it and failed here are out, if this table
// has followed all: the other manager did not live to tell it.
func (t *Table) TakeUp(s *subjects.Status, age time.Duration, confirmed, now time.Time) {
	t.enter(now)
	at := t.now
	if !confirmed.IsZero() {
		at = min(at, t.since(confirmed))
	}
	t.adoptStatus(s, at, age)
	t.tellIncidents()
}

func (t *Table) adoptStatus(s *subjects.Status, confirmed instant, age time.Duration) {
	if t.cfg.Domain != "" && s.Domain != "" && s.Domain != t.cfg.Domain {
		return
	}
	until := t.unfollowed(s, confirmed)
	followed := until <= t.now
	if !followed {
		t.blindUntil("took over from another one", until)
	}
	all := t.hearing(s) == len(s.Roles[subjects.EventServer])
	for _, name := range s.RoleNames() {
		for i := range s.Roles[name] {
			if m := t.members[key{name, s.Roles[name][i].Node}]; !followed || !t.failedWith(m, confirmed) {
				t.adopt(name, &s.Roles[name][i], all)
			}
		}
		t.adoptLast(name, s.Roles[name])
		t.adoptHold(name, s.Roles[name], s.Time, age)
	}
	for _, name := range slices.Sorted(maps.Keys(t.roles)) {
		for _, m := range slices.Clone(t.roles[name].list) {
			if s.Member(name, m.key.node) == nil {
				t.dropUnlisted(m, len(s.Roles[name]) > 0)
			}
		}
	}
	t.adoptLosses(s, age)
	for _, d := range s.Departed { // those that were listed here and are held down there, too
		t.adoptDeparted(s, d, age)
	}
	if t.cfg.Identities {
		t.sweepDue = true
		t.sweep()
		t.compareDue = true
	}
	t.judgeSilent()
	t.flush()
}

// unfollowed is until when silence proves nothing about the members of s; now or before:
// this table has followed s, and its own clock of each member counts on. It knows all that s
// says first-hand, and since its last gap a silence has had its time. It hears more than half
// of the brokers of s, which those in the smaller part of a network do not. Members that are
// silent may be so here only, unless this part of the network is enclosed; then also those
// that fell silent when the other manager did, at confirmed, and failed here are no
// contradiction.
func (t *Table) unfollowed(s *subjects.Status, confirmed instant) (until instant) {
	known := t.dead() + blindMargin
	if t.now-t.heard > gapAfter || !t.agrees(s, confirmed) {
		return t.now + known
	}
	until = max(known, t.blind.until, t.resumed+known)
	for _, b := range t.brokers {
		until = max(until, b.since+known, b.resumed+known)
	}
	return until
}

// hearing is through how many of the brokers of s this table hears members.
func (t *Table) hearing(s *subjects.Status) (n int) {
	for i := range s.Roles[subjects.EventServer] {
		if b := t.brokers[string(s.Roles[subjects.EventServer][i].Node)]; b != nil && t.now-b.last <= t.missed() {
			n++
		}
	}
	return n
}

// agrees reports whether this table hears what the maker of s does, and lists what s lists.
func (t *Table) agrees(s *subjects.Status, confirmed instant) bool {
	if 2*t.hearing(s) <= len(s.Roles[subjects.EventServer]) {
		return false
	}
	enclosed := t.enclosed()
	for name, ms := range s.Roles {
		for i := range ms {
			m := t.members[key{name, ms[i].Node}]
			switch gone := t.failedWith(m, confirmed); {
			case !gone && (!m.isListed() || m.adopted || m.cause != alive && ms[i].State == subjects.Up):
				return false
			case (gone || t.now-m.last > t.missed()) && !enclosed:
				return false
			}
		}
	}
	return true
}

// failedWith reports whether m failed by this observer's own knowledge, and was heard last
// when another manager was, at: a manager that went on without it had heard it elsewhere.
func (t *Table) failedWith(m *member, at instant) bool {
	return m != nil && !m.adopted && (m.cause == silent || m.cause == lost && !m.weak) && m.last > at-t.missed()
}

// dropUnlisted removes m, which an adopted status does not list, if nothing but a
// former status lists it; or if it missed a beat here too, and others of
// its role are listed. One who beats has only joined meanwhile. The other
// manager has told of the removal.
func (t *Table) dropUnlisted(m *member, others bool) {
	if !m.adopted && (!others || len(m.role.list) < 2 || t.now-m.last <= t.missed()) {
		return
	}
	m.cause = dropped
	m.adopted = false
	m.closed = closed{}
	m.damping.restart()
	t.detach(m)
	t.remove(m)
}

// adopt lists a, unless this table knows better. all says that it hears every broker of the
// status: else one that ended here may have come back through a broker that it does not hear.
func (t *Table) adopt(name subjects.Role, a *subjects.Member, all bool) {
	k := key{name, a.Node}
	m := t.members[k]
	switch {
	case m == nil:
		if !t.room() {
			return
		}
		m = t.member(k)
	case m.listed && !m.adopted && !t.silentToo(m, a):
		if m.shown.State == a.State && !m.shown.Since.Equal(a.Since) {
			m.shown.Since = a.Since
			t.revision++
		}
		return
	case !m.listed && m.fine(): // held down here, but not there
		t.endHoldDown(m)
		t.present(m)
		m.shown.Since = a.Since
		return
	case !m.listed && (m.cause == revoked || m.cause != silent && m.cause != dropped && !m.doubtful() && all && t.knows(m)):
		return
	}
	t.listAdopted(m, a)
}

// silentToo reports whether a is silent for the other manager, and m was not heard here for as long,
// though this table may not judge it yet: then that one's word counts, or a member that is gone would
// be up again for some seconds, and what an operator keeps would not be.
func (t *Table) silentToo(m *member, a *subjects.Member) bool {
	reason, _, _ := cutKept(a.Reason)
	return m.cause == alive && a.State == subjects.Suspect && reason == whySilent && t.now-m.last >= t.dead()
}

// adoptLast lists what another manager kept of a role of which none is left here: it failed while
// another member was up, as this table has it, and for the other manager it is the last one (G2).
func (t *Table) adoptLast(name subjects.Role, ms []subjects.Member) {
	if r := t.roles[name]; r == nil || len(r.list) > 0 || name == subjects.Monitor {
		return
	}
	for i := range ms {
		if m := t.members[key{name, ms[i].Node}]; m != nil && (m.cause == lost || m.cause == silent) {
			t.listAdopted(m, &ms[i])
		}
	}
}

// doubtful reports whether m was removed because its broker gave up its connection, or
// since one of two processes ended: one who lists it heard it elsewhere, or the other.
func (m *member) doubtful() bool { return m.weak && (m.cause == lost || m.cause == left) }

// knows reports whether this table heard all that there was since the last that
// it knows of m.
func (t *Table) knows(m *member) bool {
	return max(m.last, m.gone) >= t.resumed && t.now-t.heard <= gapAfter
}

// listAdopted lists m as a says. A suspect failed there; why decides which guard may
// hold it here.
func (t *Table) listAdopted(m *member, a *subjects.Member) {
	if m.listed && m.shown.Equal(a) {
		return
	}
	m.adopted, m.shown = true, *a
	m.announced = announced{
		state: a.State, addresses: a.Addresses, priority: a.Priority, weight: a.Weight, version: a.Version, attrs: a.Attrs, site: a.Place(),
		reason: a.Reason,
	}
	m.inherited = t.cfg.Identities
	m.plain = a.Plain
	m.cause = alive
	m.weak = false
	m.last = t.now
	reason, _, _ := cutKept(a.Reason)
	switch {
	case a.State != subjects.Suspect:
	case reason == whySilent, reason == whyLost:
		m.announced.state = subjects.Up
		m.cause, m.why, m.died = silent, reason, t.now
		t.silent = append(t.silent, m) // they may be many: that guard does not end with its manager
	default:
		m.announced.state, m.announced.reason = subjects.Down, reason
	}
	if m.listed {
		t.revision++
	} else {
		t.enlist(m)
	}
	t.count(m)
	if !m.fine() {
		t.dirty[m.role] = struct{}{}
	}
	t.arm(m)
}
