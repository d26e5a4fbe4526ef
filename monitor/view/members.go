package view

import (
	"fmt"
	"strings"

	"thor/subjects"
)

// A row of the members page is a heading, or a member below it.
type row struct {
	role  subjects.Role    // empty: of the section of lost and held members
	m     *subjects.Member // nil: the heading
	shown int              // of a heading: its members that pass the filter
	title string           // of the section
}

// memberRows are the rows that pass the filter: who is lost or held first, then the
// members by role and address. A role whose last member went keeps its heading: 0/0
// is news.
func (m *Model) memberRows() []row {
	out := m.absentRows()
	f := newFilter(m.filter)
	for _, r := range m.roles() {
		at := len(out)
		out = append(out, row{role: r})
		for _, mb := range byAddress(m.members(r)) {
			if f.member(m.pic.Status, r, mb, m.opt.Node) {
				out = append(out, row{role: r, m: mb})
			}
		}
		out[at].shown = len(out) - at - 1
		if out[at].shown == 0 && !f.match(string(r)) {
			out = out[:at]
		}
	}
	return out
}

// A column of the members page.
type column struct {
	title string
	drop  int // 0: stays; otherwise the higher goes first when room is short
	width int
	text  func(m *Model, r row) string
}

// memberColumns are the columns that fit, at the width that their content needs.
// A value that no member has gets no column. The detail takes what is left and is never
// dropped: it says why a member is not up.
func (m *Model) memberColumns(rows []row) []column {
	all := []column{
		{"STATE", 0, 10, func(m *Model, r row) string { return stateGlyph(r.m.State) + " " + stateWord(r.m.State) }},
		{"ADDRESS", 0, 7, func(_ *Model, r row) string { return address(r.m) }},
		{"NODE", 1, 4, func(_ *Model, r row) string { return node(r.m) }},
		{"PRIO", 2, 4, func(_ *Model, r row) string { return number(r.m.Priority) }},
		{"SINCE", 3, 6, func(m *Model, r row) string { return since(r.m, m.now) }},
		{"WEIGHT", 4, 6, func(_ *Model, r row) string { return number(r.m.Weight) }},
	}
	used := make([]bool, len(all))
	for _, r := range rows {
		if r.m == nil {
			continue
		}
		all[1].width = max(all[1].width, len(address(r.m)))
		all[2].width = min(max(all[2].width, len(r.m.Node)), 24)
		used[3] = used[3] || r.m.Priority != 0
		used[5] = used[5] || r.m.Weight != 0 && r.m.Weight != subjects.DefaultWeight
	}
	used[0] = true
	used[1] = true
	used[2] = true
	used[4] = true
	cols := all[:0]
	for i, c := range all {
		if used[i] {
			cols = append(cols, c)
		}
	}
	return dropColumns(cols, m.width)
}

// dropColumns drops columns until the detail has room to say something.
func dropColumns(cols []column, room int) []column {
	leastDetail := min(24, max(8, room-56))
	for {
		need, worst := 2+leastDetail, -1
		for i, c := range cols {
			need += c.width + 2
			if c.drop > 0 && (worst < 0 || c.drop > cols[worst].drop) {
				worst = i
			}
		}
		if need <= room || worst < 0 {
			return cols
		}
		cols = append(cols[:worst:worst], cols[worst+1:]...)
	}
}

func memberTitle(cols []column) string {
	var b strings.Builder
	b.WriteString("  ")
	for _, c := range cols {
		b.WriteString(fit(c.title, c.width) + "  ")
	}
	b.WriteString("DETAIL")
	return b.String()
}

func (m *Model) memberLine(cols []column, r row) string {
	switch {
	case r.title != "":
		return m.paint(alarm, r.title)
	case r.m == nil:
		return m.roleHeading(r)
	}
	t := good
	if r.m.State != subjects.Up {
		t = alarm
	}
	var b strings.Builder
	b.WriteString("  ")
	for i, c := range cols {
		s := fit(c.text(m, r), c.width)
		if i == 0 {
			s = m.paint(t, s)
		}
		b.WriteString(s + "  ")
	}
	b.WriteString(strings.Join(details(m.pic.Status, r.role, r.m, m.opt.Node), "  "))
	return b.String()
}

func (m *Model) roleHeading(r row) string {
	c := count(m.members(r.role))
	s := m.paint(strong, m.roleCount(r.role))
	switch {
	case c.serving == 0:
		s += "  " + m.paint(alarm, "✗ nobody serves")
	case r.shown < c.total:
		s += m.paint(faint, fmt.Sprintf("  %d shown", r.shown))
	}
	return s
}
