package overlay

import "time"

// How brokers are dialled beside each other. A broker that is gone answers at
// once, one behind a cut cable never, one that is frozen accepts and then says
// nothing, and one to which thousands come at the same time is slow: it is given
// time, while others are tried beside it.
const (
	nextAfter     = 250 * time.Millisecond // the next broker is dialled beside one that does not accept
	nextAfterSlow = time.Second            // and beside one that accepted and does not greet
	againAfter    = time.Second            // one that failed is dialled again while others are awaited
	aloneWait     = tcpTimeout             // how long one that is alone waits for one that is not: until dials have timed out
	raceTime      = 15 * time.Second       // after which all begin anew
)

// A race decides which brokers are dialled when, and which one is taken: the first
// that greets and is not alone. One that is alone is taken if no other greets in
// time. It is pure: time comes from the caller.
type race struct {
	runners []runner // in the order in which they are dialled
	began   time.Time
	newest  int // the runner that was started last; -1: none
}

// A runner is one broker in a race.
type runner struct {
	state runnerState
	since time.Time // when it came into this state
	tries int
}

type runnerState uint8

const (
	waiting  runnerState = iota
	dialling             // for TCP
	accepted             // TLS and the greeting are under way
	lost
	greeted // and alone
)

// A verdict is how a race ended.
type verdict int

const (
	undecided verdict = -1
	noneWon   verdict = -2
)

func newRace(n int, now time.Time) *race {
	return &race{runners: make([]runner, n), began: now, newest: -1}
}

// note notes what became of runner i.
func (r *race) note(i int, s runnerState, now time.Time) {
	r.runners[i].state, r.runners[i].since = s, now
}

// advance says which runners to start now, and when to be called again if nothing
// happens before. end is the index of the winner, noneWon or undecided.
func (r *race) advance(now time.Time) (start []int, next time.Time, end verdict) {
	if w, until := r.fallback(now); w >= 0 {
		if !now.Before(until) {
			return nil, time.Time{}, verdict(w)
		}
		next = until
	}
	limit := r.began.Add(raceTime)
	if !now.Before(limit) {
		return nil, time.Time{}, noneWon
	}
	next = earliest(next, limit)
	for i := range r.runners {
		at, ok := r.startAt(i, now)
		if !ok {
			continue
		}
		if now.Before(at) {
			next = earliest(next, at)
			continue
		}
		r.runners[i] = runner{state: dialling, since: now, tries: r.runners[i].tries + 1}
		r.newest = i
		start = append(start, i)
	}
	if !r.awaited() {
		return nil, time.Time{}, noneWon
	}
	return start, next, undecided
}

// startAt is when runner i is to be started; false: not as things are.
func (r *race) startAt(i int, now time.Time) (time.Time, bool) {
	switch u := &r.runners[i]; u.state {
	case waiting:
		if i > 0 && r.runners[i-1].state == waiting {
			return time.Time{}, false // in their order
		}
		if r.newest < 0 {
			return now, true
		}
		switch p := &r.runners[r.newest]; p.state {
		case dialling:
			return p.since.Add(nextAfter), true
		case accepted:
			return p.since.Add(nextAfterSlow), true
		}
		return now, true
	case lost:
		return u.since.Add(againAfter), r.awaited()
	}
	return time.Time{}, false
}

// awaited reports whether the race goes on without a start.
func (r *race) awaited() bool {
	for _, u := range r.runners {
		if u.state == dialling || u.state == accepted || u.state == greeted {
			return true
		}
	}
	return false
}

// fallback is a runner that greeted and is alone, with the time until which others
// may still win; -1: there is none.
func (r *race) fallback(now time.Time) (int, time.Time) {
	w, open := -1, false
	for i, u := range r.runners {
		switch {
		case u.state == greeted && (w < 0 || u.since.Before(r.runners[w].since)):
			w = i
		case u.state == waiting, (u.state == dialling || u.state == accepted) && u.tries == 1:
			open = true
		}
	}
	switch {
	case w < 0:
		return -1, time.Time{}
	case !open:
		return w, now
	}
	return w, r.runners[w].since.Add(aloneWait)
}
