package view

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// A row of a page can be chosen if it has a key.
type row struct {
	key   string           // by which it is found again; empty: it is a heading or a remark
	role  subjects.Role    // empty on pages that have none
	node  subjects.NodeID  // that it is about; empty: none
	m     *subjects.Member // of the members page and those of brokers and name servers
	until time.Time        // of a held member: when it may return
	gone  bool             // lost or held
	event *subjects.Event
	share Share
	title string // of a heading or a remark
	t     tone   // of the title
	site  *Site  // of a site's heading
	shown int    // of a role's heading: its members that pass the filter
}

// settle makes the rows of the page, finds the chosen one among them, and keeps it in sight.
func (m Model) settle() Model {
	m.rows = m.makeRows()
	p := m.page
	if p == eventsPage && m.tail {
		m.pos[p], m.at[p] = len(m.rows)-1, ""
	}
	m.pos[p] = m.find(m.at[p], m.pos[p])
	if m.pos[p] >= 0 && m.pos[p] < len(m.rows) {
		m.at[p] = m.rows[m.pos[p]].key
	}
	return m.follow()
}

// hold is settle after the rows have changed by themselves: the chosen one stays on its
// line of the screen.
func (m Model) hold() Model {
	p := m.page
	line := m.pos[p] - m.top[p]
	m = m.settle()
	m.top[p] = m.pos[p] - line
	return m.follow()
}

// find is the index of the row with a key, or else of one near index i that can be
// chosen; 0 if there is none.
func (m *Model) find(key string, i int) int {
	if key != "" {
		if at := slices.IndexFunc(m.rows, func(r row) bool { return r.key == key }); at >= 0 {
			return at
		}
	}
	i = min(max(0, i), len(m.rows)-1)
	for at := i; at >= 0 && at < len(m.rows); at++ {
		if m.rows[at].key != "" {
			return at
		}
	}
	for at := i; at >= 0; at-- {
		if m.rows[at].key != "" {
			return at
		}
	}
	return 0
}

// follow scrolls so far that the chosen row is in sight, and with the first one the
// headings above it, and with the last one what is below.
func (m Model) follow() Model {
	p, body, n := m.page, m.bodyHeight(), len(m.rows)
	pos, top := m.pos[m.page], m.top[m.page]
	top = max(min(top, pos), pos-body+1)
	if m.step(pos, -1) == pos && pos < body {
		top = 0
	} else if m.step(pos, 1) == pos && n-pos <= body {
		top = n - body
	}
	m.top[p] = min(max(0, top), max(0, n-body))
	return m
}

// step is the index of the next row from i on that can be chosen, n of them down, or up
// where n is negative; the last one there is.
func (m *Model) step(i, n int) int {
	d := 1
	if n < 0 {
		d, n = -1, -n
	}
	for at := i + d; n > 0 && at >= 0 && at < len(m.rows); at += d {
		if m.rows[at].key != "" {
			i = at
			n--
		}
	}
	return i
}

// chosenRow is the row under the cursor; nil: there is none.
func (m *Model) chosenRow() *row {
	if i := m.pos[m.page]; i >= 0 && i < len(m.rows) && m.rows[i].key != "" {
		return &m.rows[i]
	}
	return nil
}

func (m *Model) makeRows() []row {
	switch m.page {
	case membersPage:
		return m.memberRows()
	case eventsPage:
		return m.eventRows()
	case rolesPage:
		return m.roleRows()
	case lookupPage:
		return m.lookupRows()
	case dnsPage:
		return m.daemonRows(subjects.DNSManager)
	case brokersPage:
		return m.daemonRows(subjects.EventServer)
	}
	return nil
}

func memberKey(r subjects.Role, n subjects.NodeID) string { return string(r) + " " + string(n) }

// memberRows are the rows that pass the filter: who is lost or held first, then the
// members by role and address. A role whose last member went keeps its heading: 0/0
// is news. Sorted by something else there are no headings.
func (m *Model) memberRows() []row {
	f := newFilter(m.filter)
	if m.grouped() {
		return m.rowsBySite(f)
	}
	if m.sort[membersPage] != (sorting{}) {
		return m.sortedRows(f)
	}
	out := m.absentRows(f)
	for _, r := range m.roles() {
		at := len(out)
		out = append(out, row{role: r, t: strong})
		for _, mb := range byAddress(m.members(r)) {
			if f.member(m.pic.Status, r, mb, m.opt.Node) {
				out = append(out, row{key: memberKey(r, mb.Node), role: r, node: mb.Node, m: mb})
			}
		}
		out[at].shown = len(out) - at - 1
		if out[at].shown == 0 && !f.match(string(r)) {
			out = out[:at]
		}
	}
	return out
}

// sortedRows are the members of all roles by the key that was chosen.
func (m *Model) sortedRows(f filter) []row {
	out := m.absents(f)
	for _, r := range m.roles() {
		for _, mb := range byAddress(m.members(r)) {
			if f.member(m.pic.Status, r, mb, m.opt.Node) {
				out = append(out, row{key: memberKey(r, mb.Node), role: r, node: mb.Node, m: mb})
			}
		}
	}
	s := m.sort[membersPage]
	by := memberOrders[s.by]
	slices.SortStableFunc(out, func(a, b row) int {
		return s.order(by(&a, &b), cmp.Compare(a.role, b.role), cmp.Compare(a.node, b.node))
	})
	return out
}

// memberOrders are what sortNames of the members page mean.
var memberOrders = []func(a, b *row) int{
	func(a, b *row) int { return cmp.Compare(a.role, b.role) },
	func(a, b *row) int { return cmp.Compare(stateRank(a.m.State), stateRank(b.m.State)) },
	func(a, b *row) int { return cmp.Compare(a.node, b.node) },
	func(a, b *row) int { return a.m.Address().Compare(b.m.Address()) },
	func(a, b *row) int { return b.m.Since.Compare(a.m.Since) }, // what changed last first
	func(a, b *row) int { return cmp.Compare(b.m.Weight, a.m.Weight) },
	func(a, b *row) int { return cmp.Compare(b.m.Priority, a.m.Priority) },
}

// stateRank is the order of states, the worst first.
func stateRank(s subjects.State) int {
	return slices.Index([]subjects.State{subjects.StateLost, subjects.StateHeld, subjects.Suspect, subjects.Draining, subjects.Up}, s)
}

func (m *Model) eventRows() []row {
	es := m.shownEvents()
	out := make([]row, len(es))
	for i, e := range es {
		out[i] = row{key: eventKey(e), role: e.Role, node: e.Node, event: e}
	}
	return out
}

// eventKey tells events apart well enough for a cursor: two of the same moment about
// the same member are neighbours.
func eventKey(e *subjects.Event) string {
	return e.Time.Format(time.RFC3339Nano) + string(e.Kind) + string(e.Role) + string(e.Node)
}

func (m *Model) roleRows() []row {
	var out []row
	f := newFilter(m.filter)
	for _, r := range m.roles() {
		if f.match(string(r)) {
			out = append(out, row{key: string(r), role: r})
		}
	}
	if reasons := m.reasons(); len(reasons) > 0 {
		out = append(out, row{})
		for i, why := range reasons {
			out = append(out, row{key: "reason " + strconv.Itoa(i), title: "  ◐ " + why, t: alarm})
		}
	}
	return out
}

// lookupRows are the members of each role that has a table, with their shares.
func (m *Model) lookupRows() []row {
	var out []row
	f := newFilter(m.filter)
	s := m.sort[lookupPage]
	for _, r := range m.roles() {
		if !m.hasTable(r) {
			continue
		}
		spread, known := m.facts.shares[r]
		out = append(out, row{role: r, title: spreadTitle(r, &spread, known, m.pic.Status.Lookup[r].Digest), t: strong})
		shares := slices.Clone(spread.Of)
		slices.SortStableFunc(shares, func(a, b Share) int {
			by := []int{cmp.Compare(a.Node, b.Node), cmp.Compare(b.Slots, a.Slots), cmp.Compare(b.Heir, a.Heir)}
			return s.order(by[s.by], by[0])
		})
		for _, x := range shares {
			if f.match(string(r), nodeName(x.Node)) {
				out = append(out, row{key: memberKey(r, x.Node), role: r, node: x.Node, share: x})
			}
		}
	}
	return out
}

// daemonRows are the members of a role of thor's own, by name, and who is lost there.
func (m *Model) daemonRows(r subjects.Role) []row {
	f := newFilter(m.filter)
	var out []row
	for _, mb := range m.members(r) {
		if f.member(m.pic.Status, r, &mb, m.opt.Node) {
			out = append(out, row{key: memberKey(r, mb.Node), role: r, node: mb.Node, m: &mb})
		}
	}
	for _, x := range m.absents(f) {
		if x.role == r {
			out = append(out, x)
		}
	}
	slices.SortStableFunc(out, func(a, b row) int { return strings.Compare(string(a.node), string(b.node)) })
	return out
}
