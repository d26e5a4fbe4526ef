package core

import (
	"time"

	"thor/subjects"
)

// Forget ends losses for an operator, see membership.Table.Forget. Only the active
// manager may be asked, see Leads.
func (m *Manager) Forget(r *subjects.ForgetRequest, by subjects.NodeID, now time.Time) ([]subjects.Role, error) {
	return m.table.Forget(r.Node, r.Role, by, now)
}

// ConfirmFailed lets failed members go for an operator, see membership.Table.Confirm.
func (m *Manager) ConfirmFailed(role subjects.Role, now time.Time) int {
	return m.table.Confirm(role, now)
}

// HoldFailed keeps failed members for an operator, see membership.Table.Hold.
func (m *Manager) HoldFailed(role subjects.Role, now time.Time) int { return m.table.Hold(role, now) }
