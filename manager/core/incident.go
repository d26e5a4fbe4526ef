package core

import "time"

// clearSites lets the table take the members of silent sites for dead when they are due.
func (m *Manager) clearSites(now time.Time) {
	for _, i := range m.table.Incidents() {
		m.table.Clear(i.Site, now)
	}
}
