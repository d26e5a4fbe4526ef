package broker

import (
	"testing"
	"time"
)

// watch lets an isolation look every quarter of a second for d, and returns when
// clients were sent away, since start.
func watch(i *isolation, start, from time.Time, d time.Duration, peers int) (away []time.Duration) {
	for now := from; now.Before(from.Add(d)); now = now.Add(aloneTick) {
		if _, a := i.look(peers, now); a {
			away = append(away, now.Sub(start))
		}
	}
	return away
}

func TestABrokerIsAloneAfterThreeSecondsWithoutARoute(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	t.Run("since its start", func(t *testing.T) {
		var i isolation
		if away := watch(&i, start, start, aloneAfter, 0); away != nil || !i.since.IsZero() {
			t.Errorf("alone before %v: %v", aloneAfter, away)
		}
		if changed, away := i.look(0, at(aloneAfter)); !changed || !away || !i.since.Equal(at(aloneAfter)) {
			t.Errorf("%v %v %v", changed, away, i.since)
		}
	})
	t.Run("one route of two lost", func(t *testing.T) {
		var i isolation
		watch(&i, start, start, time.Minute, 2)
		if away := watch(&i, start, at(time.Minute), time.Hour, 1); away != nil {
			t.Errorf("sent away after %v", away)
		}
	})
	t.Run("a route that comes back in time", func(t *testing.T) {
		var i isolation
		watch(&i, start, start, time.Minute, 2)
		if away := watch(&i, start, at(time.Minute), aloneAfter-aloneTick, 0); away != nil {
			t.Errorf("sent away after %v", away)
		}
		if changed, away := i.look(1, at(time.Minute+aloneAfter)); changed || away {
			t.Error(changed, away)
		}
	})
	t.Run("a process that stood still", func(t *testing.T) {
		var i isolation
		watch(&i, start, start, time.Minute, 2)
		if changed, away := i.look(0, at(2*time.Minute)); changed || away { // its routes died of that
			t.Error(changed, away)
		}
	})
}

func TestClientsAreSentAwayOnceAndThenAfterGrowingPauses(t *testing.T) {
	start := time.Unix(1000, 0)
	var i isolation
	away := watch(&i, start, start, 40*time.Minute, 0)
	if len(away) < 7 || away[0] != aloneAfter || away[1]-away[0] != firstPause {
		t.Fatalf("%v", away)
	}
	for k := 2; k < len(away); k++ {
		before, pause := away[k-1]-away[k-2], away[k]-away[k-1]
		if pause != min(2*before, longestPause) {
			t.Errorf("%v after %v", pause, before)
		}
	}
}

// Routes that come and go do not send clients away each time.
func TestRoutesThatFlapDoNotShortenThePauses(t *testing.T) {
	start := time.Unix(1000, 0)
	var i isolation
	now := start
	var away []time.Duration
	for range 30 {
		away = append(away, watch(&i, start, now, 5*time.Second, 0)...)
		now = now.Add(5 * time.Second)
		away = append(away, watch(&i, start, now, 5*time.Second, 1)...)
		now = now.Add(5 * time.Second)
	}
	for k := 1; k < len(away); k++ {
		if away[k]-away[k-1] < firstPause {
			t.Errorf("%v after the time before", away[k]-away[k-1])
		}
	}
	if len(away) < 2 {
		t.Errorf("%v", away)
	}
	// A long time with routes makes all as it was.
	watch(&i, start, now, calmTime+time.Second, 2)
	now = now.Add(calmTime + time.Second)
	if away := watch(&i, now, now, 30*time.Second, 0); len(away) != 1 || away[0] != aloneAfter-aloneTick {
		t.Errorf("after the calm: %v", away)
	}
}
