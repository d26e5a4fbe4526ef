package manager

import (
	"encoding/json"

	"github.com/nats-io/nats.go"

	"thor/manager/membership"
	"thor/subjects"
)

// notify tells both processes that claim one (node, role).
func (m *Manager) notify(d membership.Duplicate) {
	b, err := json.Marshal(map[string]any{"v": subjects.Version, "boots": d.Boots})
	if err != nil {
		return // strings always encode
	}
	m.publish(&nats.Msg{Subject: subjects.RequestFrom(m.cfg.Overlay.ID(), d.Node, d.Role, subjects.VerbDuplicate), Data: b})
}
