package sim

import "testing"

// The known break is that of its seed, and nothing else passes for it.
func TestTheKnownBreakIsOneEpochTwice(t *testing.T) {
	if broken := newPlan(500_003_799).play(newStats(), nil); len(broken) > 0 && !oneEpochTwice(broken) {
		t.Errorf("its seed breaks something else: %q", broken)
	}
	for _, broken := range [][]string{nil, {"1.000 s: I4: x"}, {"1.000 s: I1: x", "2.000 s: I4: x"}} {
		if oneEpochTwice(broken) {
			t.Errorf("%q passes for it", broken)
		}
	}
	if !oneEpochTwice([]string{"68.912 s: I1: epoch 2 is m1-1's and m2-1's"}) {
		t.Error("it is not known")
	}
}
