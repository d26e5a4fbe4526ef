package overlay

import (
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// Beats as the managers want them: as often as their ticks say, and short while
// there is no news. A full announcement goes out at each change, through each new
// connection, when a manager asks, and now and then.
const (
	fullEvery = time.Minute            // whatever was lost of asks and answers
	fullApart = 100 * time.Millisecond // several managers ask at once: one answer is for all of them
)

// A told is the full announcement that the present connection carried last.
type told struct {
	hash   string
	number int // of the connection
	at     time.Time
}

// shorten makes x a short beat if the managers understand it and know what it
// stands for. It notes a full one as told; if that is not sent after all, they ask.
func (m *Membership) shorten(x *subjects.Announcement, l link, now time.Time) *subjects.Announcement {
	if !m.a.conn.takesShort.Load() || m.role.Infrastructure() { // those are few, and managers read the marks in theirs
		return x
	}
	x.Name()
	if t := m.told; t.hash == x.Hash && t.number == l.number && now.Sub(t.at) < fullEvery {
		return x.Shorten()
	}
	m.told = told{x.Hash, l.number, now}
	return x
}

// announceFull answers a manager that does not know what a short beat stands for.
func (a *announcer) announceFull(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.joined() {
		m := a.members[r]
		if now.Sub(m.told.at) >= fullApart {
			m.told = told{}
			a.announce(m)
		}
	}
}

// followBeat follows what the newest tick says of beats.
func (l *loop) followBeat() {
	short := l.status.beat > 0
	nc := l.conn.state().nc
	if short && !l.asked && nc != nil {
		// Not before: a broker of an earlier version refuses it.
		if _, err := nc.ChanSubscribe(subjects.ManagerRequests(l.announcer.id), l.msgs); err != nil {
			l.log.Error("subscribe", cause(err), slog.String("subject", subjects.ManagerRequests(l.announcer.id)))
			return
		}
		l.asked = true
	}
	l.conn.takesShort.Store(short && !l.conn.refusesAsks.Load())
}

// askedFor reports whether m is a manager's request for full announcements.
func (l *loop) askedFor(m *nats.Msg) bool {
	return m.Subject == subjects.AskAnnouncement(l.announcer.id)
}

// beatIn is when to beat next.
func (l *loop) beatIn() time.Duration {
	return spread(max(l.cfg.Beat, l.status.beat), rand.N[time.Duration])
}
