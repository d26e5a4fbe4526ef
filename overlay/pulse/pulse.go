// Package pulse finds a broker that stands still, or that a cut cable keeps from
// this process. Whatever comes from the broker is a sign of its life, above all the
// manager's tick each second; only a silence is ended by a question, the PING of the
// NATS protocol. At rest a member asks nothing.
//
// It is pure: times come from the caller, which reads, asks and ends the connection.
package pulse

import "time"

const (
	// QuietAfter is the silence after which the broker is asked: a tick is half a
	// second late then.
	QuietAfter = 1500 * time.Millisecond
	// patience is how long the answer may take where members beat once a second. Ticks
	// come each second, so a broker that stops is given up 2 to 3 s later.
	patience = 1500 * time.Millisecond
	// lateness of this process itself from which on its own silence explains that it
	// read nothing: what has come is read first.
	lateness = 500 * time.Millisecond
)

// Patience is how long a broker may take to answer where members beat each beat, 0: once
// a second. The larger the network, the longer may a broker be busy when thousands come
// at once, and the silence that managers bear grows by three times as much: had members
// less patience, those that leave for another broker would keep all of them busy.
func Patience(beat time.Duration) time.Duration { return patience + max(0, beat-time.Second) }

// A Pulse watches one connection after the other. The zero value watches none. It is
// not safe for concurrent use.
type Pulse struct {
	on    bool
	since time.Time // of the connection, or the moment in which this process went on after it stood still
	asked time.Time // zero: no question is open
	due   time.Time // what Next said last; zero: nothing
}

// Connected begins with a new connection.
func (p *Pulse) Connected(now time.Time) { *p = Pulse{on: true, since: now} }

// Disconnected ends the watch until the next connection.
func (p *Pulse) Disconnected() { *p = Pulse{} }

// Advance says what to do now. heard is when something was read from the broker last,
// beat the interval of beats that the manager wants.
// ask: send a PING. dead: the broker did not answer, end the connection; the watch has
// ended.
func (p *Pulse) Advance(beat time.Duration, heard, now time.Time) (ask, dead bool) {
	if !p.on {
		return false, false
	}
	if !p.due.IsZero() && now.Sub(p.due) > lateness {
		p.since, p.asked = now, time.Time{}
	}
	if heard.After(p.since) {
		p.since = heard
	}
	if p.since.After(p.asked) {
		p.asked = time.Time{}
	}
	switch {
	case !p.asked.IsZero():
		if dead = now.Sub(p.asked) >= Patience(beat); dead {
			p.Disconnected()
			return false, true
		}
		p.due = p.asked.Add(Patience(beat))
	case now.Sub(p.since) >= QuietAfter:
		ask = true
		p.asked = now
		p.due = now.Add(Patience(beat))
	default:
		p.due = p.since.Add(QuietAfter)
	}
	return ask, false
}

// Next is when to call Advance again, whether or not something was read meanwhile;
// zero: not before the next connection.
func (p *Pulse) Next() time.Time { return p.due }
