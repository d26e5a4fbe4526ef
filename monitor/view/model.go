package view

import (
	"cmp"
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
	noteTime            = 10 * time.Second
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
	// Operator says that the certificate may drain, resume and forget, and ask daemons.
	Operator bool
	// Flags are those by which a command of thor reaches this network, quoted for a shell,
	// with a blank before them.
	Flags string
	// StaleAfter is how long after the last word of the active manager a picture
	// comes as stale; the time shown starts from it.
	StaleAfter time.Duration
}

type page int

const (
	membersPage page = iota
	eventsPage
	rolesPage
	lookupPage
	dnsPage
	brokersPage
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
	facts     facts
	sites     []Site                            // of the status; none in a network without sites
	places    map[subjects.NodeID]subjects.Site // where nodes are or were
	silent    map[subjects.Site]time.Time       // sites of which nothing is heard, since when

	events []subjects.Event // oldest first
	frozen []subjects.Event // what is shown while paused
	missed int              // events since the pause
	paused bool
	past   string // what is to be said of the events before the start

	page   page
	rows   []row          // of the page, as settle left them
	at     [pages]string  // the key of the row chosen
	pos    [pages]int     // its index
	top    [pages]int     // first row shown
	sort   [pages]sorting // of pages that can be sorted
	left   int            // columns scrolled to the right
	tail   bool           // the events page follows the newest
	bySite bool           // members are grouped by site
	filter string
	typing bool // keys go into the filter
	done   bool

	help      bool
	helpTop   int     // its first line shown
	detail    *target // the member shown in full; nil: none
	detailTop int     // its first line shown

	asked *Action // to be confirmed
	order Order   // to be carried out by the caller
	note  string  // what came of the last one
	noted time.Time
}

// A target is a member, of a role or lost or held there.
type target struct {
	role subjects.Role
	node subjects.NodeID
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
		m.sites, m.places = Sites(p.Status), placed(m.places, p.Status)
	}
	return m.hold()
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
	for _, r := range s.LossRoles() {
		next[r] = max(next[r], 0)
	}
	return next
}

// Happened takes events in the order in which they came.
func (m Model) Happened(events []subjects.Event, now time.Time) Model {
	m.now = now
	all := append(slices.Clip(m.events), events...)
	m.events = all[max(0, len(all)-maxEvents):]
	m.silent = silentSites(m.events)
	if m.paused {
		m.missed += len(events)
	}
	return m.hold()
}

// Past takes what the history knows of the time before the first event, or of a
// time in which some were missed. Those that are there already are not doubled. note
// says what it does not know; empty: nothing.
func (m Model) Past(events []subjects.Event, note string, now time.Time) Model {
	m.now, m.past = now, safe(note, subjects.MaxReason)
	all := slices.Concat(events, m.events)
	slices.SortStableFunc(all, func(a, b subjects.Event) int { return a.Time.Compare(b.Time) })
	type same struct {
		at         int64
		kind       subjects.EventKind
		role       subjects.Role
		node       subjects.NodeID
		generation uint64
		detail     string
	}
	seen := make(map[same]bool, len(all))
	all = slices.DeleteFunc(all, func(e subjects.Event) bool {
		k := same{e.Time.UnixNano(), e.Kind, e.Role, e.Node, e.Generation, e.Detail}
		was := seen[k]
		seen[k] = true
		return was
	})
	m.events = slices.Clip(all[max(0, len(all)-maxEvents):])
	m.silent = silentSites(m.events)
	return m.hold()
}

// Answered takes what was found for what the model wanted.
func (m Model) Answered(a *Answer, now time.Time) Model {
	m.now, m.facts = now, m.facts.with(a)
	return m.hold()
}

// Want is what the page shown needs to be asked now and again.
func (m Model) Want() (w Want) {
	switch m.page {
	case brokersPage:
		w.Brokers = m.opt.Operator
	case dnsPage:
		w.NameServers = m.opt.Operator
	case lookupPage:
		w.Shares = true
	}
	if m.detail != nil {
		w = Want{Shares: m.hasTable(m.detail.role)}
		if m.opt.Operator {
			if r := m.detail.role; r == subjects.Database || !r.Infrastructure() {
				w.Checks, w.Role = m.detail.node, r
			}
			w.Brokers = m.detail.role == subjects.EventServer
			w.NameServers = m.detail.role == subjects.DNSManager
		}
	}
	return w
}

// hasTable reports whether the role is one of which subscribers are looked up.
func (m *Model) hasTable(r subjects.Role) bool {
	if m.pic.Status == nil {
		return false
	}
	_, ok := m.pic.Status.Lookup[r]
	return ok
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

// Ground says whether the terminal's background is light. Until it is known, it
// is taken for dark.
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
	out := make([]*subjects.Event, 0, len(from))
	f := newFilter(m.filter)
	for i := range from {
		if f.event(&from[i]) {
			out = append(out, &from[i])
		}
	}
	return out
}

// reasons are why the network, or the picture of it, is degraded.
func (p *Picture) reasons(now time.Time) []string {
	_, reasons := Health(p.Status, now, p.Stale || p.FromDisk, p.Connected)
	if p.Connected {
		reasons = append(slices.Clone(p.Doubts), reasons...)
	}
	return reasons
}

// reasons are those of the picture, and first the sites of which nothing is heard and no
// member was lost yet.
func (m *Model) reasons() (out []string) {
	for _, at := range slices.Sorted(maps.Keys(m.silent)) {
		if !slices.ContainsFunc(m.sites, func(x Site) bool { return x.Site == at && x.Lost > 0 }) {
			out = append(out, "site "+siteName(at)+" is silent")
		}
	}
	return append(out, m.pic.reasons(m.now)...)
}

// seen is the member or the loss that t names, as the members page has it; nil:
// it is neither.
func (m *Model) seen(t target) *row {
	if s := m.pic.Status; s != nil {
		if x := s.Member(t.role, t.node); x != nil {
			return &row{role: t.role, m: x}
		}
	}
	for _, r := range m.absents(nil) {
		if r.role == t.role && r.m.Node == t.node {
			return &r
		}
	}
	return nil
}

// rolesOf are the roles of a node, sorted, those in which it is lost or held included.
func (m *Model) rolesOf(n subjects.NodeID) (out []subjects.Role) {
	s := m.pic.Status
	if s == nil {
		return nil
	}
	for _, r := range s.AllRoles() {
		if m.seen(target{r, n}) != nil {
			out = append(out, r)
		}
	}
	return out
}

// A sorting is by which of a page's keys its rows are sorted.
type sorting struct {
	by      int // index into sortNames of the page; 0: as they come
	reverse bool
}

// sortNames are the keys by which a page can be sorted; the first is its own order.
var sortNames = [pages][]string{
	membersPage: {"role", "state", "node", "address", "since", "weight", "priority"},
	lookupPage:  {"node", "share", "heir"},
}

// order is a negative number where a is before b.
func (s sorting) order(c int, ties ...int) int {
	if s.reverse {
		c = -c
	}
	return cmp.Or(append([]int{c}, ties...)...)
}
