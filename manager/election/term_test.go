package election

import (
	"context"
	"testing"
	"time"
	"unsafe"
)

// jumped is t as it reads when the host's clock was set by d: the monotonic part stays.
// A time.Time begins with the wall clock, whose seconds stand above 30 bits of
// nanoseconds.
func jumped(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30
	return t
}

// A clock that is set back prolongs no term, and one that is set forward ends none (G8).
func TestAClockThatIsSetMovesNoEndOfATerm(t *testing.T) {
	base := time.Now()
	if j := jumped(base, -time.Hour); j.Sub(base) != 0 || j.Unix() != base.Unix()-3600 {
		t.Fatalf("the form of time.Time has changed: %v is %v after", j, j.Sub(base))
	}
	term := newTerm(Begin{Until: base.Add(LocalLease)}, base)
	for _, set := range []time.Duration{-time.Hour, 0, time.Hour} {
		if !term.Valid(jumped(base.Add(LocalLease-time.Millisecond), set)) {
			t.Errorf("set by %v: it is over before its lease", set)
		}
		if term.Valid(jumped(base.Add(LocalLease), set)) {
			t.Errorf("set by %v: it outlives its lease", set)
		}
	}
}

// While the machine asks whether the lease is still its own, the term is quiet (G7).
func TestATermIsQuietWhileItsLeaseIsConfirmed(t *testing.T) {
	now := time.Now()
	lease := now.Add(LocalLease)
	e := &Election{term: newTerm(Begin{Until: lease, Ceiling: 1000}, now)}
	hold := Hold{Until: now.Add(confirmWait), Sure: now}
	e.act(context.Background(), hold)
	if q := e.term.Quiet(); !q.Equal(hold.Until) || !e.term.Sure().Equal(hold.Sure) {
		t.Errorf("quiet until %v, sure at %v; want %+v", q, e.term.Sure(), hold)
	}
	e.act(context.Background(), Extend{Until: lease, Ceiling: 1000})
	if q := e.term.Quiet(); q.After(now) || !e.term.Sure().IsZero() {
		t.Errorf("confirmed: quiet until %v, sure at %v", q, e.term.Sure())
	}
}
