package view

import (
	"maps"
	"slices"
	"time"

	"thor/subjects"
)

// Sizes of the live monitor.
const (
	minWidth, minHeight = 60, 10 // below, there is only a one-line summary
	maxEvents           = 1000   // remembered; older ones are forgotten
	maxFilter           = 80     // bytes
)

// A Picture is a view of the network as it was at one moment, with what is
// known about the view itself. The zero value knows nothing.
type Picture struct {
	Status    *subjects.Status // nil: nothing known yet
	Stale     bool             // no active manager confirms Status
	Connected bool             // there is a connection to a broker
	FromDisk  bool             // Status is of an earlier run
	Doubts    []string         // what is wrong besides, as a Sight says
}

// current reports whether the picture shows the network as it is now.
func (p *Picture) current() bool { return p.Status != nil && p.Connected && !p.Stale && !p.FromDisk }

// Options of a Model. The zero value is usable.
type Options struct {
	Domain string          // shown while no status names it
	Node   subjects.NodeID // this node, to mark its monitor "myself"; empty: none
	Color  bool
	ASCII  bool // the terminal's character set is not UTF-8
	// StaleAfter is how long after the last word of the active manager a picture
	// comes as stale; the time shown starts from it.
	StaleAfter time.Duration
}

type page int

const (
	membersPage page = iota
	eventsPage
	rolesPage
	pages
)

// A Model is the state of the live monitor. Its methods return the next state
// and leave the receiver as it was; none blocks, reads a clock or does I/O.
// Times are the caller's and should carry the location to show them in.
type Model struct {
	opt           Options
	width, height int
	light         bool // the terminal's ground

	now       time.Time
	pic       Picture
	confirmed time.Time             // when pic last was current, zero: never
	most      map[subjects.Role]int // the most members of a role that ever served

	events []subjects.Event // oldest first
	frozen []subjects.Event // what is shown while paused
	missed int              // events since the pause
	paused bool

	page   page
	top    [pages]int // first body line shown
	left   int        // columns scrolled to the right
	tail   bool       // the events page follows the newest
	filter string
	typing bool // keys go into the filter
	done   bool

	help    bool
	helpTop int // its first line shown
}

// NewModel is the state before anything is known.
func NewModel(o Options) Model {
	return Model{opt: o, width: 80, height: 24, tail: true}
}

// Show takes a new picture that came at now.
func (m Model) Show(p Picture, now time.Time) Model {
	was := m.pic.current()
	m.pic, m.now = p, now
	switch {
	case p.current():
		m.confirmed = now
	case was && p.Connected && p.Stale:
		m.confirmed = now.Add(-m.opt.StaleAfter)
	}
	if p.Status != nil {
		m.most = highest(m.most, p.Status)
	}
	return m.settle()
}

// highest keeps the greatest number of serving members of each role.
func highest(most map[subjects.Role]int, s *subjects.Status) map[subjects.Role]int {
	next := maps.Clone(most)
	if next == nil {
		next = make(map[subjects.Role]int)
	}
	for r, n := range s.Counts() {
		next[r] = max(next[r], n)
	}
	for _, r := range lossRoles(s, s.Expected()) {
		next[r] = max(next[r], 0)
	}
	return next
}

// Happened takes events in the order in which they came.
func (m Model) Happened(events []subjects.Event, now time.Time) Model {
	m.now = now
	all := append(slices.Clip(m.events), events...)
	m.events = all[max(0, len(all)-maxEvents):]
	if m.paused {
		m.missed += len(events)
	}
	return m.settle()
}

// Tick lets time pass. Once a second is enough.
func (m Model) Tick(now time.Time) Model {
	m.now = now
	if m.pic.current() {
		m.confirmed = now
	}
	return m
}

// Resize sets the terminal's size in columns and rows, each at least 1.
func (m Model) Resize(width, height int) Model {
	m.width, m.height = max(1, width), max(1, height)
	return m.settle()
}

// Ground says whether the terminal's background is light. Dark is assumed.
func (m Model) Ground(light bool) Model {
	m.light = light
	return m
}

// Done reports whether the user wants to leave.
func (m Model) Done() bool { return m.done }

// shownEvents are the events as the page has them: frozen while paused, and
// only those that pass the filter.
func (m *Model) shownEvents() []*subjects.Event {
	from := m.events
	if m.paused {
		from = m.frozen
	}
	var out []*subjects.Event
	f := newFilter(m.filter)
	for i := range from {
		if f.event(&from[i]) {
			out = append(out, &from[i])
		}
	}
	return out
}

// settle keeps the scroll positions inside what there is to see.
func (m Model) settle() Model {
	last := max(0, m.bodyLen()-m.bodyHeight())
	if m.page == eventsPage && m.tail {
		m.top[m.page] = last
	}
	m.top[m.page] = min(max(0, m.top[m.page]), last)
	return m
}

// reasons are why the network, or the picture of it, is degraded.
func (p *Picture) reasons(now time.Time) []string {
	_, reasons := Health(p.Status, now, p.Stale || p.FromDisk, p.Connected)
	if p.Connected {
		reasons = append(slices.Clone(p.Doubts), reasons...)
	}
	return reasons
}
