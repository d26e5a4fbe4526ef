package join

import (
	"testing"

	"thor/nodeagent"
	"thor/overlay"
	"thor/subjects"
)

// A program that drains and then says "up" is announced as draining for a moment: no
// operator drains it, and its signal would end it.
func TestDrainedIsAnOperatorsWish(t *testing.T) {
	for _, c := range []struct {
		state  subjects.State
		reason string
		wish   bool
		want   bool
	}{
		{subjects.Up, "", false, false},
		{subjects.Up, "", true, false}, // its wish is not announced yet
		{subjects.Draining, nodeagent.ProgramDrains, true, false},
		{subjects.Draining, nodeagent.ProgramDrains, false, false}, // the end of its wish is not
		{subjects.Draining, overlay.DrainReason, false, true},
		{subjects.Draining, "drained by op: new kernel", false, true},
		{subjects.Draining, overlay.DrainReason, true, false}, // it drains already
	} {
		if got := drained(nodeagent.RoleStatus{State: c.state, Reason: c.reason}, c.wish); got != c.want {
			t.Errorf("%s %q, wish %v: %v", c.state, c.reason, c.wish, got)
		}
	}
}
