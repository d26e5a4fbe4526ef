package check

import (
	"strings"
	"testing"

	"thor/subjects"
)

// A script is a row of probes: "." passes, a letter is a fault of that name.
// want holds the condition and reason after each: "+" is passing, a letter is
// failing because of that fault, and "!" after it marks a change that
// must be told.
func TestHealthChangesOnlyAfterARow(t *testing.T) {
	for _, c := range []struct {
		name       string
		rise, fall int
		script     string
		want       string
	}{
		{"first success is up at once", 3, 3, "..", "+! +"},
		{"first failure is down at once", 3, 3, "aa", "a! a"},
		{"one failure of two is nothing", 2, 2, ".a.a.", "+! + + + +"},
		{"two of two", 2, 2, ".aa", "+! + a!"},
		{"fall 1", 1, 1, ".a.a", "+! a! +! a!"},
		{"fall 3", 1, 3, ".aa.aaa", "+! + + + + + a!"},
		{"rise 2 after a failure", 2, 2, "a.a..", "a! a a a +!"},
		{"rise 3", 3, 1, ".a...", "+! a! a a +!"},
		{"faults of any kind count together", 2, 2, ".ab", "+! + b!"},
		{"an unsteady reason stays the first", 2, 2, "aababab", "a! a a a a a a"},
		{"a lasting new reason is told", 2, 2, "aabb", "a! a a b!"},
		{"a new reason is told after fall 3", 2, 3, "abbb", "a! a a b!"},
		{"a success between keeps the old reason", 2, 2, "ab.b", "a! a a b!"},
	} {
		h := health{rise: c.rise, fall: c.fall}
		var got []string
		for _, p := range c.script {
			changed := h.observe(strings.TrimSuffix(string(p), "."))
			s := "+"
			if h.now == Failing {
				s = h.reason
			} else if h.reason != "" {
				t.Errorf("%s: passing because of %q", c.name, h.reason)
			}
			if changed {
				s += "!"
			}
			got = append(got, s)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.name, c.script, s, c.want)
		}
	}
}

func TestAllPassWhenEachDoes(t *testing.T) {
	of := func(now Condition, reason string) *Check { return &Check{health: health{now: now, reason: reason}} }
	up, down, late, worse := of(Passing, ""), of(Failing, "first"), of(Unknown, ""), of(Failing, "second")
	for i, c := range []struct {
		checks []*Check
		want   Condition
		reason string
	}{
		{nil, Passing, ""},
		{[]*Check{up, up}, Passing, ""},
		{[]*Check{up, late}, Unknown, ""},
		{[]*Check{late, down}, Failing, "first"},
		{[]*Check{up, down, worse}, Failing, "first"},
		{[]*Check{worse, down}, Failing, "second"},
	} {
		if got, reason := All(c.checks); got != c.want || reason != c.reason {
			t.Errorf("case %d: %v %q", i, got, reason)
		}
	}
}

func TestStateFollowsFromTheCondition(t *testing.T) {
	for c, want := range map[Condition]subjects.State{Unknown: "", Passing: subjects.Up, Failing: subjects.Down} {
		if s := c.State(); s != want {
			t.Errorf("%v: %q", c, s)
		}
	}
}
