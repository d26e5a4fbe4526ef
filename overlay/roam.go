package overlay

import "time"

// When a process that is connected looks for another broker.
const (
	silentAfter = 3 * time.Second        // without a tick; they come each second
	aloneLeast  = 500 * time.Millisecond // brokers that lose each other know it as much apart; twice that after one had to be taken
	lookSpread  = 3 * time.Second        // members of one broker look within this time…
	lookMany    = 15 * time.Second       // …or this, when the network has many members
	lookPause   = 5 * time.Second        // before the next look, after one that found none; doubles…
	lookLongest = time.Minute            // …up to this
)

// A roamer decides when to look for another broker: when this one says that it is
// alone, and when no tick comes through it, since it may be cut off and not know it
// yet. Looking costs the connection nothing: it is left only for a broker that was
// found better. It is pure: time and randomness come from the caller.
type roamer struct {
	chance func(time.Duration) time.Duration // uniform in [0, d)

	up      bool
	alone   bool      // the broker says so
	heard   time.Time // the newest tick, or the beginning of the connection
	at      time.Time // of the next look; zero: none is planned
	tries   int       // looks that found none
	looking bool
}

// connected notes a new connection to a broker that is alone or not.
func (r *roamer) connected(alone bool, now time.Time) {
	r.up, r.alone = true, alone
	r.calm(now)
	if alone { // it was the only one to be had just now, and managers may not hear this process
		r.at = now.Add(aloneLeast + r.chance(aloneLeast))
	}
}

// disconnected notes that there is no connection.
func (r *roamer) disconnected() { r.up = false }

// tick notes that a tick came.
func (r *roamer) tick(now time.Time) {
	r.heard = now
	if !r.alone && !r.at.IsZero() {
		r.calm(now)
	}
}

// notice notes what the broker says of itself.
func (r *roamer) notice(alone bool, now time.Time) {
	if alone == r.alone {
		return
	}
	r.alone = alone
	r.calm(now)
	if alone {
		r.at = now.Add(aloneLeast + r.chance(lookSpread-aloneLeast))
	}
}

func (r *roamer) calm(now time.Time) {
	r.heard, r.at, r.tries = now, time.Time{}, 0
}

// advance reports whether to look now. many: the network is big.
func (r *roamer) advance(many bool, now time.Time) (look bool) {
	if !r.up || r.looking {
		return false
	}
	if r.at.IsZero() {
		if now.Before(r.heard.Add(silentAfter)) {
			return false
		}
		window := lookSpread
		if many {
			window = lookMany
		}
		r.at = now.Add(r.chance(window))
	}
	if now.Before(r.at) {
		return false
	}
	r.looking = true
	return true
}

// looked notes that a look has ended, and found a broker or none.
func (r *roamer) looked(found bool, now time.Time) {
	r.looking = false
	if found { // the next connection begins anew
		r.at = now.Add(lookLongest)
		return
	}
	pause := min(lookPause<<min(r.tries, 10), lookLongest)
	r.tries++
	r.at = now.Add(pause/2 + r.chance(pause/2))
}

// next is when advance has something to do; zero: not before something happens.
func (r *roamer) next() time.Time {
	switch {
	case !r.up || r.looking:
		return time.Time{}
	case r.at.IsZero():
		return r.heard.Add(silentAfter)
	}
	return r.at
}
