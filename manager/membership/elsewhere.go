package membership

import (
	"maps"
	"slices"
	"strconv"

	"thor/subjects"
)

// What brokers say of the brokers that they have routes to tells this observer what it
// does not hear itself: messages pass one route at most, so a broker may run, and serve
// members, where the route to it is cut and others have theirs.

// elsewhereHold is until when m may be silent because it, or who it has gone to, is heard by
// others, or is on its way from a broker that was lost a moment ago.
func (t *Table) elsewhereHold(m *member) (until instant) {
	r := t.roles[subjects.EventServer]
	if r == nil {
		return 0
	}
	if m.role == r { // it stays where it is, and is listed as long as others are held because of it
		if t.named(m) {
			return t.now + heartbeat
		}
		return m.last + t.dead() + suspectMargin
	}
	for _, o := range r.list {
		if t.hidden(o) {
			until = max(until, m.last+t.dead()+lookMargin)
		}
		until = max(until, t.strayHold(m, o))
	}
	return until
}

// named reports whether the broker m runs by the word of another one, which has a route to it. A
// broker that is dead, frozen or cut off from all loses its routes within routeLost, and then none
// names it. The word counts as long as the other one is heard as others are; what it said when m was silent for
// longer than that already, until it is judged itself: it may be this observer that is cut off.
func (t *Table) named(m *member) bool {
	return slices.ContainsFunc(m.role.list, func(o *member) bool {
		fresh := t.heard-o.last <= t.missed() || o.last-m.last > t.missed()+routeLost
		return o != m && o.cause == alive && !o.adopted && fresh && o.announced.attrs.HasPeer(m.key.node)
	})
}

// hearsay takes up brokers again that are lost here and that another one, which is heard, names: a
// route to them is back there. They are named for as long as a beat may take, so that
// one that has just started shows itself first.
func (t *Table) hearsay() {
	r := t.roles[subjects.EventServer]
	if r == nil || t.now-t.listened < heartbeat {
		return
	}
	t.listened = t.now
	named := make(map[subjects.NodeID]instant)
	for _, o := range r.list {
		if !o.present(t) {
			continue
		}
		peers, _ := o.announced.attrs.Peers()
		for _, id := range peers {
			named[id] = t.now
			if at, before := t.naming[id]; before {
				named[id] = at
			}
		}
	}
	t.naming = named
	for _, id := range slices.Sorted(maps.Keys(named)) {
		if m := t.members[key{r.name, id}]; m != nil && (m.cause == silent || m.cause == dropped) && t.now-named[id] >= t.missed() {
			m.cause, m.why = alive, ""
			t.settle(m)
			t.count(m)
			t.arm(m)
		}
	}
}

// present reports whether m is heard, and missed no beat.
func (m *member) present(t *Table) bool {
	return m.cause == alive && !m.adopted && t.now-m.last <= t.missed()
}

// hidden reports whether the broker o runs where this observer does not hear it. A member that
// was sent there, or dialled it when its own was lost, looks for another one when no tick comes.
func (t *Table) hidden(o *member) bool { return !o.present(t) && t.named(o) }

// strayHold is until when m may be silent because it may have gone to the broker o, which fell
// silent after it, or just before: what is heard last of a broker that is cut off is up to a
// beat old then. It sends its clients away within this time. Or because its broker is heard again since a moment
// ago: m's next beat is due. Neither rests on what members say of others.
func (t *Table) strayHold(m, o *member) instant {
	switch {
	case o.last > m.last-t.missed() && t.now-o.last > t.missed():
		return o.last + t.dead() + suspectMargin
	case m.broker != nil && m.broker.name == string(o.key.node) && o.returned > 0 && t.now-o.returned < t.missed():
		return o.returned + t.missed()
	}
	return 0
}

// enclosed reports whether no broker that this observer hears has a route to one that it
// does not hear, by the number of routes that each announces. Who is connected to any broker
// of this part of the network is heard then, whichever manager leads.
func (t *Table) enclosed() bool {
	r := t.roles[subjects.EventServer]
	if r == nil {
		return false
	}
	heard, most := 0, 0
	for _, m := range r.list {
		if !m.present(t) {
			continue
		}
		n, err := strconv.Atoi(m.announced.attrs[subjects.AttrRoutes])
		if err != nil {
			return false
		}
		heard, most = heard+1, max(most, n)
	}
	return heard > most
}
