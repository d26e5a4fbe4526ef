package roam

import (
	"testing"
	"time"
)

// looks lets a roamer run for d, calls on each tenth of a second, and returns when
// it looked. No look finds a broker.
func looks(r *Roamer, from time.Time, d time.Duration, each func(now time.Time)) (at []time.Duration) {
	for now := from; now.Before(from.Add(d)); now = now.Add(100 * time.Millisecond) {
		each(now)
		if r.Advance(false, now) {
			at = append(at, now.Sub(from))
			r.Looked(false, now)
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
		r := &Roamer{chance: longest}
		r.Connected(false, start)
		if at := looks(r, start, time.Hour, r.Tick); at != nil {
			t.Errorf("looked at %v", at)
		}
	})
	t.Run("when no tick comes", func(t *testing.T) {
		for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
			r := &Roamer{chance: chance}
			r.Connected(false, start)
			r.Tick(start)
			at := looks(r, start, 10*time.Minute, quiet)
			if len(at) < 5 || at[0] < silentAfter || at[0] > silentAfter+lookSpread {
				t.Fatalf("looked at %v", at)
			}
			for i := 2; i < len(at); i++ {
				if pause := at[i] - at[i-1]; pause > lookLongest+200*time.Millisecond || pause < lookPause/2 {
					t.Errorf("pause of %v in %v", pause, at)
				}
			}
			if len(at) > 160 {
				t.Errorf("the pauses do not grow: %v", at)
			}
		}
	})
	t.Run("sooner when none has come through the connection yet", func(t *testing.T) {
		for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
			r := &Roamer{chance: chance}
			r.Connected(false, start)
			if next := r.Next().Sub(start); next != freshAfter {
				t.Errorf("due after %v", next)
			}
			at := looks(r, start, 20*time.Second, quiet)
			if len(at) < 3 || at[0] < freshAfter || at[0] > freshAfter+freshSpread {
				t.Errorf("looked at %v", at)
			}
		}
	})
	t.Run("when its broker says why no tick comes, not later than it would have", func(t *testing.T) {
		for _, c := range []struct{ planned, want time.Duration }{
			{0, lookSpread - 1},
			{100 * time.Millisecond, aloneLeast},
			{time.Second, time.Second},
			{time.Minute, lookSpread - 1},
		} {
			r := &Roamer{chance: longest}
			r.Connected(false, start)
			if c.planned > 0 {
				r.at = start.Add(c.planned)
			}
			r.Notice(true, start)
			if got := r.Next().Sub(start); got != c.want {
				t.Errorf("planned after %v: looks after %v, want %v", c.planned, got, c.want)
			}
		}
	})
	t.Run("not after ticks came back", func(t *testing.T) {
		r := &Roamer{chance: longest}
		r.Connected(false, start)
		first := looks(r, start, 30*time.Second, quiet)
		if len(first) == 0 {
			t.Fatal("did not look")
		}
		if at := looks(r, start.Add(30*time.Second), time.Hour, r.Tick); at != nil {
			t.Errorf("looked at %v", at)
		}
	})
	t.Run("when its broker is alone, though ticks come", func(t *testing.T) {
		r := &Roamer{chance: longest}
		r.Connected(false, start)
		r.Notice(true, start)
		if at := looks(r, start, time.Minute, r.Tick); len(at) < 2 || at[0] > lookSpread {
			t.Errorf("looked at %v", at)
		}
		r.Notice(false, start.Add(time.Minute))
		if at := looks(r, start.Add(time.Minute), time.Hour, r.Tick); at != nil {
			t.Errorf("not alone any more, looked at %v", at)
		}
	})
	t.Run("soon when it had to take one that is alone, and then after pauses", func(t *testing.T) {
		for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
			r := &Roamer{chance: chance}
			r.Connected(true, start)
			at := looks(r, start, time.Minute, r.Tick)
			if len(at) < 2 || len(at) > 18 || at[0] < 500*time.Millisecond || at[0] > time.Second || at[1]-at[0] < lookPause/2 {
				t.Errorf("looked at %v", at)
			}
		}
	})
	t.Run("not without a connection, nor twice at a time", func(t *testing.T) {
		r := &Roamer{chance: shortest}
		if r.Advance(false, start.Add(time.Hour)) || !r.Next().IsZero() {
			t.Error("looks without a connection")
		}
		r.Connected(false, start)
		if !r.Advance(false, start.Add(time.Minute)) || r.Advance(false, start.Add(time.Hour)) || !r.Next().IsZero() {
			t.Error("looks twice at a time")
		}
		r.Looked(true, start.Add(time.Hour))
		if r.Advance(false, start.Add(time.Hour).Add(lookGivenUp-time.Second)) {
			t.Error("looks again while it moves")
		}
		r.Disconnected()
		if r.Advance(false, start.Add(9*time.Hour)) {
			t.Error("looks when the connection is lost")
		}
	})
	t.Run("before a manager that takes over counts its silence", func(t *testing.T) {
		const borne = 12 * time.Second // without a judgement by silence, after a take-over
		for _, c := range []struct {
			many bool
			most time.Duration
		}{{false, borne}, {true, borne + 30*time.Second}} { // then the guard for mass silence holds
			r := &Roamer{chance: longest}
			r.Connected(false, start)
			last := start
			for now := start; now.Before(start.Add(time.Hour)); now = now.Add(100 * time.Millisecond) {
				if !r.Advance(c.many, now) {
					continue
				}
				if d := now.Add(TickWait).Sub(last); last != start && d > c.most {
					t.Errorf("many %v: a look ends %v after the one before", c.many, d)
				}
				r.Looked(false, now)
				last = now
			}
		}
	})
	t.Run("members of a big network take longer to look", func(t *testing.T) {
		r := &Roamer{chance: longest}
		r.Connected(false, start)
		if r.Advance(true, start.Add(freshAfter)); !r.at.IsZero() {
			t.Errorf("a new connection plans to look after %v", r.at.Sub(start))
		}
		r.Advance(true, start.Add(silentAfter))
		if got := r.Next().Sub(start); got != silentAfter+lookMany-1 {
			t.Errorf("after %v", got)
		}
	})
}

// A process that wants the broker of its own machine looks at it after a while, again and
// again, though ticks come.
func TestAProcessLooksForItsHome(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, chance := range []func(time.Duration) time.Duration{shortest, longest} {
		r := &Roamer{chance: chance}
		r.Connected(false, start)
		r.Stray(true, start)
		var at []time.Duration
		for now := start; now.Before(start.Add(5 * time.Minute)); now = now.Add(100 * time.Millisecond) {
			r.Tick(now)
			if !r.Advance(false, now) {
				if n := r.Next(); !n.After(now) {
					t.Fatalf("due at %v, and it does not look", n.Sub(start))
				}
				continue
			}
			if !r.Homing() || !r.Better() {
				t.Fatal("not for its home")
			}
			at = append(at, now.Sub(start))
			r.Looked(false, now)
		}
		most := int(5 * time.Minute / homeAfter)
		if n := len(at); n < most/2-1 || n > most || at[0] < homeAfter || at[0] > 2*homeAfter+time.Second {
			t.Errorf("looked at %v", at)
		}
		r.Connected(false, start.Add(5*time.Minute))
		if at := looks(r, start.Add(5*time.Minute), 5*time.Minute, r.Tick); at != nil || r.Homing() {
			t.Errorf("at home it looked at %v", at)
		}
	}
}

// When a manager begins to lead after a pause, its first tick comes through all brokers:
// who was looking for one stays.
func TestATickThroughTheOwnBrokerEndsTheLook(t *testing.T) {
	start := time.Unix(1000, 0)
	for name, c := range map[string]struct {
		meanwhile func(r *Roamer, now time.Time)
		better    bool
	}{
		"nothing is heard":                 {func(*Roamer, time.Time) {}, true},
		"the tick comes here too":          {func(r *Roamer, now time.Time) { r.Tick(now) }, false},
		"its broker is alone":              {func(r *Roamer, now time.Time) { r.Notice(true, now); r.Tick(now) }, true},
		"its broker was alone, and is not": {func(r *Roamer, now time.Time) { r.Notice(true, now); r.Notice(false, now) }, false},
	} {
		r := &Roamer{chance: shortest}
		r.Connected(false, start)
		r.Tick(start.Add(time.Second))
		now := start.Add(time.Minute)
		if r.Advance(false, now.Add(-time.Second)); !r.Advance(false, now) {
			if !r.looking {
				t.Fatalf("%s: it does not look", name)
			}
		}
		c.meanwhile(r, now.Add(time.Second))
		if r.Better() != c.better {
			t.Errorf("%s: better %v", name, !c.better)
		}
	}
}

// A look for a tick is under way when the broker says that it is alone: the look that needs no tick follows
// as soon as if there had been none.
func TestALookForATickDelaysNoLookForABrokerThatIsNotAlone(t *testing.T) {
	start := time.Unix(1000, 0)
	r := &Roamer{chance: longest}
	r.Connected(false, start)
	r.Tick(start)
	began := start
	for !r.Advance(false, began) {
		began = began.Add(100 * time.Millisecond)
	}
	told := began.Add(time.Second)
	r.Notice(true, told)
	for _, c := range []struct{ ends, due time.Duration }{{1500 * time.Millisecond, lookSpread}, {lookSpread + time.Second, lookSpread + time.Second}} {
		r := *r
		now := told.Add(c.ends)
		r.Looked(false, now)
		if next := r.Next(); next.Before(told.Add(c.ends)) || next.After(told.Add(c.due)) {
			t.Errorf("the look ends %v after the notice, the next one is due after %v", c.ends, next.Sub(told))
		}
		if !r.Advance(false, told.Add(c.due)) {
			t.Error("no look then")
		}
		r.Looked(false, told.Add(c.due))
		if next := r.Next(); next.Before(told.Add(c.due + lookPause/2)) {
			t.Errorf("no pause after a look that found none: due after %v", next.Sub(told))
		}
	}
}

// A process that learns that there is a nearer broker looks for it, and one that learns that
// there is none does not any more; in a big network the looks are spread over a longer time.
func TestAProcessMayLearnLaterThatItIsAway(t *testing.T) {
	start := time.Unix(1000, 0)
	for _, c := range []struct {
		many bool
		want time.Duration
	}{{false, 2*homeAfter - 1}, {true, homeAfter + homeMany - 1}} {
		r := &Roamer{chance: longest}
		r.Connected(false, start)
		r.Tick(start)
		if r.Advance(c.many, start) {
			t.Fatal("it looks though ticks come")
		}
		r.Stray(true, start)
		if got := r.homeAt.Sub(start); got != c.want {
			t.Errorf("many %v: looks after %v, want %v", c.many, got, c.want)
		}
		r.Stray(true, start.Add(time.Second))
		if got := r.homeAt.Sub(start); got != c.want {
			t.Errorf("many %v: a status without news puts it off to %v", c.many, got)
		}
		r.Stray(false, start)
		if at := looks(r, start, 5*time.Minute, r.Tick); at != nil {
			t.Errorf("many %v: looked at %v", c.many, at)
		}
	}
}
