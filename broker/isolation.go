package broker

import "time"

// When a broker is alone, and when it sends its clients away.
const (
	aloneAfter   = 3 * time.Second // without a route: a route that is lost is back in a second or two
	aloneTick    = 250 * time.Millisecond
	alonePaused  = time.Second // a gap between two looks: this process stood still and lost its routes by that
	firstPause   = 30 * time.Second
	longestPause = 8 * time.Minute
	calmTime     = 5 * time.Minute // with routes, until the next pause is the first again
)

// An isolation decides whether a broker whose configuration names others is
// alone: it has had no route for a while. What its clients say reaches none but
// each other then. It is pure: time comes from the caller.
//
// Only routes count. Without JetStream's leader, or without JetStream, a broker
// still carries all messages.
type isolation struct {
	looked time.Time // zero: not yet
	routes time.Time // when there was a route last, or the broker began to look
	since  time.Time // when it became alone; zero: it is not
	ended  time.Time // when it was alone last
	pause  time.Duration
	next   time.Time // clients are sent away not before
}

// look notes how many routes to other brokers there are. away says that clients are to
// be sent away now: once when the broker becomes alone, and then after pauses that
// grow, since those that came back reach no other broker.
func (i *isolation) look(routes int, now time.Time) (changed, away bool) {
	if i.looked.IsZero() || now.Sub(i.looked) > alonePaused && i.since.IsZero() {
		i.routes = now
	}
	i.looked = now
	if routes > 0 {
		i.routes = now
		if changed = !i.since.IsZero(); changed {
			i.since, i.ended = time.Time{}, now
		}
		return changed, false
	}
	if i.since.IsZero() && now.Sub(i.routes) >= aloneAfter {
		i.since, changed = now, true
		if now.Sub(i.ended) >= calmTime {
			i.pause = 0
			i.next = time.Time{}
		}
	}
	if i.since.IsZero() || now.Before(i.next) {
		return changed, false
	}
	i.pause = min(max(2*i.pause, firstPause), longestPause)
	i.next = now.Add(i.pause)
	return changed, true
}
