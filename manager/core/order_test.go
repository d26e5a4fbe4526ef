package core

import (
	"fmt"
	"testing"

	"thor/subjects"
)

func TestPlaceAmongTheCandidates(t *testing.T) {
	managers := func(ms ...subjects.Member) *subjects.Status {
		s := &subjects.Status{Manager: "active"}
		for _, m := range ms {
			s.Put(subjects.Manager, m)
		}
		return s
	}
	up := func(node subjects.NodeID, priority int) subjects.Member {
		return subjects.Member{Node: node, Priority: priority, State: subjects.Up}
	}
	is := func(state subjects.State, m subjects.Member) subjects.Member { m.State = state; return m }
	all := managers(up("m1", 50), up("m2", 10), up("m3", 50), up("m4", 90), up("active", 1))
	many := managers(up("z", 50))
	for i := range 100 {
		many.Put(subjects.Manager, up(subjects.NodeID(fmt.Sprint("m", i)), 50))
	}
	for _, c := range []struct {
		name     string
		s        *subjects.Status
		me       subjects.NodeID
		priority int
		want     int
	}{
		{"the lowest number is first", all, "m2", 10, 0},
		{"the lesser name is before the greater", all, "m1", 50, 1},
		{"the greater name is after the lesser", all, "m3", 50, 2},
		{"the highest number is last", all, "m4", 90, 3},
		{"not in the status yet", all, "m25", 50, 2},
		{"not in the status yet, and preferred", all, "m5", 5, 0},
		{"another number than the status shows: one's own counts", all, "m4", 1, 0},
		{"nobody is there", managers(), "m1", 50, 0},
		{"whose term has ended is no rival", managers(up("active", 1), up("m1", 50)), "m1", 50, 0},
		{"but stands again itself", managers(up("active", 1), up("m1", 50)), "active", 1, 0},
		{"a suspect is no rival", managers(is(subjects.Suspect, up("m1", 10)), up("m2", 50)), "m2", 50, 0},
		{"one that is drained is no rival", managers(is(subjects.Draining, up("m1", 10)), up("m2", 50)), "m2", 50, 0},
		{"drained, so after all others", managers(is(subjects.Draining, up("m1", 10)), up("m2", 50), up("m3", 90)), "m1", 10, 2},
		{"without a number it is at 50", managers(up("m1", 0), up("m2", 60)), "m2", 60, 1},
		{"without a number it is not before 40", managers(up("m1", 0), up("m2", 40)), "m2", 40, 0},
		{"the delay is bounded", many, "z", 50, maxOrder},
	} {
		if got := OrderIn(c.s, c.me, c.priority, 50); got != c.want {
			t.Errorf("%s: %s is at %d, want %d", c.name, c.me, got, c.want)
		}
	}
}
