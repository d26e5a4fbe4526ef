package overlay

import "testing"

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
