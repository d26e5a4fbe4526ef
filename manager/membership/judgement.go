package membership

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// A state is what the table thinks of a member; the package comment says what
// leads from one to another.
type state uint8

const (
	stateUp        state = iota // it beats and its checks pass, also while it drains
	stateInherited              // an adopted status lists it, it has not been heard
	stateClosing                // its connection ended, the grace runs
	stateFailing                // it beats and says down
	stateLost                   // its connection ended and it did not come back
	stateSilent                 // no beat for Dead
	stateHeldDown               // it beats, and G6 keeps it out
	stateLeft                   // it said so
	stateRevoked                // its certificate is not good any more
	stateDropped                // another manager removed it
)

// state names what is known of m.
func (m *member) state() state {
	switch m.cause {
	case silent:
		return stateSilent
	case lost:
		return stateLost
	case left:
		return stateLeft
	case revoked:
		return stateRevoked
	case dropped:
		return stateDropped
	}
	switch {
	case m.announced.state == subjects.Down:
		return stateFailing
	case m.adopted:
		return stateInherited
	case m.closed.on:
		return stateClosing
	case m.role.damped[m]:
		return stateHeldDown
	}
	return stateUp
}

// roleFacts are all that the judgement of a role rests on.
type roleFacts struct {
	now     instant
	needed  bool    // failure must not empty it (G2)
	up      int     // members that are up
	size    int     // members in the status
	revived instant // it has a member up again: the others have until then to show
	blind   instant // G4: silence proves nothing before
	checks  bool    // too many checks fail at once
	hold    instant // an operator keeps failed members until then; 0: none does
	panic   *panicFacts
	failed  []failedFacts // in the status, in the order in which they may go
}

// panicFacts are those of guard G3, while it is on.
type panicFacts struct {
	until   instant // no removal by silence before
	next    instant // nor before this: one at a time
	step    instant // from one to the next
	stable  int     // the role's nodes before the incident: half of them stay
	healthy bool    // the others beat as they should
}

// failedFacts are those of one failed member.
type failedFacts struct {
	state     state   // failing, lost or silent
	proven    bool    // beyond the uncertainty of silence
	confirmed bool    // by an operator
	site      instant // its whole site is silent: held until then, and by no guard against mass silence; 0: it is not
}

// A ruling is what becomes of a failed member: it goes now, or a guard holds it,
// until it is looked at again at the latest.
type ruling struct {
	guard string // empty: it goes now
	until instant
}

// judge is the verdict on the failed members of a role: one ruling for each.
func judge(f *roleFacts) []ruling {
	out := make([]ruling, len(f.failed))
	size, next := f.size, instant(0)
	if f.panic != nil {
		next = max(f.panic.until, f.panic.next)
	}
	for i, m := range f.failed {
		r := &out[i]
		switch doubted := !m.proven && !m.confirmed; {
		case f.needed && f.up == 0:
			*r = ruling{GuardLast, never}
		case m.confirmed:
		case f.checks && m.state == stateFailing:
			*r = ruling{GuardChecks, never}
		case f.now < f.hold && m.state != stateLost:
			*r = ruling{GuardHold, f.hold}
		case doubted && f.now < f.blind:
			*r = ruling{GuardObserver, f.blind}
		case doubted && f.now < f.revived:
			*r = ruling{GuardLast, f.revived}
		case doubted && f.now < m.site:
			*r = ruling{GuardSite, m.site}
		case m.site != 0: // one incident, not a mass silence
		case doubted && f.panic != nil && f.now < next:
			*r = ruling{GuardPanic, next}
		case doubted && f.panic != nil && (2*(size-1) < f.panic.stable || !f.panic.healthy):
			*r = ruling{GuardPanic, f.now + heartbeat}
		case doubted && f.panic != nil:
			next = f.now + f.panic.step
		}
		if r.guard == "" {
			size--
		}
	}
	return out
}

// factsOf gathers what the judgement of r rests on.
func (t *Table) factsOf(r *role, failed []*member) *roleFacts {
	f := &roleFacts{
		now: t.now, needed: r.name != subjects.Monitor, up: r.ups, size: len(r.list),
		revived: r.since + t.dead(), blind: t.blind.until, checks: r.checks != nil,
	}
	if r.hold != nil {
		f.hold = r.hold.until
	}
	if g := r.panic; g != nil {
		f.panic = &panicFacts{until: g.until, next: g.next, step: t.cfg.PanicStep, stable: g.stable}
		f.panic.healthy = t.now >= max(g.until, g.next) && t.healthy()
	}
	for _, m := range failed {
		f.failed = append(f.failed, failedFacts{state: m.state(), proven: t.proven(m), confirmed: m.confirmed, site: t.siteRuling(m)})
	}
	return f
}

// proven reports whether m's failure is beyond the uncertainty of silence: it
// announced so, or its connection ended, and this observer heard all since.
func (t *Table) proven(m *member) bool {
	switch m.state() {
	case stateLost:
		return m.died >= t.resumed
	case stateFailing:
		return !m.adopted && m.last >= t.resumed
	}
	return false
}

// heldUntil is until when m's silence is not held against it.
func (t *Table) heldUntil(m *member) instant {
	if t.blind.until > t.now {
		return t.blind.until
	}
	if deaf := t.now - t.heard; deaf > gapAfter && deaf <= isolatedAfter { // whether this observer is cut off is known then
		return t.heard + isolatedAfter + time.Millisecond
	}
	if hold := t.siteHold(m); hold > 0 {
		return hold
	}
	return max(t.brokerHold(m), t.elsewhereHold(m))
}

// canLose reports whether r can do without its failed members (guard G2): a member
// is up, or the role is not needed. Monitors only look on.
func (r *role) canLose() bool { return r.ups > 0 || r.name == subjects.Monitor }

// review judges r again and does what follows: a member failed, came up or was the
// last one to go, or a guard may let go.
func (t *Table) review(r *role) {
	t.reviewChecks(r)
	if r.ups == 0 {
		t.admit(r)
	}
	if r.hold != nil && (len(r.bad) == 0 || t.now >= r.hold.until) {
		t.endHold(r)
	}
	bad := slices.SortedFunc(maps.Keys(r.bad), func(a, b *member) int {
		return cmp.Or(cmp.Compare(b.cause, a.cause), cmp.Compare(a.last, b.last), cmp.Compare(a.key.node, b.key.node))
	})
	again, doubted := never, false
	for i, v := range judge(t.factsOf(r, bad)) {
		m := bad[i]
		if v.guard == "" {
			if r.panic != nil && !m.confirmed && !t.proven(m) {
				r.panic.next = t.now + t.cfg.PanicStep
			}
			t.remove(m)
			continue
		}
		t.present(m)
		again = min(again, v.until)
		doubted = doubted || !t.proven(m)
	}
	if again < never {
		t.timers.sooner(&r.timer, max(again, t.now+heartbeat))
	}
	t.reviewPanic(r, doubted)
}

// flush judges the roles in which this call changed something, so that those who fail
// together are judged together.
func (t *Table) flush() {
	for len(t.dirty) > 0 {
		rs := slices.SortedFunc(maps.Keys(t.dirty), func(a, b *role) int { return cmp.Compare(a.name, b.name) })
		clear(t.dirty)
		for _, r := range rs {
			t.review(r)
		}
	}
}

// judgeSilent looks whether too many fell silent together, before they are judged.
func (t *Table) judgeSilent() {
	if len(t.silent) > 0 {
		t.alarm(t.silent)
		t.silent = t.silent[:0]
	}
}
