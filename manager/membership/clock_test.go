package membership_test

import (
	"testing"
	"time"
	"unsafe"

	"thor/manager/membership"
	"thor/subjects"
)

// jumped is t as it reads when the host's clock was set forward by d: the monotonic
// part stays. A time.Time begins with the wall clock, whose seconds stand above 30
// bits of nanoseconds.
func jumped(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(d/time.Second) << 30
	return t
}

// A host's clock that is set forward or back moves no decision (G8).
func TestAClockThatIsSetDecidesNothing(t *testing.T) {
	base := time.Now()
	if j := jumped(base, time.Hour); j.Sub(base) != 0 || j.Unix() != base.Unix()+3600 {
		t.Fatalf("the form of time.Time has changed: %v is %v after", j, j.Sub(base))
	}
	table := membership.New(membership.Config{})
	wall := func(at time.Duration) time.Time { // an hour ahead from second 20 on, right again from 40 on
		now := base.Add(at)
		if at >= 20*time.Second && at < 40*time.Second {
			return jumped(now, time.Hour)
		}
		return now
	}
	for i := range 60 {
		now := wall(time.Duration(i) * time.Second)
		for _, n := range []string{"n1", "n2", "n3"} {
			if n == "n3" && i > 15 {
				continue // it dies
			}
			say(t, table, n, "sip_proxy", "a", uint64(i+1), now)
		}
		table.Advance(now)
		listed := fill(t, table).Member("sip_proxy", "n3") != nil
		if want := i < 25; listed != want {
			t.Errorf("%d s: n3, silent since 15 s, is listed: %v", i, listed)
		}
		for _, e := range table.Events() {
			if e.Kind == subjects.EventGuard || e.Kind == subjects.EventLeave && e.Node != "n3" {
				t.Errorf("%d s: %s %s %s: %s", i, e.Kind, e.Role, e.Node, e.Detail)
			}
		}
	}
}
