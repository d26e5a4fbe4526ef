package manager

import (
	"cmp"

	"thor/overlay/setting"
	"thor/subjects"
)

const maxOrder = 20

// defaultPriority is that of a manager that announces none.
var defaultPriority = func() int {
	var c Config
	setting.Fill(&c)
	return c.Priority
}()

// candidateOrder is this manager's place among the candidates: how many come before it.
func (m *Manager) candidateOrder() int {
	h := m.newest.Load()
	if h == nil {
		return 0
	}
	return orderIn(h.status, m.cfg.Overlay.ID(), int(m.priority.Load()))
}

// orderIn is how many managers of s come before me in an election: those with a
// lower priority number or, with the same one, a lesser name. A manager that s
// does not show as up is no rival, and comes after all that are up itself. Nor
// is the one that made s: its term has ended, or there was no election.
func orderIn(s *subjects.Status, me subjects.NodeID, priority int) int {
	own := s.Member(subjects.Manager, me)
	last := own != nil && own.State != subjects.Up
	n := 0
	for _, o := range s.Roles[subjects.Manager] {
		if o.Node == me || o.Node == s.Manager || o.State != subjects.Up {
			continue
		}
		if last || cmp.Or(cmp.Compare(cmp.Or(o.Priority, defaultPriority), priority), cmp.Compare(o.Node, me)) < 0 {
			n++
		}
	}
	return min(n, maxOrder)
}
