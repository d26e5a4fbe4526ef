package membership

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// A Table is the membership as one observer knows it. Make it with New; it is
// not safe for concurrent use. All times given to it are the observer's own
// clock; one that goes back is held at the latest seen.
type Table struct {
	cfg Config

	started  bool
	base     time.Time // of instant 0
	now      instant
	wall     time.Time // of now, for show
	advance  instant   // of the last Advance
	heard    instant   // of the last announcement of any member
	resumed  instant   // when it last heard again after a gap
	missedAt instant   // of the last input that was lost
	bare     instant   // of the last beat that names no connection

	members   map[key]*member // listed ones, and who is remembered
	fullUntil instant         // members is full, and none of them was to be forgotten: not looked at before
	nodes     map[subjects.NodeID]*node
	roles     map[subjects.Role]*role
	labels    map[string]subjects.Role   // host labels of the roles that have members
	hashes    map[uint64]subjects.NodeID // of nodes, as the lookup has them; empty without Config.NodeHash
	brokers   map[string]*broker
	alone     map[string]aloneness        // brokers that say so
	naming    map[subjects.NodeID]instant // since when a broker that is heard has a route to these, as of…
	listened  instant                     // …then
	departed  map[subjects.NodeID]*departed
	losses    losses
	revoked   revocations

	facts             map[subjects.NodeID][]*fact // what certificates say
	factsRevision     uint64
	withRevoked       map[subjects.NodeID]bool // nodes with a revoked certificate
	identityHeard     bool                     // some broker tells identities
	strict            bool                     // see identitiesEnforced
	compareDue        bool                     // members are to be compared with their certificates
	identitiesKnownAt instant                  // when all live certificates have been told
	sweepDue          bool                     // then
	tidied            instant
	pending           map[key]*pending

	fulls map[key][]*subjects.Announcement // that short beats stand for, the newest first
	asked map[subjects.NodeID]instant      // when full announcements of a node were wanted last
	asks  []subjects.NodeID                // that are wanted now
	pace  pace

	timers     timers
	silent     []*member          // fell silent in this Advance
	dirty      map[*role]struct{} // to be judged before this call ends
	blind      blindness
	panic      *guard // G3, for all roles; nil: off
	panicTimer timer
	recent     []loss   // removals by silence, for the panic threshold
	guards     []*guard // by name, role, node and site
	incidents  map[subjects.Site]*incident
	surveyed   instant           // when sites were looked at last
	hears      *subjects.Hearing // then
	events     []subjects.Event
	dropped    int
	duplicates []Duplicate
	revision   uint64
	joins      uint64
}

type key struct {
	role subjects.Role
	node subjects.NodeID
}

// A node is what its members share.
type node struct {
	id          subjects.NodeID
	members     []*member    // by role
	last        instant      // of any beat, or when another manager's status named it first
	beat        instant      // of any beat
	lastClosed  instant      // when a living broker told last that a connection of it had ended
	closedConns []closedConn // of connections, the newest last
	listed      int          // members in the status
	services    int          // those of them in roles that are not thor's own
	bareAfter   instant      // announcements without boot are refused before this: it was revoked
	leftAt      instant      // of the last removal
	addresses   addresses    // of the members removed then
}

// A role is the members of one role.
type role struct {
	name   subjects.Role
	label  string
	all    int              // members that refer to it
	list   []*member        // in the status, by node
	ups    int              // of list: alive and up
	since  instant          // when ups last left 0
	bad    map[*member]bool // of list: failed, yet kept
	down   map[*member]bool // fail their checks and were in list when that began
	damped map[*member]bool // not in list: held down by G6
	panic  *guard           // G3; nil: off
	checks *guard           // many checks fail at once; nil: off
	hold   *hold            // of an operator; nil: off
	timer  timer            // when the kept ones are looked at again
}

// New makes an empty table.
func New(cfg Config) *Table {
	t := &Table{
		cfg:               cfg.withDefaults(),
		members:           make(map[key]*member),
		nodes:             make(map[subjects.NodeID]*node),
		roles:             make(map[subjects.Role]*role),
		labels:            make(map[string]subjects.Role),
		hashes:            make(map[uint64]subjects.NodeID),
		brokers:           make(map[string]*broker),
		alone:             make(map[string]aloneness),
		departed:          make(map[subjects.NodeID]*departed),
		dirty:             make(map[*role]struct{}),
		facts:             make(map[subjects.NodeID][]*fact),
		withRevoked:       make(map[subjects.NodeID]bool),
		pending:           make(map[key]*pending),
		fulls:             make(map[key][]*subjects.Announcement),
		asked:             make(map[subjects.NodeID]instant),
		incidents:         make(map[subjects.Site]*incident),
		hears:             &subjects.Hearing{V: subjects.Version},
		identitiesKnownAt: identityWait,
		bare:              longAgo,
		resumed:           longAgo,
		missedAt:          longAgo,
		surveyed:          longAgo,
	}
	t.blind.timer = timer{kind: timerObserver, index: -1, act: t.endBlind}
	t.panicTimer = timer{kind: timerPanic, index: -1, act: t.endPanics}
	t.initLosses()
	return t
}

// Advance lets time pass until now: who is due for removal goes, guards end.
func (t *Table) Advance(now time.Time) {
	gap := t.since(now) - t.advance
	paused := t.started && gap > pauseGap
	t.enter(now)
	if paused {
		t.pause(gap)
	}
	t.advance = t.now
	t.keepPace()
	t.isolation()
	t.hearsay()
	t.surveySites()
	for x := t.timers.due(t.now); x != nil; x = t.timers.due(t.now) {
		x.act()
	}
	t.judgeSilent()
	t.flush()
	if t.cfg.Identities {
		t.certify()
	}
}

// Next is when Advance must be called: when something is due, and within a
// second of the last Advance in any case. It is the zero time before the first call.
func (t *Table) Next() time.Time {
	if !t.started {
		return time.Time{}
	}
	next := t.advance + heartbeat
	if len(t.timers) > 0 {
		next = min(next, t.timers[0].at)
	}
	return t.base.Add(max(next, t.now))
}

// enter takes note of the time and finds out whether the observer stood still: what
// waited meanwhile may come before Advance, and make a role judge who was silent.
func (t *Table) enter(now time.Time) {
	if !t.started {
		t.started = true
		t.base = now
		t.wall = stamp(now)
		return
	}
	gap := t.since(now) - t.now
	if gap <= 0 {
		return
	}
	t.now, t.wall = t.now+gap, stamp(now)
	if gap > pauseGap {
		t.pause(gap)
	}
}

func (t *Table) since(now time.Time) instant { return now.Sub(t.base) }

// stamp is now as the status shows it.
func stamp(now time.Time) time.Time { return now.UTC().Truncate(time.Millisecond) }

// Fill writes the roles, the departed nodes and the losses into s, sorted. What it writes
// shares nothing that the table will change.
func (t *Table) Fill(s *subjects.Status) {
	s.Roles = make(map[subjects.Role][]subjects.Member, len(t.roles))
	for name, r := range t.roles {
		if len(r.list) == 0 {
			continue
		}
		ms := make([]subjects.Member, len(r.list))
		for i, m := range r.list {
			ms[i] = m.shown
		}
		s.Roles[name] = ms
	}
	s.Departed = make([]subjects.Departed, 0, len(t.departed))
	for _, id := range slices.Sorted(maps.Keys(t.departed)) {
		s.Departed = append(s.Departed, t.departed[id].Departed)
	}
	t.fillLosses(s)
}

func (t *Table) sortedRoles() []*role {
	return slices.SortedFunc(maps.Values(t.roles), func(a, b *role) int { return cmp.Compare(a.name, b.name) })
}

// Revision rises with each change of what Fill writes.
func (t *Table) Revision() uint64 { return t.revision }

// Joins counts the changes of Revision that are members who came into the status.
func (t *Table) Joins() uint64 { return t.joins }

// Counts is the size of a table, for metrics.
type Counts struct {
	Up, Suspect, Draining int // members in the status
	Inherited             int // of these: adopted, not heard yet
	Damped                int // held down by G6, not in the status
	Remembered            int // all that is kept, the above included
	Nodes                 int // with members in the status
	Departed              int
	DroppedEvents         int // since New: not drained in time
}

// Counts counts.
func (t *Table) Counts() Counts {
	c := Counts{Remembered: len(t.members), Departed: len(t.departed), DroppedEvents: t.dropped}
	for _, n := range t.nodes {
		if n.listed > 0 {
			c.Nodes++
		}
	}
	for _, r := range t.roles {
		c.Damped += len(r.damped)
		for _, m := range r.list {
			switch m.shown.State {
			case subjects.Draining:
				c.Draining++
			case subjects.Suspect:
				c.Suspect++
			default:
				c.Up++
			}
			if m.adopted {
				c.Inherited++
			}
		}
	}
	return c
}
