package view

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"thor/subjects"
)

// stripHeight is the least number of lines of the latest events below the
// members, heading included, where the terminal is high enough.
const stripHeight = 4

// roles are the roles of the status and those that were there before.
func (m *Model) roles() []subjects.Role { return slices.Sorted(maps.Keys(m.most)) }

func (m *Model) members(r subjects.Role) []subjects.Member {
	if m.pic.Status == nil {
		return nil
	}
	return m.pic.Status.Roles[r]
}

// strip is how many lines below the members are the latest events': at least
// stripHeight, and as many as the members leave free and there are events for.
func (m *Model) strip() int {
	if m.page != membersPage || m.height < 20 {
		return 0
	}
	free := m.rows() - len(m.memberRows())
	return max(stripHeight, min(free, 1+len(m.shownEvents())))
}

// rows is what the header, the tabs, the column titles and the footer leave.
func (m *Model) rows() int { return m.height - len(m.header()) - 3 }

// bodyHeight is the number of scrolling lines, those without the strip.
func (m *Model) bodyHeight() int { return max(1, m.rows()-m.strip()) }

// bodyLen is the number of lines that the page has.
func (m *Model) bodyLen() int {
	switch m.page {
	case eventsPage:
		return len(m.shownEvents())
	case rolesPage:
		return len(m.roleLines())
	}
	return len(m.memberRows())
}

// body is the page below the tabs.
func (m *Model) body() []string {
	switch m.page {
	case eventsPage:
		return m.eventsBody()
	case rolesPage:
		lines := m.roleLines()
		return m.window(m.rolesTitle(), len(lines), func(i int) string { return lines[i] }, "no roles")
	}
	rows := m.memberRows()
	cols := m.memberColumns(rows)
	lines := m.window(memberTitle(cols), len(rows), func(i int) string { return m.memberLine(cols, rows[i]) }, m.nothing())
	if m.strip() == 0 {
		return lines
	}
	for len(lines) < m.bodyHeight()+1 {
		lines = append(lines, "")
	}
	return append(lines, m.latest()...)
}

func (m *Model) nothing() string {
	switch {
	case m.pic.Status == nil:
		return "nothing is known of the network yet"
	case m.filter != "":
		return "no member passes the filter"
	}
	return "no members"
}

// window is the column titles and those of n lines that are scrolled into view.
func (m *Model) window(title string, n int, line func(int) string, empty string) []string {
	var out []string
	top := min(m.top[m.page], max(0, n-m.bodyHeight()))
	for i := top; i < min(n, top+m.bodyHeight()); i++ {
		out = append(out, m.sideways(line(i)))
	}
	if n == 0 {
		out = append(out, "  "+empty)
	}
	return append([]string{m.paint(faint, m.sideways(title))}, m.dim(out)...)
}

// latest is the strip of the newest events below the members.
func (m *Model) latest() []string {
	out := []string{m.paint(faint, "── latest events "+strings.Repeat("─", max(0, m.width-17)))}
	es := m.shownEvents()
	es = es[max(0, len(es)-m.strip()+1):]
	w := widthsOf(es)
	for _, e := range es {
		out = append(out, clip(m.eventText(e, w), m.width))
	}
	if len(es) == 0 {
		out = append(out, "  none since the monitor started")
	}
	return out
}

func (m *Model) eventsBody() []string {
	es := m.shownEvents()
	w := widthsOf(es)
	title := fmt.Sprintf("  %-8s  %-9s  %s  %s  CAUSE", "TIME", "EVENT", fit("ROLE", w.role), fit("NODE", w.node))
	return m.window(title, len(es), func(i int) string { return m.eventText(es[i], w) }, "none since the monitor started")
}

// eventWidths are the columns that depend on what there is.
type eventWidths struct{ role, node int }

func widthsOf(es []*subjects.Event) eventWidths {
	w := eventWidths{role: 4, node: 4}
	for _, e := range es {
		w.role, w.node = max(w.role, len(e.Role)), max(w.node, len(e.Node))
	}
	return eventWidths{role: min(w.role, 20), node: min(w.node, 16)}
}

func (m *Model) eventText(e *subjects.Event, w eventWidths) string {
	c := eventCells(e)
	kind := fit(c.kind, 9)
	switch e.Kind {
	case subjects.EventJoin, subjects.EventElected, subjects.EventGuardEnd:
		kind = m.paint(good, kind)
	case subjects.EventUpdate, subjects.EventResigned:
	default:
		kind = m.paint(alarm, kind)
	}
	return fmt.Sprintf("  %s  %s  %s  %s  %s", e.Time.In(m.now.Location()).Format("15:04:05"), kind,
		fit(c.role, w.role), fit(c.node, w.node), c.cause)
}

// roleLines is a line for each role, and below them why all is not well.
func (m *Model) roleLines() []string {
	var out []string
	f := newFilter(m.filter)
	w := m.roleWidth()
	for _, r := range m.roles() {
		if !f.match(string(r)) {
			continue
		}
		c := count(m.members(r))
		t, glyph := good, stateGlyph(subjects.Up)
		switch {
		case c.serving == 0:
			t, glyph = alarm, "✗"
		case c.suspect > 0:
			t, glyph = alarm, stateGlyph(subjects.Suspect)
		}
		lost, held := lossCounts(m.pic.Status, r)
		out = append(out, fmt.Sprintf("  %s %s %7d %5d %7d %8d %4s %4s %9d  %s", m.paint(t, glyph), fit(safe(string(r), 63), w),
			c.serving, c.total, c.suspect, c.draining, lost, held, m.most[r], m.bar(c, m.most[r])))
	}
	if reasons := m.pic.reasons(m.now); len(reasons) > 0 {
		out = append(out, "")
		for _, why := range reasons {
			out = append(out, "  "+m.paint(alarm, "◐ "+why))
		}
	}
	return out
}

func (m *Model) roleWidth() int {
	w := len("ROLE")
	for _, r := range m.roles() {
		w = max(w, width(safe(string(r), 63)))
	}
	return min(w, 24)
}

func (m *Model) rolesTitle() string {
	return fmt.Sprintf("    %s SERVING TOTAL SUSPECT DRAINING LOST HELD MOST-SEEN", fit("ROLE", m.roleWidth()))
}

// bar is one sign for each member, and a dot for each that was there once.
func (m *Model) bar(c counts, most int) string {
	const longest = 40
	up := c.serving - c.suspect
	gone := max(0, most-c.serving-c.draining)
	if c.total+gone > longest {
		return strconv.Itoa(100*up/max(1, c.total+gone)) + " % up"
	}
	return m.paint(good, strings.Repeat("●", up)) + m.paint(alarm, strings.Repeat("◐", c.suspect)) +
		strings.Repeat("◌", c.draining) + m.paint(faint, strings.Repeat("·", gone))
}
