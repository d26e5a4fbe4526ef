package membership

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// What the status says of a (node, role) that is not in its role:
//
//	lost  it failed: removed by a crash, by silence, by a failed check or with an expired certificate
//	held  it announces itself and is well, but G6 keeps it out
//	none  it left, was drained when it ended, was revoked, or was never there
//
// A loss ends when the member returns to its role or is held, leaves, is revoked,
// or is forgotten: by an operator, after Config.LostFor, or as the oldest of too
// many. A held member that fails is lost.

// An absence is what the status says of one such pair: lost or held, never both;
// neither while that has to wait, see absenceEvery.
type absence struct {
	pair subjects.Pair
	lost *subjects.Lost // nil: it is held
	held *subjects.Held
	end  instant   // of lost: when it is forgotten; of held: when it returns
	told time.Time // Since of lost as another manager told it; zero: this one found it
	aged timer     // in losses.byAge, while it is lost
	late timer     // when it is looked at again
}

// losses are the absences of a table.
type losses struct {
	by      map[key]*absence
	brokers map[subjects.NodeID]*absence // those of by that are of brokers
	byAge   timers                       // the lost ones, the oldest first
	timer   timer                        // the end of the oldest
	shown   *subjects.Losses             // as Fill writes them; nil: they changed
}

func (t *Table) initLosses() {
	t.losses.by = make(map[key]*absence)
	t.losses.brokers = make(map[subjects.NodeID]*absence)
	t.losses.timer = timer{kind: timerLosses, index: -1, act: t.ageLosses}
}

// causeOf is the cause for which m leaves, or left, its role.
func (t *Table) causeOf(m *member) subjects.Cause {
	switch m.cause {
	case left:
		return subjects.CauseLeave
	case revoked:
		return subjects.CauseRevoked
	case silent, lost:
		switch {
		case t.expired(m.key):
			return subjects.CauseExpired
		case m.cause == lost:
			return subjects.CauseConnection
		}
		return subjects.CauseSilence
	}
	return subjects.CauseCheck
}

// expired reports whether a certificate for k has expired, and none is good.
func (t *Table) expired(k key) bool {
	ended := false
	for _, f := range t.facts[k.node] {
		if !f.names(k.role) {
			continue
		}
		if f.revoked || t.wall.Before(f.NotAfter) {
			return false
		}
		ended = true
	}
	return ended
}

// isLoss reports whether the end of m in its role is a loss. A monitor only looks
// on, and who was drained is missed by no caller.
func (m *member) isLoss(c subjects.Cause) bool {
	switch {
	case m.key.role == subjects.Monitor, m.announced.state == subjects.Draining:
		return false
	case c == subjects.CauseLeave, c == subjects.CauseRevoked:
		return false
	}
	return true
}

// noteRemoved notes what the removal of m from its role makes of it. One that
// another manager removed is what that one says, see adoptLosses.
func (t *Table) noteRemoved(m *member) {
	if m.cause != dropped && m.isLoss(t.causeOf(m)) {
		t.lose(m)
	}
}

// lose lists m as lost from now on.
func (t *Table) lose(m *member) {
	reason := m.leaveReason()
	if t.causeOf(m) == subjects.CauseExpired {
		reason = "certificate expired"
	}
	t.addLoss(subjects.Lost{
		Node: m.key.node, Role: m.key.role, Addresses: m.announced.addresses, Since: t.wall,
		Reason: subjects.Printable(reason, subjects.MaxReason),
	}, t.now+t.cfg.LostFor)
}

// addLoss lists l, which ends at the instant end. The oldest makes room.
func (t *Table) addLoss(l subjects.Lost, end instant) *absence {
	a := t.absence(key{l.Role, l.Node})
	a.lost, a.held = &l, nil
	a.end, a.told = end, time.Time{}
	t.losses.byAge.set(&a.aged, end)
	for len(t.losses.byAge) > t.cfg.MaxLost {
		t.forgetOldest(subjects.CauseFull, "there are more losses than are kept, this was the oldest")
	}
	t.armLosses()
	t.lossesChanged()
	return a
}

func (t *Table) lossesChanged() {
	t.losses.shown = nil
	t.revision++
}

// absence finds the one of k or makes it.
func (t *Table) absence(k key) *absence {
	a := t.losses.by[k]
	if a != nil {
		return a
	}
	a = &absence{pair: subjects.Pair{Node: k.node, Role: k.role}}
	a.aged = timer{role: string(k.role), node: string(k.node), index: -1}
	a.late = timer{kind: timerAbsence, role: string(k.role), node: string(k.node), index: -1, act: func() {
		if m := t.members[k]; m != nil {
			t.noteAbsence(m)
		} else if a.lost == nil {
			t.endAbsence(k)
		}
	}}
	t.losses.by[k] = a
	if k.role == subjects.EventServer {
		t.losses.brokers[k.node] = a
	}
	return a
}

// endAbsence lists k as neither lost nor held.
func (t *Table) endAbsence(k key) {
	a := t.losses.by[k]
	if a == nil {
		return
	}
	delete(t.losses.by, k)
	if k.role == subjects.EventServer {
		delete(t.losses.brokers, k.node)
	}
	t.losses.byAge.stop(&a.aged)
	t.timers.stop(&a.late)
	t.armLosses()
	t.lossesChanged()
}

// armLosses sets the one timer of all losses to the end of the oldest.
func (t *Table) armLosses() {
	if len(t.losses.byAge) == 0 {
		t.timers.stop(&t.losses.timer)
		return
	}
	if at := t.losses.byAge[0].at; t.losses.timer.index < 0 || t.losses.timer.at != at {
		t.timers.set(&t.losses.timer, at)
	}
}

// ageLosses forgets the losses whose time is over.
func (t *Table) ageLosses() {
	for len(t.losses.byAge) > 0 && t.losses.byAge[0].at <= t.now {
		t.forgetOldest(subjects.CauseAge, "lost for "+t.cfg.LostFor.String())
	}
	t.armLosses()
}

func (t *Table) forgetOldest(c subjects.Cause, detail string) {
	x := t.losses.byAge[0]
	k := key{subjects.Role(x.role), subjects.NodeID(x.node)}
	t.endAbsence(k)
	t.causedEvent(subjects.EventForget, k, c, "", detail)
}

// noteAbsence brings what is said of m, which has changed, in line with what is
// known of it. Changes of one member are few at once, then one in absenceEvery: a
// member that is held because it comes and goes is not to be news each time.
func (t *Table) noteAbsence(m *member) {
	a := t.losses.by[m.key]
	held := t.isHeld(m)
	switch {
	case m.listed:
		t.endAbsence(m.key)
	case held && a != nil && a.held != nil && a.end == m.damping.until():
	case held:
		if a = t.absence(m.key); t.payAbsence(m, a) {
			t.listHeld(m, a)
		}
	case a == nil:
	case a.held != nil && m.adopted && m.cause == dropped: // its time is over, and it did not return
		t.loseUnheard(m)
	case m.cause == left, m.cause == revoked, a.lost == nil && !m.failed():
		t.endAbsence(m.key)
	case a.lost == nil && t.payAbsence(m, a):
		t.lose(m)
	}
}

// loseUnheard lists m as lost, which another manager held down and which was never
// heard here.
func (t *Table) loseUnheard(m *member) {
	m.adopted = false
	t.endHoldDown(m)
	where, _, _ := t.allowed(m.key)
	t.addLoss(subjects.Lost{
		Node: m.key.node, Role: m.key.role, Addresses: append(addresses{}, where[:min(len(where), subjects.MaxAddresses)]...), Since: t.wall,
		Reason: whyUnheard,
	}, t.now+t.cfg.LostFor)
}

// whyUnheard is why a member is lost that did not return when it might.
const whyUnheard = "did not return after it was held down"

// failed reports whether m, which is out of its role, is known here to have ended
// in a way that makes a loss.
func (m *member) failed() bool {
	return m.cause == silent || m.cause == lost || m.cause == alive && m.announced.state == subjects.Down
}

// isHeld reports whether G6 keeps m out, which is well; or it is said to be so by
// another manager and not heard here yet.
func (t *Table) isHeld(m *member) bool {
	return !m.listed && m.damping.on && (m.role.damped[m] || m.adopted && t.now < m.damping.until())
}

// payAbsence reports whether what a says of m may change now; else it is looked at
// again when it may.
func (t *Table) payAbsence(m *member, a *absence) bool {
	if at := m.absencePaid - (absenceBurst-1)*absenceEvery; t.now < at {
		t.timers.sooner(&a.late, at)
		return false
	}
	m.absencePaid = max(m.absencePaid, t.now) + absenceEvery
	return true
}

// listHeld lists m as held, in a.
func (t *Table) listHeld(m *member, a *absence) {
	t.losses.byAge.stop(&a.aged)
	t.armLosses()
	a.lost, a.end = nil, m.damping.until()
	a.held = &subjects.Held{Node: a.pair.Node, Role: a.pair.Role, Until: t.wall.Add(a.end - t.now), Reason: heldReason}
	if m.adopted { // it may never be heard here
		t.timers.sooner(&a.late, a.end)
	}
	t.lossesChanged()
}

const heldReason = "left and came back too often"

// fillLosses writes the losses into s.
func (t *Table) fillLosses(s *subjects.Status) {
	if t.losses.shown == nil {
		var l subjects.Losses
		l.ClearLosses()
		for _, k := range slices.SortedFunc(maps.Keys(t.losses.by), compareKeys) {
			switch a := t.losses.by[k]; {
			case a.lost != nil:
				l.Lost = append(l.Lost, *a.lost)
			case a.held != nil:
				l.Held = append(l.Held, *a.held)
			}
		}
		t.losses.shown = &l
	}
	s.Losses = *t.losses.shown
}

// Forget ends the losses of node under role, or under all roles if role is empty,
// and returns those roles. A member that is still there, failing its check, is
// not lost again before it has been in its role. Without a loss to end the error
// says how things are.
func (t *Table) Forget(node subjects.NodeID, role subjects.Role, by subjects.NodeID, now time.Time) ([]subjects.Role, error) {
	t.enter(now)
	var roles []subjects.Role
	for k, a := range t.losses.by {
		if k.node == node && (role == "" || k.role == role) && a.lost != nil {
			roles = append(roles, k.role)
		}
	}
	slices.Sort(roles)
	for _, r := range roles {
		t.endAbsence(key{r, node})
		t.causedEvent(subjects.EventForget, key{r, node}, subjects.CauseOperator, by, "")
	}
	if len(roles) > 0 {
		return roles, nil
	}
	return nil, t.notLost(node, role)
}

// notLost says why there is nothing to forget of node.
func (t *Table) notLost(node subjects.NodeID, role subjects.Role) error {
	if n := t.nodes[node]; n != nil {
		for _, m := range n.members {
			switch {
			case role != "" && m.key.role != role:
			case m.listed:
				return fmt.Errorf("%s is not lost: it is %s as %s", node, m.shown.State, m.key.role)
			case t.isHeld(m):
				return fmt.Errorf("%s is not lost: it is held down as %s", node, m.key.role)
			}
		}
	}
	if role == "" {
		return fmt.Errorf("%s is not lost", node)
	}
	return fmt.Errorf("%s is not lost as %s", node, role)
}

// revokeLosses ends the losses of node that only a revoked certificate allowed.
func (t *Table) revokeLosses(node subjects.NodeID) {
	for k := range t.losses.by {
		if k.node == node && t.onlyRevoked(k) {
			t.endAbsence(k)
		}
	}
}

// causedEvent is event with a cause and an operator.
func (t *Table) causedEvent(kind subjects.EventKind, k key, c subjects.Cause, by subjects.NodeID, detail string) {
	t.event(kind, k.role, k.node, detail)
	e := &t.events[len(t.events)-1]
	e.Cause, e.By = c, by
}
