package core

import (
	"cmp"

	"thor/subjects"
)

const maxOrder = 20

// OrderIn is how many managers of s come before me in an election: those with a
// lower priority number or, with the same one, a lesser name. A manager that s
// does not show as up is no rival, and comes after all that are up itself. Nor
// is the one that made s: its term has ended, or there was no election. unset is
// the priority of a manager that announces none.
func OrderIn(s *subjects.Status, me subjects.NodeID, priority, unset int) int {
	own := s.Member(subjects.Manager, me)
	last := own != nil && own.State != subjects.Up
	n := 0
	for _, o := range s.Roles[subjects.Manager] {
		if o.Node == me || o.Node == s.Manager || o.State != subjects.Up {
			continue
		}
		if last || cmp.Or(cmp.Compare(cmp.Or(o.Priority, unset), priority), cmp.Compare(o.Node, me)) < 0 {
			n++
		}
	}
	return min(n, maxOrder)
}
