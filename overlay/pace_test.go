package overlay

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever asks, and however often: no more than so many at once, and then one in each
// interval. Who gives up takes no turn away.
func TestAPaceHoldsForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{atOnce: 3, interval: time.Second}
		began := time.Now()
		expect := func(want time.Duration) {
			t.Helper()
			if err := p.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := time.Since(began); got != want {
				t.Errorf("after %s, want %s", got, want)
			}
		}
		for range 3 {
			expect(0)
		}
		expect(time.Second)
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			if p.wait(ctx) == nil {
				t.Error("one too many")
			}
			cancel()
		}
		expect(2 * time.Second)
		time.Sleep(time.Minute)
		for range 3 {
			expect(62 * time.Second)
		}
		expect(63 * time.Second)
	})
}
