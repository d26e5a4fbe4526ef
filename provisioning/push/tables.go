package push

import (
	"slices"
	"sync"
	"time"

	"thor/overlay/lookup"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// previousFor is how long the lookup table before the newest one counts: for a
// moment the newest is not yet known everywhere.
const previousFor = 2 * time.Minute

// tables are the newest lookup table of each role, and the one before.
type tables struct {
	mu     sync.Mutex
	byRole map[subjects.Role]roleTables
}

type roleTables struct {
	now, previous *lookup.Table
	since         time.Time // of now
}

func newTables() tables { return tables{byRole: make(map[subjects.Role]roleTables)} }

func (x *tables) observe(role subjects.Role, t *lookup.Table, at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.byRole[role] = roleTables{now: t, previous: x.byRole[role].now, since: at}
}

// of are the newest table of a role and the one before as long as it counts; nil
// where there is none.
func (x *tables) of(role subjects.Role, at time.Time) (now, previous *lookup.Table) {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := x.byRole[role]
	if at.Before(r.since.Add(previousFor)) {
		previous = r.previous
	}
	return r.now, previous
}

// table is the newest one of the role that serves subscribers.
func (p *Pusher) table() *lookup.Table {
	t, _ := p.tables.of(p.cfg.Role, time.Now())
	return t
}

// mayHold reports whether node is a holder of key by the newest table of role or
// by the one before it.
func (p *Pusher) mayHold(role subjects.Role, node subjects.NodeID, key string) bool {
	now, previous := p.tables.of(role, time.Now())
	return nodesOf(now, key).Holds(node) || nodesOf(previous, key).Holds(node)
}

// nodesOf are the nodes of key by t; none without a table, members or a key.
func nodesOf(t *lookup.Table, key string) lookup.Assignment {
	a, _ := t.Find(key)
	return a
}

// notified are the holders of key that are to be notified: all but those that
// keep no subscribers.
func (p *Pusher) notified(key string) []subjects.NodeID {
	return slices.DeleteFunc(nodesOf(p.table(), key).Holders(), p.keepsNothing)
}

// keepsNothing reports whether node is a member that keeps no subscribers: it
// reads a database of its own.
func (p *Pusher) keepsNothing(node subjects.NodeID) bool {
	s := p.net.View().Status
	if s == nil {
		return false
	}
	m := s.Member(p.cfg.Role, node)
	return m != nil && m.Attrs[subscriber.Attr] == ""
}

// isMember reports whether node serves subscribers.
func (p *Pusher) isMember(node subjects.NodeID) bool {
	s := p.net.View().Status
	return s != nil && s.Member(p.cfg.Role, node) != nil
}
