package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// A Sight is what a process hears of brokers and managers itself. A status stays
// good news for long after the part of the network that tells it was cut off: what
// is heard does not.
type Sight struct {
	Since  time.Time // it has listened since then
	Tick   time.Time // the newest tick of an active manager; zero: none
	Broker string    // that it is connected to
	Alone  bool      // that broker says that it reaches no other
	Beats  bool      // beats are heard, as by operators: Heard counts
	Heard  map[Part]time.Time
	Beat   time.Duration // how often members beat; 0: each second
}

// A Part is a broker or a manager.
type Part struct {
	Role subjects.Role
	Node subjects.NodeID
}

// Patience of a Sight.
const (
	TickPatience = 2500 * time.Millisecond // ticks come each second
	beatSlack    = 500 * time.Millisecond
)

// Patience is how long what is silent is not missed yet.
func (s *Sight) Patience() time.Duration {
	return max(TickPatience, 2*max(s.Beat, time.Second)+beatSlack)
}

// Complete reports whether a tick and all brokers and managers of st were heard.
func (s *Sight) Complete(st *subjects.Status) bool {
	return !s.Tick.IsZero() && (!s.Beats || len(s.missing(st, s.Since)) == 0)
}

// missing are the brokers and managers of st that were not heard since then.
func (s *Sight) missing(st *subjects.Status, since time.Time) (out []Part) {
	if st == nil {
		return nil
	}
	for _, r := range []subjects.Role{subjects.EventServer, subjects.Manager} {
		for i := range st.Roles[r] {
			p := Part{r, st.Roles[r][i].Node}
			if at := s.Heard[p]; at.IsZero() || at.Before(since) {
				out = append(out, p)
			}
		}
	}
	return out
}

// Reasons are what is wrong, in words for an operator. st may be nil.
func (s *Sight) Reasons(st *subjects.Status, now time.Time) (reasons []string) {
	if s.Alone {
		reasons = append(reasons, fmt.Sprintf("broker %s is cut off from the other brokers", safe(s.Broker, 63)))
	}
	switch {
	case s.Tick.IsZero() && now.Sub(s.Since) >= TickPatience:
		reasons = append(reasons, "no active manager heard in "+seconds(now.Sub(s.Since)))
	case !s.Tick.IsZero() && now.Sub(s.Tick) >= TickPatience:
		reasons = append(reasons, "no active manager heard for "+seconds(now.Sub(s.Tick)))
	}
	if !s.Beats || now.Sub(s.Since) < s.Patience() {
		return reasons
	}
	gone := s.missing(st, now.Add(-s.Patience()))
	for _, x := range []struct {
		role subjects.Role
		name string
	}{{subjects.EventServer, "broker"}, {subjects.Manager, "manager"}} {
		var names []string
		for _, p := range gone {
			if p.Role == x.role {
				names = append(names, safe(string(p.Node), 63))
			}
		}
		slices.Sort(names)
		switch n := len(names); {
		case n == 1:
			reasons = append(reasons, x.name+" "+names[0]+" is not heard")
		case n > 1:
			reasons = append(reasons, x.name+"s "+strings.Join(names, " ")+" are not heard")
		}
	}
	return reasons
}
