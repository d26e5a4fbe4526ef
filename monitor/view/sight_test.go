package view

import (
	"strings"
	"testing"
	"time"

	"thor/subjects"
)

func TestSightSaysWhatIsNotHeard(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	st := &subjects.Status{Manager: "m1", Roles: map[subjects.Role][]subjects.Member{
		subjects.EventServer: {{Node: "b1"}, {Node: "b2"}, {Node: "b3"}}, subjects.Manager: {{Node: "m1"}, {Node: "m2"}},
	}}
	heard := func(ago time.Duration, but ...subjects.NodeID) map[Part]time.Time {
		h := make(map[Part]time.Time)
		for r, ms := range st.Roles {
			for _, m := range ms {
				h[Part{r, m.Node}] = now.Add(-ago)
			}
		}
		for _, n := range but {
			delete(h, Part{subjects.EventServer, n})
			delete(h, Part{subjects.Manager, n})
		}
		return h
	}
	long := now.Add(-time.Minute)
	for _, c := range []struct {
		name     string
		s        Sight
		complete bool
		want     string
	}{
		{"all is heard", Sight{Since: long, Tick: now.Add(-time.Second), Beats: true, Heard: heard(time.Second)}, true, ""},
		{"it has just begun to listen", Sight{Since: now.Add(-time.Second), Beats: true}, false, ""},
		{"no tick ever", Sight{Since: now.Add(-3 * time.Second), Beats: true, Heard: heard(0)}, false, "no active manager heard in 3 s"},
		{"an old tick", Sight{Since: long, Tick: now.Add(-12 * time.Second), Beats: true, Heard: heard(0)}, true, "no active manager heard for 12 s"},
		{"a tick within patience", Sight{Since: long, Tick: now.Add(-2 * time.Second), Beats: true, Heard: heard(0)}, true, ""},
		{"one broker and one manager", Sight{Since: long, Tick: now, Beats: true, Heard: heard(0, "b2", "m2")}, false, "broker b2 is not heard; manager m2 is not heard"},
		{"two brokers", Sight{Since: long, Tick: now, Beats: true, Heard: heard(0, "b3", "b2")}, false, "brokers b2 b3 are not heard"},
		{"silent for long", Sight{Since: long, Tick: now, Beats: true, Heard: heard(4 * time.Second)}, true, "brokers b1 b2 b3 are not heard; managers m1 m2 are not heard"},
		{"silent, where beats are rare", Sight{Since: long, Tick: now, Beats: true, Beat: 5 * time.Second, Heard: heard(9 * time.Second)}, true, ""},
		{"who hears no beats", Sight{Since: long, Tick: now}, true, ""},
		{"a broker that is alone", Sight{Since: long, Tick: now, Broker: "b1", Alone: true}, true, "broker b1 is cut off from the other brokers"},
	} {
		if got := strings.Join(c.s.Reasons(st, now), "; "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
		if got := c.s.Complete(st); got != c.complete {
			t.Errorf("%s: complete is %v", c.name, got)
		}
	}
	if got := (&Sight{Since: long, Beats: true}).Reasons(nil, now); len(got) != 1 {
		t.Errorf("without a status: %q", got)
	}
}
