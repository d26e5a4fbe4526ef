package view

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"thor/subjects"
)

// A column of a page that is a table.
type column struct {
	title string
	drop  int // 0: stays; otherwise the higher goes first when room is short
	width int
	right bool // numbers
	text  func(m *Model, r *row) (string, tone)
}

// plain makes the text of a column that has no tone.
func plain(f func(m *Model, r *row) string) func(*Model, *row) (string, tone) {
	return func(m *Model, r *row) (string, tone) { return f(m, r), normal }
}

// columns are those of the page, at the width that their content needs, and the title of
// what takes the rest of a line.
func (m *Model) columns() (cols []column, rest string) {
	switch m.page {
	case membersPage:
		return m.memberColumns(), "DETAIL"
	case eventsPage:
		return m.eventColumns(true), "CAUSE"
	case rolesPage:
		return m.roleColumns(), ""
	case lookupPage:
		return m.widened(m.withSite(shareColumns)), "SHARE"
	case dnsPage:
		return m.widened(m.withSite(dnsColumns)), "ANSWERS PER SECOND"
	}
	return m.widened(m.withSite(brokerColumns)), "DETAIL"
}

// widened are cols at the width of their content, dropped where there is no room.
func (m *Model) widened(cols []column) []column {
	out := append([]column(nil), cols...)
	for i := range out {
		out[i].width = max(out[i].width, width(out[i].title))
		for j := range m.rows {
			if r := &m.rows[j]; r.title == "" && r.key != "" {
				s, _ := out[i].text(m, r)
				out[i].width = max(out[i].width, min(width(s), 40))
			}
		}
	}
	return dropColumns(out, m.width)
}

// dropColumns drops columns until the rest has room to say something.
func dropColumns(cols []column, room int) []column {
	leastRest := min(24, max(8, room-56))
	for {
		need, worst := 2+leastRest, -1
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

func columnsTitle(cols []column, rest string) string {
	var b strings.Builder
	b.WriteString("  ")
	for _, c := range cols {
		b.WriteString(c.fit(c.title) + "  ")
	}
	return b.String() + rest
}

func (c *column) fit(s string) string {
	if c.right {
		return strings.Repeat(" ", max(0, c.width-width(s))) + clip(s, c.width)
	}
	return fit(s, c.width)
}

// rowLine is a row without the mark of the cursor.
func (m *Model) rowLine(cols []column, r *row) string {
	switch {
	case r.title != "":
		return m.paint(r.t, r.title)
	case r.site != nil:
		return m.siteHeading(r.site)
	case r.key == "" && r.role != "":
		return m.roleHeading(r)
	case r.key == "":
		return ""
	}
	var b strings.Builder
	b.WriteString("  ")
	for i := range cols {
		s, t := cols[i].text(m, r)
		b.WriteString(m.paint(t, cols[i].fit(s)) + "  ")
	}
	b.WriteString(m.restOf(r))
	return strings.TrimRight(b.String(), " ")
}

// restOf is what takes the rest of a row's line.
func (m *Model) restOf(r *row) string {
	switch m.page {
	case membersPage:
		return m.memberDetail(r)
	case eventsPage:
		return eventCells(r.event).cause
	case rolesPage:
		return m.roleBar(r.role)
	case lookupPage:
		return m.shareBar(r.role, r.share)
	case dnsPage:
		return m.dnsDetail(r)
	}
	return m.brokerDetail(r)
}

var (
	stateColumn = column{title: "STATE", width: 10, text: func(_ *Model, r *row) (string, tone) {
		t := good
		if r.m.State != subjects.Up {
			t = alarm
		}
		return stateGlyph(r.m.State) + " " + stateWord(r.m.State), t
	}}
	addressOf = column{title: "ADDRESS", width: 7, text: plain(func(_ *Model, r *row) string { return address(r.m) })}
	nodeOf    = column{title: "NODE", width: 4, text: plain(func(_ *Model, r *row) string { return nodeName(r.node) })}
	siteOf    = column{title: "SITE", width: 4, drop: 2, text: plain(func(m *Model, r *row) string {
		if r.m == nil {
			return cmp.Or(siteName(m.places[r.node]), "-")
		}
		return placeName(r.m)
	})}
)

// memberColumns are the columns of the members page. A value that no member has gets no column. The
// detail takes what is left and is never dropped: it says why a member is not up.
func (m *Model) memberColumns() []column {
	where, who, site := addressOf, nodeOf, siteOf
	who.drop = 1
	role := column{title: "ROLE", width: 4, drop: 5, text: plain(func(_ *Model, r *row) string { return safe(string(r.role), 63) })}
	var priorities, weights bool
	for i := range m.rows {
		r := &m.rows[i]
		if r.m == nil {
			continue
		}
		where.width = max(where.width, len(address(r.m)))
		who.width = min(max(who.width, len(r.node)), 24)
		role.width = min(max(role.width, len(r.role)), 20)
		if len(m.sites) > 0 {
			site.width = max(site.width, len(placeName(r.m)))
		}
		priorities = priorities || r.m.Priority != 0
		weights = weights || r.m.Weight != 0 && r.m.Weight != subjects.DefaultWeight
	}
	cols := []column{stateColumn}
	if m.sort[membersPage] != (sorting{}) || m.grouped() {
		cols = append(cols, role)
	}
	cols = append(cols, where, who)
	if len(m.sites) > 0 && !m.grouped() {
		cols = append(cols, site)
	}
	if priorities {
		cols = append(cols, column{title: "PRIO", width: 4, drop: 2, text: plain(func(_ *Model, r *row) string { return number(r.m.Priority) })})
	}
	cols = append(cols, column{title: "SINCE", width: 6, drop: 3, text: plain(func(m *Model, r *row) string { return since(r.m, m.now) })})
	if weights {
		cols = append(cols, column{title: "WEIGHT", width: 6, drop: 4, text: plain(func(_ *Model, r *row) string { return number(r.m.Weight) })})
	}
	return dropColumns(cols, m.width)
}

// memberDetail is why a member is missing or not up, and its attributes.
func (m *Model) memberDetail(r *row) string {
	if !r.gone {
		return strings.Join(details(m.pic.Status, r.role, r.m, m.opt.Node), "  ")
	}
	if m.sort[membersPage] != (sorting{}) || m.grouped() {
		return m.why(r)
	}
	return m.absence(r)
}

func (m *Model) roleHeading(r *row) string {
	c := count(m.members(r.role))
	s := m.paint(strong, m.roleCount(r.role))
	switch {
	case c.serving == 0:
		s += "  " + m.paint(alarm, "✗ no member serves")
	case r.shown < c.total:
		s += m.paint(faint, fmt.Sprintf("  %d shown", r.shown))
	}
	return s
}

// eventColumns are those of events; dated says that the day is among them.
func (m *Model) eventColumns(dated bool) []column {
	role, who := column{title: "ROLE", width: 4}, column{title: "NODE", width: 4}
	for i := range m.rows {
		role.width, who.width = max(role.width, len(m.rows[i].role)), max(who.width, len(m.rows[i].node))
	}
	role.width, who.width = min(role.width, 20), min(who.width, 16)
	role.text = plain(func(_ *Model, r *row) string { return eventCells(r.event).role })
	who.text = plain(func(_ *Model, r *row) string { return eventCells(r.event).node })
	form, wide := "15:04:05", 8
	if dated {
		form, wide = "Jan 02 15:04:05", 15
	}
	return []column{
		{title: "TIME", width: wide, text: plain(func(m *Model, r *row) string { return r.event.Time.In(m.now.Location()).Format(form) })},
		{title: "EVENT", width: 9, text: func(_ *Model, r *row) (string, tone) { return eventCells(r.event).kind, eventTone(r.event.Kind) }},
		role, who,
	}
}

func eventTone(k subjects.EventKind) tone {
	switch k {
	case subjects.EventJoin, subjects.EventElected, subjects.EventGuardEnd:
		return good
	case subjects.EventUpdate, subjects.EventResigned, subjects.EventDrain, subjects.EventResume, subjects.EventForget:
		return normal
	}
	return alarm
}

// roleColumns are the counts of roles.
func (m *Model) roleColumns() []column {
	number := func(title string, f func(c counts) int) column {
		return column{title: title, width: len(title), right: true, text: plain(func(m *Model, r *row) string { return strconv.Itoa(f(count(m.members(r.role)))) })}
	}
	expected := m.pic.Status.Expected()
	cols := []column{
		{title: " ", width: 1, text: func(m *Model, r *row) (string, tone) {
			switch c := count(m.members(r.role)); {
			case c.serving == 0:
				return "✗", alarm
			case c.suspect > 0:
				return stateGlyph(subjects.Suspect), alarm
			}
			return stateGlyph(subjects.Up), good
		}},
		{title: "ROLE", text: plain(func(_ *Model, r *row) string { return safe(string(r.role), 63) })},
		number("SERVING", func(c counts) int { return c.serving }), number("TOTAL", func(c counts) int { return c.total }),
		number("SUSPECT", func(c counts) int { return c.suspect }), number("DRAINING", func(c counts) int { return c.draining }),
		{title: "LOST", right: true, text: plain(func(m *Model, r *row) string { n, _ := lossCounts(m.pic.Status, r.role); return n })},
		{title: "HELD", right: true, text: plain(func(m *Model, r *row) string { _, n := lossCounts(m.pic.Status, r.role); return n })},
		{title: "MOST-SEEN", right: true, drop: 1, text: plain(func(m *Model, r *row) string { return strconv.Itoa(m.most[r.role]) })},
	}
	if len(expected) > 0 {
		cols = append(cols, column{title: "EXPECTED", right: true, drop: 2, text: func(m *Model, r *row) (string, tone) {
			n := expected[r.role]
			if n > len(m.members(r.role)) {
				return strconv.Itoa(n), alarm
			}
			if n == 0 {
				return "-", normal
			}
			return strconv.Itoa(n), normal
		}})
	}
	return m.widened(cols)
}

// amount writes a number of bytes in its leading unit.
func amount(n uint64) string {
	const unit = 1024
	if n < unit {
		return strconv.FormatUint(n, 10) + " B"
	}
	f, i := float64(n)/unit, 0
	for ; f >= unit && i < 4; i++ {
		f /= unit
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// millis writes a short time.
func millis(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return span(d)
}

// perSecond writes the newest rate of a counter; "-" before it is known.
func (m *Model) perSecond(n subjects.NodeID, what string) string {
	r, ok := m.facts.rates[counter{n, what}].now()
	switch {
	case !ok:
		return "-"
	case r < 10:
		return fmt.Sprintf("%.1f", r)
	}
	return fmt.Sprintf("%.0f", r)
}
