package trace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// The bounds that the invariants leave open.
const (
	// A member that is mute for less than this must stay: a connection counts as
	// stale after more than two pings of a second, and silence lasts longer.
	mute = 2500 * time.Millisecond
	// Settle is how long after the end of a cause its removal may still be seen.
	settle = 3 * time.Second
	// A replaced instance counts again so soon after the end of the newer one.
	twinBack = 5 * time.Second
	// An observer without a past must not be told what was replaced so long before: a
	// standby may answer for three seconds after the last tick, and a broker that lost
	// its routes sends its clients away after as much.
	freshWithin = 7 * time.Second
	// The same where no broker of the quorum is in reach: an active manager that is cut
	// off trusts its lease for ten seconds, and it is the present for all it can know.
	freshAloneWithin = 13 * time.Second
	// Everybody agrees so soon after the end of a fault.
	convergesWithin = 30 * time.Second
	// What a stall of the machine does may show so long after.
	stallLasts = 12 * time.Second
	// All agree once they have agreed for so long.
	steady = 1500 * time.Millisecond
	// A name server answers so soon after its start.
	answersWithin = 2 * time.Second
	// A view is shown as stale so soon after the last manager is gone.
	staleWithin = 36 * time.Second
	// A part that is cut off says so within this.
	cutOffShown = 10 * time.Second
	// A dead member is out of DNS within these: alone, and as one of many, where
	// the guards hold them back.
	outWithin, massOutWithin = 20 * time.Second, 80 * time.Second
)

// A Violation is a moment at which an invariant did not hold.
type Violation struct {
	At        Moment   `json:"at_ms"`
	Invariant string   `json:"invariant"`
	Text      string   `json:"text"`
	Faults    []string `json:"faults"` // that were on, or ended in the last 30 s
	// Stalled says that the machine stood still shortly before: where the invariant
	// allows for time, nothing follows from it.
	Stalled bool `json:"stalled,omitempty"`
}

func (v Violation) String() string {
	return fmt.Sprintf("%s at %v during %s: %s", v.Invariant, v.At, cmp.Or(strings.Join(v.Faults, ", "), "no fault"), v.Text)
}

// Check returns the violations of all invariants but I3, see Linearizable, in the
// order of time.
func Check(lines []Line) []Violation {
	c := newChecker(lines)
	for _, check := range []func(*checker){
		(*checker).oneManagerAnEpoch, (*checker).marksRise, (*checker).noFalseRemoval, (*checker).deadAreOut,
		(*checker).namesAnswer, (*checker).ownersAgree, (*checker).bookingsAreKept, (*checker).certificatesAllow,
		(*checker).converges, (*checker).nothingLeaks, (*checker).showsTheTruth,
	} {
		check(c)
	}
	slices.SortStableFunc(c.found, func(a, b Violation) int { return cmp.Compare(a.At, b.At) })
	return c.found
}

// A checker holds a trace in the forms that the invariants need.
type checker struct {
	lines     []Line
	history   *history
	published []publication            // by mark
	views     map[string][]publication // of observers, by time
	dns       map[string][]Line        // answers of servers but for serials, by time
	effects   map[Moment][]*Effect
	ready     Moment // what was before counts for nothing
	end       Moment
	found     []Violation
}

// A publication is a status, and when it was first seen.
type publication struct {
	at Moment
	*Status
}

func newChecker(lines []Line) *checker {
	lines = slices.Clone(lines)
	slices.SortStableFunc(lines, func(a, b Line) int { return cmp.Compare(a.At, b.At) })
	c := &checker{lines: lines, history: replay(lines), views: make(map[string][]publication), dns: make(map[string][]Line), effects: make(map[Moment][]*Effect)}
	byMark := make(map[subjects.Mark]publication)
	for _, l := range lines {
		c.end = max(c.end, l.At)
		switch {
		case l.Ready:
			c.ready = l.At
		case l.DNS != nil && l.DNS.Type != "SOA":
			c.dns[l.DNS.Server] = append(c.dns[l.DNS.Server], l)
		case l.Effect != nil:
			c.effects[l.At] = append(c.effects[l.At], l.Effect)
		case l.Status != nil:
			c.view(l.At, l.Status, byMark)
		}
	}
	c.published = slices.SortedFunc(maps.Values(byMark), func(a, b publication) int {
		if b.Mark().After(a.Mark()) {
			return -1
		}
		return 1
	})
	return c
}

// view takes in a status that an observer shows.
func (c *checker) view(at Moment, s *Status, byMark map[subjects.Mark]publication) {
	if last := c.views[s.Observer]; s.Members == nil && len(last) > 0 && last[len(last)-1].Mark() == s.Mark() {
		full := *s
		full.Members = last[len(last)-1].Members
		s = &full
	}
	c.views[s.Observer] = append(c.views[s.Observer], publication{at, s})
	if _, known := byMark[s.Mark()]; !known {
		byMark[s.Mark()] = publication{at, s}
	}
}

func (c *checker) fail(at Moment, invariant, format string, args ...any) {
	if at < c.ready {
		return
	}
	stalled := slices.Contains(timed, invariant) && c.history.stalls.touches("", at-Moment(stallLasts), at, 0)
	c.found = append(c.found, Violation{at, invariant, fmt.Sprintf(format, args...), c.history.kindsAt(at, 30*time.Second), stalled})
}

// timed are the invariants that allow for some time.
var timed = []string{"I4", "I5", "I6", "I10", "I12"}

// StalledShare is the part of a run that is not judged for stalls of the machine.
func StalledShare(lines []Line) float64 {
	c := newChecker(lines)
	var sum, covered Moment
	for _, s := range c.history.stalls[""] {
		from, to := max(s.from, covered, c.ready), min(s.to+Moment(stallLasts), c.end)
		if to > from {
			sum += to - from
			covered = to
		}
	}
	if c.end <= c.ready {
		return 0
	}
	return float64(sum) / float64(c.end-c.ready)
}

// member finds an entry of a status, or returns nil.
func (s *Status) member(e entry) *Member {
	for i := range s.Members {
		if m := &s.Members[i]; m.Role == e.role && m.Node == e.node {
			return m
		}
	}
	return nil
}

// nodes are those of a role that serve.
func (s *Status) nodes(role subjects.Role) (out []string) {
	for _, m := range s.Members {
		if m.Role == role && m.State != subjects.Draining {
			out = append(out, string(m.Node))
		}
	}
	slices.Sort(out)
	return out
}
