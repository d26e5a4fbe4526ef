package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/charmbracelet/x/ansi"

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
	free := m.room() - len(m.rows)
	return max(stripHeight, min(free, 1+len(m.shownEvents())))
}

// room is what the header, the tabs, the column titles and the footer leave.
func (m *Model) room() int { return m.height - len(m.header()) - 3 }

// bodyHeight is the number of scrolling lines, those without the strip.
func (m *Model) bodyHeight() int { return max(1, m.room()-m.strip()) }

// body is the page below the tabs.
func (m *Model) body() []string {
	cols, rest := m.columns()
	rows := m.bodyHeight()
	top := min(m.top[m.page], max(0, len(m.rows)-rows))
	var out []string
	for i := top; i < min(len(m.rows), top+rows); i++ {
		out = append(out, m.marked(i, m.sideways(m.rowLine(cols, &m.rows[i]))))
	}
	if len(m.rows) == 0 {
		out = append(out, "  "+m.nothing())
	}
	lines := append([]string{m.paint(faint, m.sideways(columnsTitle(cols, rest)))}, m.dim(out)...)
	if m.strip() == 0 {
		return lines
	}
	for len(lines) < rows+1 {
		lines = append(lines, "")
	}
	return append(lines, m.latest()...)
}

// marked is the line of row i with the cursor, if it is there.
func (m *Model) marked(i int, line string) string {
	if i != m.pos[m.page] || m.rows[i].key == "" {
		return line
	}
	s := ansi.Strip(line)
	if rest, ok := strings.CutPrefix(s, " "); ok {
		s = ">" + rest
	}
	return m.paint(chosen, fit(s, m.width))
}

func (m *Model) nothing() string {
	switch {
	case m.page == eventsPage && m.filter == "":
		return cmp.Or(m.past, "none is known")
	case m.page == eventsPage:
		return "no event passes the filter"
	case m.pic.Status == nil:
		return "nothing is known of the network yet"
	case m.filter != "":
		return "no member passes the filter"
	case m.page == lookupPage:
		return "no role has a lookup table"
	}
	return "no members"
}

// latest is the strip of the newest events below the members.
func (m *Model) latest() []string {
	out := []string{m.paint(faint, "── latest events "+strings.Repeat("─", max(0, m.width-17)))}
	es := m.shownEvents()
	es = es[max(0, len(es)-m.strip()+1):]
	role, who := 4, 4
	for _, e := range es {
		role, who = min(max(role, len(e.Role)), 20), min(max(who, len(e.Node)), 16)
	}
	for _, e := range es {
		out = append(out, clip(m.eventText(&row{event: e}, false, role, who), m.width))
	}
	switch {
	case len(es) == 0 && m.filter != "":
		out = append(out, "  none passes the filter")
	case len(es) == 0:
		out = append(out, "  "+cmp.Or(m.past, "none is known"))
	}
	return out
}

// eventText is an event as a line of its own.
func (m *Model) eventText(r *row, dated bool, role, who int) string {
	c := eventCells(r.event)
	form := "15:04:05"
	if dated {
		form = "Jan 02 15:04:05"
	}
	return fmt.Sprintf("  %s  %s  %s  %s  %s", r.event.Time.In(m.now.Location()).Format(form), m.paint(eventTone(r.event.Kind), fit(c.kind, 9)),
		fit(c.role, role), fit(c.node, who), c.cause)
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
