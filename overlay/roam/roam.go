// Package roam decides when a process that is connected to a broker looks for
// another one: when its broker says that it is alone, and when no tick comes through
// it, since it may be cut off and not know it yet. Looking costs the connection
// nothing: it is left only for a broker that was found better.
//
// It is pure: time and randomness come from the caller, which does the looking.
package roam

import "time"

// When a process that is connected looks for another broker.
const (
	silentAfter = 3 * time.Second         // without a tick; they come each second
	freshAfter  = 2 * time.Second         // without the first tick of a connection: who has lost some time already…
	freshSpread = time.Second             // …looks within this time, since it comes alone, or spread already
	aloneLeast  = 500 * time.Millisecond  // brokers that lose each other know it as much apart; twice that after one had to be taken
	lookSpread  = 2500 * time.Millisecond // members of one broker look within this time…
	lookMany    = 15 * time.Second        // …or this, when the network has many members
	lookPause   = 2 * time.Second         // before the next look, after one that found none, as while managers change; doubles…
	pauseMany   = 5 * time.Second         // …from this, when the network has many members…
	lookLongest = 8 * time.Second         // …up to this: a manager that takes over where this process is not heard counts its silence after 12 s (manager/membership: Dead and blindMargin)
	longestMany = 30 * time.Second        // …or this, when the network has many members: the guard for mass silence gives them as long again
	homeAfter   = 10 * time.Second        // at another broker than a nearer one, and as long again at most…
	homeMany    = time.Minute             // …or this, when the network has many members: all members of a site dial a broker that returns at once
	lookGivenUp = time.Minute             // after one that found a broker, unless a connection follows
)

// TickWait is how long to wait for a tick through another broker: two are due.
const TickWait = 2500 * time.Millisecond

// Settle is how long to wait, when a tick came through another broker, for the same
// one through the own: when a manager begins to lead after a pause, all who look at that
// moment hear it through another broker first, or not, by chance.
const Settle = 500 * time.Millisecond

// A Roamer decides when to look. It is not safe for concurrent use.
type Roamer struct {
	chance func(time.Duration) time.Duration // uniform in [0, d)

	up      bool
	alone   bool      // the broker says so
	told    time.Time // when it said so
	heard   time.Time // the newest tick, or the beginning of the connection
	fresh   bool      // no tick came through the connection yet
	at      time.Time // of the next look; zero: none is planned
	tries   int       // looks that found none
	many    bool      // the network is big
	looking bool
	began   time.Time // of the newest look
	homeAt  time.Time // when to look at brokers that are nearer; zero: never
	homing  bool      // that is the look under way
}

// New makes a Roamer without a connection. chance draws a time from [0, d).
func New(chance func(d time.Duration) time.Duration) Roamer { return Roamer{chance: chance} }

// Up reports whether there is a connection.
func (r *Roamer) Up() bool { return r.up }

// Alone reports whether the broker says that it is alone: then any that is not is better.
func (r *Roamer) Alone() bool { return r.alone }

// Connected notes a new connection to a broker that is alone or not.
func (r *Roamer) Connected(alone bool, now time.Time) {
	r.up, r.alone, r.fresh, r.homeAt, r.homing = true, alone, true, time.Time{}, false
	r.reset(now)
	if alone { // it was the only one to be had just now, and managers may not hear this process
		r.at = now.Add(aloneLeast + r.chance(aloneLeast))
	}
}

// Stray notes whether there are brokers that are nearer than the one of the connection: one
// on the own machine, or in the own site. The process wants to return to them.
func (r *Roamer) Stray(away bool, now time.Time) {
	switch {
	case !away:
		r.homeAt = time.Time{}
	case r.homeAt.IsZero():
		r.Away(now)
	}
}

// Away notes that there is a nearer broker, and plans a look anew.
func (r *Roamer) Away(now time.Time) {
	window := homeAfter
	if r.many {
		window = homeMany
	}
	r.homeAt = now.Add(homeAfter + r.chance(window))
}

// Homing reports whether to look at nearer brokers alone.
func (r *Roamer) Homing() bool { return r.homing }

// Disconnected notes that there is no connection.
func (r *Roamer) Disconnected() { r.up = false }

// Tick notes that a tick came.
func (r *Roamer) Tick(now time.Time) {
	r.heard, r.fresh = now, false
	if !r.alone && !r.at.IsZero() {
		r.reset(now)
	}
}

// Notice notes what the broker says of itself.
func (r *Roamer) Notice(alone bool, now time.Time) {
	if alone == r.alone {
		return
	}
	planned := r.at
	r.alone, r.told = alone, now
	r.reset(now)
	if !alone {
		return
	}
	r.at = now.Add(aloneLeast + r.chance(lookSpread-aloneLeast))
	if least := now.Add(aloneLeast); !planned.IsZero() && planned.Before(r.at) { // no tick came, before the broker knew why
		r.at = planned
		if planned.Before(least) {
			r.at = least
		}
	}
}

func (r *Roamer) reset(now time.Time) {
	r.heard, r.at, r.tries = now, time.Time{}, 0
}

// Advance reports whether to look now. many: the network is big.
func (r *Roamer) Advance(many bool, now time.Time) (look bool) {
	r.many = many
	if !r.up || r.looking {
		return false
	}
	if r.at.IsZero() {
		if now.Before(r.heard.Add(r.patience())) {
			r.homing = !r.homeAt.IsZero() && !now.Before(r.homeAt)
			r.looking, r.began = r.homing, now
			return r.homing
		}
		window := lookSpread
		switch {
		case many:
			window = lookMany
		case r.fresh:
			window = freshSpread
		}
		r.at = now.Add(r.chance(window))
	}
	if now.Before(r.at) {
		return false
	}
	r.looking, r.began = true, now
	return true
}

// Better reports whether a broker through which the look found a tick is still better than
// the own one: since the look began no tick came through the own one, or that is alone, or
// the found one is nearer. Ask Settle after the tick.
func (r *Roamer) Better() bool { return r.homing || r.alone || r.heard.Before(r.began) }

// Looked notes that a look has ended, and found a broker or none.
func (r *Roamer) Looked(found bool, now time.Time) {
	homing := r.homing
	r.looking, r.homing = false, false
	if homing {
		r.Away(now)
		return
	}
	if found { // the next connection begins anew
		r.at = now.Add(lookGivenUp)
		return
	}
	if r.alone && !r.told.Before(r.began) { // the look was for a tick, and began before the broker said that it is alone
		if r.at.Before(now) {
			r.at = now
		}
		return
	}
	first, longest := lookPause, lookLongest
	if r.many {
		first, longest = pauseMany, longestMany
	}
	pause := min(first<<min(r.tries, 10), longest)
	r.tries++
	r.at = now.Add(pause/2 + r.chance(pause/2))
}

// Next is when Advance has something to do; zero: not before something happens.
func (r *Roamer) Next() time.Time {
	switch {
	case !r.up || r.looking:
		return time.Time{}
	case r.at.IsZero():
		if at := r.heard.Add(r.patience()); r.homeAt.IsZero() || at.Before(r.homeAt) {
			return at
		}
		return r.homeAt
	}
	return r.at
}

// patience is how long no tick may come.
func (r *Roamer) patience() time.Duration {
	if r.fresh && !r.many {
		return freshAfter
	}
	return silentAfter
}
