package membership

import (
	"slices"

	"thor/subjects"
)

// departed is a node whose last membership ended and whose address is still told.
type departed struct {
	subjects.Departed
	timer timer
}

// depart notes that m was removed: when its node is in no role any more, it is
// listed as departed, with the addresses of what it was removed from last.
func (t *Table) depart(m *member) {
	n := m.node
	if n.leftAt != t.now {
		n.leftAt, n.addresses = t.now, nil
	}
	for _, a := range m.said.addresses {
		if len(n.addresses) < subjects.MaxAddresses && !slices.Contains(n.addresses, a) {
			n.addresses = append(n.addresses, a)
		}
	}
	if n.listed > 0 || len(n.addresses) == 0 {
		return
	}
	if _, taken := t.labels[string(n.id)]; taken {
		return
	}
	t.keep(subjects.Departed{Node: n.id, Addresses: slices.Clone(n.addresses), Until: t.wall.Add(t.cfg.DepartedFor)}, t.now+t.cfg.DepartedFor)
}

// keep lists d until the instant end.
func (t *Table) keep(d subjects.Departed, end instant) {
	if t.departed[d.Node] == nil && len(t.departed) >= t.cfg.MaxMembers {
		return
	}
	t.expire(d.Node)
	x := &departed{Departed: d}
	x.timer = timer{kind: timerDeparted, node: string(d.Node), index: -1, act: func() { t.expire(d.Node) }}
	t.departed[d.Node] = x
	t.timers.set(&x.timer, end)
	t.revision++
}

// expire takes a node off the departed: it returned, or its time is over.
func (t *Table) expire(id subjects.NodeID) {
	x := t.departed[id]
	if x == nil {
		return
	}
	t.timers.stop(&x.timer)
	delete(t.departed, id)
	t.revision++
}

// adoptDeparted takes over a departed node with its end, so that it does not
// change with the manager. Another clock made that end: one that lies absurdly
// far off is cut.
func (t *Table) adoptDeparted(d subjects.Departed) {
	if n := t.nodes[d.Node]; n != nil && n.listed > 0 {
		return
	}
	if x := t.departed[d.Node]; x != nil && x.Until.Equal(d.Until) && slices.Equal(x.Addresses, d.Addresses) {
		return
	}
	if _, taken := t.labels[string(d.Node)]; taken {
		return
	}
	rest := d.Until.Sub(t.wall)
	if rest <= 0 {
		return
	}
	if rest > 2*t.cfg.DepartedFor {
		rest = t.cfg.DepartedFor
		d.Until = t.wall.Add(rest)
	}
	d.Addresses = slices.Clone(d.Addresses)
	t.keep(d, t.now+rest)
}
