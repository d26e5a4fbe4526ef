package overlay

import (
	"testing"
	"time"
)

// looks lets a roamer run for d, calls on each tenth of a second, and returns when
// it looked. No look finds a broker.
func looks(r *roamer, from time.Time, d time.Duration, each func(now time.Time)) (at []time.Duration) {
	for now := from; now.Before(from.Add(d)); now = now.Add(100 * time.Millisecond) {
		each(now)
		if r.advance(false, now) {
			at = append(at, now.Sub(from))
			r.looked(false, now)
		}
	}
	return at
}

func shortest(time.Duration) time.Duration { return 0 }

func longest(d time.Duration) time.Duration { return d - 1 }

func TestAProcessLooksForAnotherBroker(t *testing.T) {
	start := time.Unix(1000, 0)
	quiet := func(time.Time) {}
	t.Run("not while ticks come", func(t *testing.T) {
		r := &roamer{chance: longest}
		r.connected(false, start)
		if at := looks(r, start, time.Hour, r.tick); at != nil {
			t.Errorf("looked at %v", at)
		}
	})
	t.Run("when no tick comes", func(t *testing.T) {
		for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
			r := &roamer{chance: chance}
			r.connected(false, start)
			at := looks(r, start, 10*time.Minute, quiet)
			if len(at) < 5 || at[0] < silentAfter || at[0] > silentAfter+lookSpread {
				t.Fatalf("looked at %v", at)
			}
			for i := 2; i < len(at); i++ {
				if pause := at[i] - at[i-1]; pause > lookLongest+200*time.Millisecond || pause < lookPause/2 {
					t.Errorf("pause of %v in %v", pause, at)
				}
			}
			if len(at) > 40 {
				t.Errorf("the pauses do not grow: %v", at)
			}
		}
	})
	t.Run("not after ticks came back", func(t *testing.T) {
		r := &roamer{chance: longest}
		r.connected(false, start)
		first := looks(r, start, 30*time.Second, quiet)
		if len(first) == 0 {
			t.Fatal("did not look")
		}
		if at := looks(r, start.Add(30*time.Second), time.Hour, r.tick); at != nil {
			t.Errorf("looked at %v", at)
		}
	})
	t.Run("when its broker is alone, though ticks come", func(t *testing.T) {
		r := &roamer{chance: longest}
		r.connected(false, start)
		r.notice(true, start)
		if at := looks(r, start, time.Minute, r.tick); len(at) < 2 || at[0] > lookSpread {
			t.Errorf("looked at %v", at)
		}
		r.notice(false, start.Add(time.Minute))
		if at := looks(r, start.Add(time.Minute), time.Hour, r.tick); at != nil {
			t.Errorf("not alone any more, looked at %v", at)
		}
	})
	t.Run("soon when it had to take one that is alone, and then after pauses", func(t *testing.T) {
		for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
			r := &roamer{chance: chance}
			r.connected(true, start)
			at := looks(r, start, time.Minute, r.tick)
			if len(at) < 2 || len(at) > 8 || at[0] < 500*time.Millisecond || at[0] > time.Second || at[1]-at[0] < lookPause/2 {
				t.Errorf("looked at %v", at)
			}
		}
	})
	t.Run("not without a connection, nor twice at a time", func(t *testing.T) {
		r := &roamer{chance: shortest}
		if r.advance(false, start.Add(time.Hour)) || !r.next().IsZero() {
			t.Error("looks without a connection")
		}
		r.connected(false, start)
		if !r.advance(false, start.Add(time.Minute)) || r.advance(false, start.Add(time.Hour)) || !r.next().IsZero() {
			t.Error("looks twice at a time")
		}
		r.looked(true, start.Add(time.Hour))
		if r.advance(false, start.Add(time.Hour).Add(lookLongest-time.Second)) {
			t.Error("looks again while it moves")
		}
		r.disconnected()
		if r.advance(false, start.Add(9*time.Hour)) {
			t.Error("looks when the connection is lost")
		}
	})
	t.Run("members of a big network take longer to look", func(t *testing.T) {
		r := &roamer{chance: longest}
		r.connected(false, start)
		r.advance(true, start.Add(silentAfter))
		if got := r.next().Sub(start); got != silentAfter+lookMany-1 {
			t.Errorf("after %v", got)
		}
	})
}

// A process that looks for another broker leaves for the one it found although its
// own broker says meanwhile that it is alone, but not when there is a new connection.
func TestAConnectionLastsWhateverItsBrokerTells(t *testing.T) {
	l := link{up: true, number: 3, via: "b1#7"}
	for name, c := range map[string]struct {
		now  link
		want bool
	}{
		"the same":            {l, true},
		"its broker is alone": {link{up: true, number: 3, via: "b1#7", alone: true}, true},
		"it is down":          {link{number: 3, via: "b1#7"}, false},
		"another":             {link{up: true, number: 4, via: "b2#1"}, false},
	} {
		if got := l.lasts(c.now); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
