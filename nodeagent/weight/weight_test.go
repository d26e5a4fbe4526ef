package weight

import (
	"math/rand/v2"
	"testing"
	"time"
)

var rule = Rule{Every: 30 * time.Second, Step: 10}

// play feeds a load in percent, by the second, each 2 s, and returns what was announced
// and when it changed.
func play(seconds int, load func(second int) int) (changes []int, shares []int) {
	var d Damper
	start := time.Unix(1_700_000_000, 0)
	for s := 0; s <= seconds; s += 2 {
		share := d.Next(rule, start.Add(time.Duration(s)*time.Second), load(s))
		if len(shares) == 0 || share != shares[len(shares)-1] {
			changes, shares = append(changes, s), append(shares, share)
		}
	}
	return changes, shares
}

func TestTheFirstMeasurementIsAnnouncedAtOnce(t *testing.T) {
	if at, s := play(0, func(int) int { return 37 }); at[0] != 0 || s[0] != 37 {
		t.Error(at, s)
	}
}

func TestASmallChangeIsNotAnnounced(t *testing.T) {
	if at, s := play(600, func(s int) int { return 50 + s/100 }); len(at) != 1 {
		t.Error(at, s)
	}
}

func TestAChangeIsAnnouncedOnceInAPeriod(t *testing.T) {
	at, s := play(300, func(s int) int { return max(0, 100-s/2) })
	for i := 1; i < len(at); i++ {
		if at[i]-at[i-1] < 30 || s[i-1]-s[i] < 10 && s[i] != 0 {
			t.Errorf("%v at %v", s, at)
		}
	}
	if s[len(s)-1] > 20 || len(s) < 5 {
		t.Errorf("%v at %v", s, at)
	}
}

func TestAPeakOfAMomentSaysNothing(t *testing.T) {
	if at, s := play(120, func(s int) int {
		if s == 60 {
			return 0
		}
		return 80
	}); len(at) != 1 {
		t.Error(at, s)
	}
}

// What is idle again gets all of its weight again, and what is full as little as possible,
// however small the step that is left.
func TestTheEndsAreReached(t *testing.T) {
	for _, end := range []int{0, 100} {
		at, s := play(120, func(s int) int {
			if s < 30 {
				return 50 + (end-50)*46/50 // 4 or 96
			}
			return end
		})
		if s[len(s)-1] != end || len(at) != 2 {
			t.Errorf("%d: %v at %v", end, s, at)
		}
	}
}

// Whatever is measured, a weight changes at most once in a period.
func TestChangesAreBounded(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		at, s := play(3600, func(int) int { return r.IntN(101) })
		for i := 1; i < len(at); i++ {
			if at[i]-at[i-1] < 30 {
				t.Fatalf("seed %d: %v at %v", seed, s, at)
			}
		}
		if len(at) > 121 {
			t.Errorf("seed %d: %d changes", seed, len(at))
		}
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct{ n, full, percent, of100 int }{
		{0, 500, 100, 100}, {250, 500, 50, 50}, {499, 500, 0, 1}, {500, 500, 0, 1}, {900, 500, 0, 1}, {1, 1, 0, 1},
	} {
		if p := Share(c.n, c.full); p != c.percent || Of(100, p) != c.of100 {
			t.Errorf("%d of %d: %d %%, %d", c.n, c.full, p, Of(100, p))
		}
	}
	if Of(200, 50) != 100 || Of(1, 50) != 1 || Of(65535, 100) != 65535 {
		t.Error(Of(200, 50), Of(1, 50), Of(65535, 100))
	}
}
