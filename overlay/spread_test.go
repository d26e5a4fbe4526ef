package overlay

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Members that started together do not go on beating together (G9).
func TestBeatsAreSpread(t *testing.T) {
	var beats [500]time.Duration // when each of 500 members beats for the 30th time
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func(d time.Duration) time.Duration { return time.Duration(rng.Int64N(int64(d))) }
	for i := range beats {
		for range 30 {
			d := spread(time.Second, draw)
			if d < 900*time.Millisecond || d >= 1100*time.Millisecond {
				t.Fatalf("a beat after %v", d)
			}
			beats[i] += d
		}
	}
	const slots = 10 // of a second
	var hit [slots]int
	for _, at := range beats {
		hit[at%time.Second/(time.Second/slots)]++
	}
	for i, n := range hit {
		if n < len(beats)/slots/4 {
			t.Errorf("%d of %d beats are in slot %d: %v", n, len(beats), i, hit)
		}
	}
}
