package membership

import (
	"time"

	"thor/subjects"
)

// A pace is how often the members of a table of this size beat, and how long
// silence is borne with it. The active manager tells the interval with its ticks;
// every manager computes it from the members that it lists. It grows at once, and
// shrinks only when members had time to hear of the shorter interval.
type pace struct {
	beat instant // the longest interval at which a member may beat now
	at   instant // when the table was last as big as that takes
}

const paceHold = 2 * subjects.MostBeat

// keepPace brings the pace in line with the number of members.
func (t *Table) keepPace() {
	pairs := 0
	for _, r := range t.roles {
		pairs += len(r.list)
	}
	want := subjects.BeatEvery(pairs)
	if want >= t.pace.beat || t.now-t.pace.at > paceHold {
		t.pace = pace{want, t.now}
	}
}

// slower is how much longer than a second members may take for a beat.
func (p *pace) slower() time.Duration { return max(p.beat, subjects.LeastBeat) - subjects.LeastBeat }

// The budget of silence: Config.Dead is for beats each second. It covers a beat, the 3 s
// in which a member finds that its broker stands still (overlay/pulse), 2 s to reach
// another one, and as much for a broker that is busy; three more beats' worth of what
// the interval is longer cover that beat, the longer patience with the broker, one beat
// that is lost, and jitter.

// dead is how long a member may be silent before it is gone.
func (t *Table) dead() time.Duration { return t.cfg.Dead + 3*t.pace.slower() }

// quiet is the silence after which a member counts as falling silent: about
// three missed beats where they come each second, two where they come more seldom.
func (t *Table) quiet() time.Duration { return t.cfg.Dead/3 + 2*t.pace.slower() }

// missed is after how long a member that is silent has missed a beat.
func (t *Table) missed() time.Duration { return missedAfter + t.pace.slower() }
