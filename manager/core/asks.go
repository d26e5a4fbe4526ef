package core

import "time"

// Members whose short beats this manager does not understand are asked for their
// full announcements: asksAtOnce of them every askPause, which is 500 a second. Each
// answer goes to all managers.
const (
	askPause   = 100 * time.Millisecond
	asksAtOnce = 50
)

// askAnnouncements asks the next ones.
func (m *Manager) askAnnouncements(now time.Time) {
	if m.offline || m.table.Wanted() == 0 || now.Sub(m.wantedAt) < askPause {
		return
	}
	m.wantedAt = now
	for _, node := range m.table.Asks(asksAtOnce) {
		m.emit(AskAnnouncement{node})
	}
}
