package overlay

import (
	"slices"
	"testing"
	"time"
)

// A fakeBroker is how a broker behaves in a simulated race: when it accepts and
// when it greets, from the moment at which it is dialled; negative: never.
type fakeBroker struct {
	accepts, greets time.Duration
	refuses         bool
	alone           bool
	up              time.Duration // refuses until then, since the start
}

const never = -1

func good(greets time.Duration) fakeBroker {
	return fakeBroker{accepts: time.Millisecond, greets: greets}
}

var (
	cut    = fakeBroker{accepts: never, greets: never}
	frozen = fakeBroker{accepts: time.Millisecond, greets: never}
	gone   = fakeBroker{refuses: true}
	lonely = fakeBroker{accepts: time.Millisecond, greets: 10 * time.Millisecond, alone: true}
)

// run runs a race against brokers and returns the winner, -1 for none, when it
// ended, and how often each was dialled.
func runRace(brokers ...fakeBroker) (winner int, took time.Duration, dials []int) {
	type event struct {
		at    time.Duration
		i     int
		state runnerState
	}
	var events []event
	start := time.Unix(1000, 0)
	now := time.Duration(0)
	dials = make([]int, len(brokers))
	r := newRace(len(brokers), start)
	for {
		begin, next, end := r.advance(start.Add(now))
		if end != undecided {
			return max(int(end), -1), now, dials
		}
		for _, i := range begin {
			b := brokers[i]
			dials[i]++
			if b.refuses || now < b.up {
				events = append(events, event{now + time.Millisecond, i, lost})
				continue
			}
			if b.accepts != never {
				events = append(events, event{now + b.accepts, i, accepted})
			} else {
				events = append(events, event{now + tcpTimeout, i, lost})
			}
			switch {
			case b.greets != never:
				events = append(events, event{now + b.greets, i, greeted})
			case b.accepts != never:
				events = append(events, event{now + greetTimeout, i, lost})
			}
		}
		now = next.Sub(start)
		if len(events) == 0 {
			continue
		}
		slices.SortStableFunc(events, func(a, b event) int { return int(a.at - b.at) })
		e := events[0]
		if e.at > now {
			continue
		}
		now = e.at
		events = events[1:]
		if e.state == greeted && !brokers[e.i].alone {
			return e.i, now, dials
		}
		r.note(e.i, e.state, start.Add(now))
	}
}

// How long a process that lost its broker is without another: the bounds are part
// of ADR 35.
func TestABrokerThatDoesNotAnswerHoldsUpNoOther(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		name    string
		brokers []fakeBroker
		winner  int
		within  time.Duration
	}{
		{"the first is good", []fakeBroker{good(20 * ms), good(20 * ms)}, 0, 20 * ms},
		{"the first is gone", []fakeBroker{gone, good(20 * ms)}, 1, 21 * ms},
		{"the first is cut off", []fakeBroker{cut, good(20 * ms), gone}, 1, nextAfter + 20*ms},
		{"the first is frozen", []fakeBroker{frozen, good(20 * ms), gone}, 1, nextAfterSlow + 21*ms},
		{"two are cut off", []fakeBroker{cut, cut, good(20 * ms)}, 2, 2*nextAfter + 20*ms},
		{"two are frozen", []fakeBroker{frozen, frozen, good(20 * ms)}, 2, 2*(nextAfterSlow+ms) + 20*ms},
		{"slow ones", []fakeBroker{good(8 * time.Second), good(9 * time.Second)}, 0, 8 * time.Second},
		{"one comes back beside a frozen one", []fakeBroker{frozen, {accepts: ms, greets: 20 * ms, up: 4 * time.Second}}, 1, 6 * time.Second},
		{"all are gone", []fakeBroker{gone, gone, gone}, -1, 3 * ms},
		{"all are cut off", []fakeBroker{cut, cut}, -1, raceTime},
		{"all are frozen", []fakeBroker{frozen, frozen}, -1, raceTime},
		{"one that is alone, first", []fakeBroker{lonely, good(500 * ms)}, 1, 510 * ms},
		{"one that is alone, and one that is slow to greet", []fakeBroker{lonely, good(2900 * ms)}, 1, 2910 * ms},
		{"one that is alone, and one that is slow to accept", []fakeBroker{lonely, {accepts: 2800 * ms, greets: 2900 * ms}}, 1, 2910 * ms},
		{"one that is alone, and others gone", []fakeBroker{lonely, gone, gone}, 0, 20 * ms},
		{"one that is alone, and others cut off", []fakeBroker{cut, lonely, cut}, 1, nextAfter + 10*ms + 3*time.Second},
		{"two that are alone", []fakeBroker{lonely, lonely}, 0, 20 * ms},
		{"no brokers", nil, -1, 0},
	} {
		winner, took, dials := runRace(c.brokers...)
		if winner != c.winner || took > c.within {
			t.Errorf("%s: %d after %v, dialled %v; want %d within %v", c.name, winner, took, dials, c.winner, c.within)
		}
		if c.name == "slow ones" && dials[0] != 1 {
			t.Errorf("%s: dialled %v: one that is slow is given time", c.name, dials)
		}
	}
}
