package core

import (
	"time"

	"thor/subjects"
)

// How closely generations follow each other. Each goes to every member: a broker takes
// about 45 µs for a small delta to one connection, and each receiver about as
// long for each member that its status has. A few changes go out as they come. When
// they go on coming, generations are apart by a time that grows with the network, and
// one delta carries all that came meanwhile: 20 ms up to 100 members, a second at 5,000.
// Then deltas take a tenth of a core of each of three brokers, and of each member.
// When members come and nothing else changes, there is less haste: a network that
// starts, or comes back from a lost broker, needs the processor for handshakes.
const (
	generationCost  = 200 * time.Microsecond // of the time between two, for each member
	generationBurst = 4                      // so many at once, 20 ms apart
	joinsCost       = 5                      // times as long where all changes are joins…
	joinsMost       = 2 * time.Second        // …up to this
)

// A rhythm is when the generations of a leadership may follow.
type rhythm struct {
	last   time.Time     // the newest
	window time.Duration // between two in the long run…
	joins  time.Duration // …and if these are joins only
	paid   time.Time     // until when the earlier ones are paid for
}

// issued notes a generation whose status is s; all that it changed may be joins.
func (r *rhythm) issued(s *subjects.Status, joinsOnly bool, now time.Time) {
	pairs := 0
	for _, ms := range s.Roles {
		pairs += len(ms)
	}
	r.window = max(coalesce, time.Duration(pairs)*generationCost)
	r.joins = max(r.window, min(joinsCost*r.window, joinsMost))
	if r.paid.Before(now) {
		r.paid = now
	}
	r.paid = r.paid.Add(r.between(joinsOnly))
	r.last = now
}

func (r *rhythm) between(joinsOnly bool) time.Duration {
	if joinsOnly {
		return r.joins
	}
	return r.window
}

// next is when the next generation may be issued. Another change than a join does not
// wait for what a storm of joins has still to pay.
func (r *rhythm) next(joinsOnly bool) time.Time {
	at := r.paid.Add(-(generationBurst - 1) * r.between(joinsOnly))
	if most := r.last.Add(r.window); !joinsOnly && at.After(most) {
		at = most
	}
	if soon := r.last.Add(coalesce); soon.After(at) {
		return soon
	}
	return at
}
