package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"thor/subjects"
)

// Render draws the state: exactly as many lines as the terminal has rows, none
// wider than it has columns.
func (m Model) Render() string {
	var lines []string
	switch {
	case m.width < minWidth || m.height < minHeight:
		lines = m.summary()
	case m.help:
		lines = m.withFooter(slices.Clone(m.helpLines()[min(m.helpTop, m.helpEnd()):]))
	case m.detail != nil:
		all := m.detailLines()
		top := min(m.detailTop, max(0, len(all)-m.detailHeight()))
		lines = m.withFooter(append(append(m.header(), m.detailTitle(len(all), top)), m.dim(all[top:])...))
	default:
		lines = m.withFooter(append(append(m.header(), m.tabs()), m.body()...))
	}
	for i := range lines {
		lines[i] = clip(lines[i], m.width)
	}
	screen := strings.Join(lines, "\n")
	if m.opt.ASCII {
		screen = toASCII(screen)
	}
	return screen
}

// withFooter fills the screen up to its last line, which lists the keys.
func (m *Model) withFooter(lines []string) []string {
	lines = lines[:min(len(lines), m.height-1)]
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	t := faint
	if m.asked != nil {
		t = chosen
	}
	return append(lines, m.paint(t, clip(" "+m.footer(), m.width)))
}

// detailTitle names the member shown in full, and where in it one is.
func (m *Model) detailTitle(n, top int) string {
	d := m.detail
	left := " " + m.paint(chosen, "["+nodeName(d.node)+" as "+safe(string(d.role), 63)+"]")
	right := ""
	if h := m.detailHeight(); n > h {
		right = fmt.Sprintf("%d-%d of %d ", top+1, min(top+h, n), n)
	}
	return between(left, right, m.width)
}

func (m *Model) domain() string {
	d := m.opt.Domain
	if m.pic.Status != nil && m.pic.Status.Domain != "" {
		d = m.pic.Status.Domain
	}
	return safe(d, 253)
}

// summary is all there is room for on a tiny terminal, the worst first: how it
// is, then the count of each role, as many as there are lines.
func (m *Model) summary() []string {
	state := m.link()
	if m.pic.current() {
		glyph, words, _ := m.health()
		state = glyph + " " + strings.SplitN(words, ":", 2)[0]
	}
	line := state
	if d := m.domain(); d != "" {
		line += "  " + d
	}
	var lines []string
	for _, c := range m.activeCounts(false) {
		if width(line)+2+width(c) > m.width && len(lines) < m.height-1 {
			lines = append(lines, line)
			line = c
			continue
		}
		line += "  " + c
	}
	return append(lines, line)
}

// header: where, how it is, how current that is, and the one figure that the
// SIP Thor description says to watch: the active members of each role.
func (m *Model) header() []string {
	glyph, word, t := m.health()
	left := " " + m.paint(strong, "thor "+m.domain()) + "  " + m.paint(t, glyph+" "+word)
	lt := alarm
	if m.pic.current() {
		lt = good
	}
	right := m.paint(lt, m.link()) + "  " + m.now.Format("15:04:05") + " "
	lines := []string{between(left, right, m.width), " " + m.origin()}
	lines = append(lines, m.activeLines()...)
	if len(m.sites) > 0 && m.height >= 16 {
		lines = append(lines, m.sitesLine())
	}
	return lines
}

// between puts left and right at the two ends of a line; left gives way.
func between(left, right string, w int) string {
	room := w - width(right) - 1
	if room < 10 {
		return clip(left, w)
	}
	return fit(left, room) + " " + right
}

// health is a glyph, words, and their tone.
func (m *Model) health() (glyph, words string, t tone) {
	reasons := m.reasons()
	if len(reasons) == 0 {
		return "●", "healthy", good
	}
	words = "degraded: " + reasons[0]
	if n := len(reasons) - 1; n > 0 {
		words = fmt.Sprintf("degraded (%d reasons): %s", n+1, reasons[0])
	}
	return "◐", words, alarm
}

// link says how the data gets here and how old the last word is.
func (m *Model) link() string {
	switch p := &m.pic; {
	case p.current():
		return "● connected"
	case !p.Connected && p.Status == nil:
		return "✗ connecting"
	case p.Status == nil:
		return "◐ waiting for a status"
	case !p.Connected:
		return "✗ no link, " + m.age()
	default:
		return "◐ " + m.age()
	}
}

// age is how old a picture is that is not current.
func (m *Model) age() string {
	switch {
	case !m.confirmed.IsZero():
		return "stale " + seconds(m.now.Sub(m.confirmed))
	case m.pic.FromDisk:
		return "from an earlier run"
	}
	return "unconfirmed"
}

func seconds(d time.Duration) string {
	if d < 100*time.Second {
		return fmt.Sprintf("%d s", int(max(0, d)/time.Second))
	}
	return span(d)
}

// origin names the status and the manager that sent it.
func (m *Model) origin() string {
	s := m.pic.Status
	if s == nil {
		return "no status yet"
	}
	manager := managerName(s)
	if a := s.Member(subjects.Manager, s.Manager); a != nil {
		manager += " " + address(a)
		if a.Place() != "" {
			manager += " in " + placeName(a)
		}
	}
	return fmt.Sprintf("epoch %d  generation %d  changed %s ago  active manager %s",
		s.Epoch, s.Generation, span(m.now.Sub(s.Time)), manager)
}

// activeLines are the counts, on two lines if need be and there is the height.
func (m *Model) activeLines() []string {
	items := m.activeCounts(true)
	rows := 1
	if m.height >= 20 {
		rows = 2
	}
	lines := make([]string, 0, rows)
	line := " active "
	for i, it := range items {
		more := fmt.Sprintf("  +%d", len(items)-i)
		room := m.width
		if len(lines) == rows-1 && i < len(items)-1 {
			room -= len(more)
		}
		if width(line)+2+width(it) > room {
			if len(lines) == rows-1 {
				line += more
				break
			}
			lines = append(lines, line)
			line = "        "
		}
		line += " " + it + " "
	}
	return append(lines, line)
}

// activeCounts is the count of every role that is or was there.
func (m *Model) activeCounts(painted bool) []string {
	var out []string
	for _, r := range m.roles() {
		s := m.roleCount(r)
		if c := count(m.members(r)); painted && (c.serving == 0 || c.suspect > 0) {
			s = m.paint(alarm, "◐ "+s)
		}
		out = append(out, s)
	}
	return out
}

// roleCount is "role serving/total", and how many served before if it was more:
// a member that went leaves no other trace in the counts.
func (m *Model) roleCount(r subjects.Role) string {
	c := count(m.members(r))
	s := fmt.Sprintf("%s %d/%d", safe(string(r), 63), c.serving, c.total)
	if most := m.most[r]; most > c.serving {
		s += fmt.Sprintf(" was %d", most)
	}
	return s
}

var pageNames = [pages]string{"1 members", "2 events", "3 roles", "4 lookup", "5 name servers", "6 brokers"}

// tabs shows the pages, the filter, and where in the page one is. Where that leaves no
// room, the other pages are numbers.
func (m *Model) tabs() string {
	var extra strings.Builder
	if s := m.sort[m.page]; s != (sorting{}) {
		extra.WriteString(" by " + sortNames[m.page][s.by])
		if s.reverse {
			extra.WriteString(" reversed")
		}
	}
	if m.grouped() && m.page == membersPage {
		extra.WriteString(" in sites")
	}
	if m.typing {
		extra.WriteString(" filter: " + m.filter + "▏")
	} else if m.filter != "" {
		extra.WriteString(" filter: " + m.filter)
	}
	if m.page == eventsPage && m.paused {
		extra.WriteString(m.paint(alarm, fmt.Sprintf(" paused, %d new", m.missed)))
	}
	right := ""
	if n, h := len(m.rows), m.bodyHeight(); n > h {
		top := m.top[m.page]
		right = fmt.Sprintf("%d-%d of %d ", top+1, min(top+h, n), n)
	}
	left := m.pageTabs(false) + extra.String()
	if width(left)+1+width(right) > m.width {
		left = m.pageTabs(true) + extra.String()
	}
	return between(left, right, m.width)
}

// pageTabs names the pages; short: those not shown by their number alone.
func (m *Model) pageTabs(short bool) string {
	var b strings.Builder
	b.WriteByte(' ')
	for p, name := range pageNames {
		switch {
		case page(p) == m.page:
			b.WriteString(m.paint(chosen, "["+name+"]"))
		case short:
			b.WriteString(name[:1])
		default:
			b.WriteString(" " + name + " ")
		}
		b.WriteByte(' ')
	}
	return b.String()
}

// dim is how the picture looks when it is not current: there, but faded.
func (m *Model) dim(lines []string) []string {
	if m.pic.current() {
		return lines
	}
	for i, l := range lines {
		lines[i] = m.paint(faint, ansi.Strip(l))
	}
	return lines
}

// sideways is the part of a line that is scrolled into view.
func (m *Model) sideways(line string) string {
	if m.left == 0 {
		return clip(line, m.width)
	}
	return ansi.Cut(line, m.left, m.left+m.width)
}
