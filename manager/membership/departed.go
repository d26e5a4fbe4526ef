package membership

import (
	"slices"
	"time"

	"thor/subjects"
)

// departed is a node whose address is still told: its last service ended, or the
// last membership of one that had none.
type departed struct {
	subjects.Departed
	service bool      // the addresses are of a service: thor's own roles do not stand in for it
	told    time.Time // Until as another manager told it; zero: this one found it
	timer   timer
}

// depart notes that m was removed: when its node has no service any more, or is
// in no role, it is listed as departed, with the addresses of what it was
// removed from last. Addresses of services go before those of thor's own roles.
func (t *Table) depart(m *member) {
	n := m.node
	x := t.departed[n.id]
	if !m.service() && (n.services > 0 || x != nil && x.service) {
		return
	}
	if n.leftAt != t.now {
		n.leftAt, n.addresses = t.now, nil
	}
	for _, a := range m.announced.addresses {
		if len(n.addresses) < subjects.MaxAddresses && !slices.Contains(n.addresses, a) {
			n.addresses = append(n.addresses, a)
		}
	}
	if n.services > 0 || n.listed > 0 && !m.service() || len(n.addresses) == 0 || !m.role.name.NamesHost() {
		return
	}
	if _, taken := t.labels[string(n.id)]; taken {
		return
	}
	d := subjects.Departed{Node: n.id, Addresses: slices.Clone(n.addresses), Until: t.wall.Add(t.cfg.DepartedFor)}
	t.listDeparted(&departed{Departed: d, service: m.service()}, t.now+t.cfg.DepartedFor)
}

// listDeparted lists x until the instant end.
func (t *Table) listDeparted(x *departed, end instant) {
	if t.departed[x.Node] == nil && len(t.departed) >= t.cfg.MaxMembers {
		return
	}
	t.expire(x.Node)
	x.timer = timer{kind: timerDeparted, node: string(x.Node), index: -1, act: func() { t.expire(x.Node) }}
	t.departed[x.Node] = x
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

// adoptDeparted takes over a departed node, so that it does not change with the
// manager. In the status of another manager it may be a member in thor's own
// roles: then the addresses are of a service. Its end is by that manager's clock: what
// counts is how long it had left when the status was made, age ago. By this manager's clock, which
// will make the next status, that is another end. One that lies absurdly far off is cut.
func (t *Table) adoptDeparted(s *subjects.Status, d subjects.Departed, age time.Duration) {
	service := slices.ContainsFunc(s.RoleNames(), func(r subjects.Role) bool { return s.Member(r, d.Node) != nil })
	if n := t.nodes[d.Node]; n != nil && (n.services > 0 || n.listed > 0 && !service) {
		return
	}
	if x := t.departed[d.Node]; x != nil && x.told.Equal(d.Until) && slices.Equal(x.Addresses, d.Addresses) {
		return
	}
	if _, taken := t.labels[string(d.Node)]; taken {
		return
	}
	rest := t.cfg.DepartedFor
	if !s.Time.IsZero() {
		rest = d.Until.Sub(s.Time) - max(age, 0)
	}
	if rest <= 0 {
		return
	}
	if rest > 2*t.cfg.DepartedFor {
		rest = t.cfg.DepartedFor
	}
	x := &departed{Departed: d, service: service, told: d.Until}
	if until := t.wall.Add(rest); until.Sub(d.Until).Abs() > clockMargin {
		x.Until = until
	}
	x.Addresses = slices.Clone(d.Addresses)
	t.listDeparted(x, t.now+rest)
}
