package view

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"thor/subjects"
)

// Press takes one key: its name as the terminal library spells it ("up",
// "ctrl+c", "space"), or for a printable key the text it types.
func (m Model) Press(key string) Model {
	m.note = ""
	switch {
	case key == "ctrl+c":
		m.done = true
		return m
	case m.typing:
		return m.typeKey(key).settle()
	case m.asked != nil:
		return m.confirm(key)
	case m.help:
		switch key {
		case "q":
			m.done = true
		case "?", "esc", "enter":
			m.help = false
		}
		m.helpTop = move(key, m.helpTop, m.height-1, m.helpEnd())
		return m
	}
	return m.act(key).settle()
}

// Paste takes text that was pasted: into the filter if that is being typed.
func (m Model) Paste(text string) Model {
	if m.typing {
		m = m.typed(text)
	}
	return m.settle()
}

// act takes a key that is neither text nor an answer.
func (m Model) act(key string) Model {
	switch key {
	case "q":
		m.done = true
	case "?":
		m.help, m.helpTop = true, 0
	case "c":
		return m.copy(m.command())
	case "d":
		return m.ask(Drain)
	case "r":
		return m.ask(Resume)
	case "f":
		return m.ask(Forget)
	case "1", "2", "3", "4", "5", "6":
		m = m.turn(page(key[0] - '1'))
	case "tab":
		m = m.turn((m.page + 1) % pages)
	case "shift+tab":
		m = m.turn((m.page + pages - 1) % pages)
	default:
		if m.detail != nil {
			return m.inDetail(key)
		}
		return m.inPage(key)
	}
	return m
}

// turn goes to a page, from the detail too.
func (m Model) turn(p page) Model {
	m.page, m.left, m.detail = p, 0, nil
	return m
}

func (m Model) inDetail(key string) Model {
	switch key {
	case "esc", "enter", "backspace", "left", "h":
		m.detail = nil
	}
	m.detailTop = move(key, m.detailTop, m.detailHeight(), m.detailEndOr0())
	return m
}

func (m *Model) detailEndOr0() int {
	if m.detail == nil {
		return 0
	}
	return m.detailEnd()
}

func (m Model) inPage(key string) Model {
	switch key {
	case "/":
		m.typing = true
	case "esc":
		m.filter = ""
	case "s", "S":
		m = m.sortOn(key == "S")
	case "w":
		m = m.groupBySite()
	case "enter":
		return m.enter()
	case "space", "p":
		return m.pause()
	case "right", "l":
		m.left = min(m.left+8, 1024)
	case "left", "h":
		m.left = max(0, m.left-8)
	default:
		return m.scroll(key)
	}
	return m
}

// sortOn sorts by the next key of the page, or the other way round.
func (m Model) sortOn(reverse bool) Model {
	names := sortNames[m.page]
	if len(names) == 0 {
		return m
	}
	s := &m.sort[m.page]
	if reverse {
		s.reverse = !s.reverse
	} else {
		*s = sorting{by: (s.by + 1) % len(names)}
	}
	m.at[m.page], m.pos[m.page] = "", 0
	return m
}

// enter shows the chosen member in full, or the members of the chosen role.
func (m Model) enter() Model {
	r := m.chosenRow()
	switch {
	case r == nil:
	case r.node != "" && r.role != "":
		m.detail, m.detailTop = &target{r.role, r.node}, 0
	case r.node != "": // an event of a node
		if roles := m.rolesOf(r.node); len(roles) > 0 {
			m.detail, m.detailTop = &target{roles[0], r.node}, 0
		}
	case m.page == rolesPage && r.role != "":
		m = m.turn(membersPage)
		m.filter = string(r.role)
		m.at[membersPage], m.pos[membersPage] = "", 0
	}
	return m
}

// pause stops the events from moving, or lets them go on at the newest.
func (m Model) pause() Model {
	if m.paused {
		m.paused = false
		m.frozen = nil
		m.missed = 0
		m.tail = true
		return m
	}
	m.paused, m.frozen = true, m.events
	return m
}

// scroll moves the cursor.
func (m Model) scroll(key string) Model {
	p, body := m.page, m.bodyHeight()
	was := m.pos[p]
	to := was
	switch key {
	case "down", "j":
		to = m.step(was, 1)
	case "up", "k":
		to = m.step(was, -1)
	case "pgdown", "ctrl+f", "ctrl+d":
		to = m.step(was, max(1, body-1))
	case "pgup", "ctrl+b", "ctrl+u":
		to = m.step(was, -max(1, body-1))
	case "home", "g":
		to = m.step(-1, 1)
	case "end", "G":
		to = m.step(len(m.rows), -1)
	default:
		return m
	}
	if to < 0 || to >= len(m.rows) {
		return m
	}
	m.pos[p], m.at[p] = to, m.rows[to].key
	if p == eventsPage {
		m.tail = m.step(to, 1) == to
	}
	return m
}

// move is where a key takes the first line shown of a text: rows are shown at
// once, and end is the first line at its end.
func move(key string, top, rows, end int) int {
	switch key {
	case "down", "j":
		top++
	case "up", "k":
		top--
	case "pgdown", "ctrl+f", "ctrl+d":
		top += max(1, rows-1)
	case "pgup", "ctrl+b", "ctrl+u":
		top -= max(1, rows-1)
	case "home", "g":
		top = 0
	case "end", "G":
		top = end
	}
	return min(max(0, top), max(0, end))
}

// helpEnd is the first line of the help that is shown at its end.
func (m *Model) helpEnd() int { return max(0, len(m.helpLines())-(m.height-1)) }

// helpLines are the help: of sites where there are any.
func (m *Model) helpLines() []string {
	if len(m.sites) == 0 {
		return helpText
	}
	at := slices.IndexFunc(helpText, func(l string) bool { return strings.HasPrefix(l, "  s  S ") })
	return slices.Insert(slices.Clone(helpText), at+1, "  w           members in their sites; in roles again")
}

// typeKey edits the filter.
func (m Model) typeKey(key string) Model {
	switch key {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace", "ctrl+h":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	case "ctrl+u":
		m.filter = ""
	case "ctrl+w":
		m.filter = strings.TrimRight(m.filter, " ")
		m.filter = m.filter[:strings.LastIndex(m.filter, " ")+1]
	case "space":
		return m.typed(" ")
	default:
		if utf8.RuneCountInString(key) == 1 {
			return m.typed(key)
		}
	}
	return m
}

// typed appends text to the filter, as far as it is printable and fits.
func (m Model) typed(text string) Model {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	m.filter = subjects.Printable(m.filter+text, maxFilter)
	return m
}

// footer lists the keys that do something now, or says what came of the last one.
func (m *Model) footer() string {
	switch {
	case m.typing:
		return "type to filter  enter keep  esc clear  ctrl+u empty  ctrl+c quit"
	case m.asked != nil:
		return m.question()
	case m.note != "" && m.now.Sub(m.noted) < noteTime:
		return m.note
	case m.help:
		if m.helpEnd() > 0 {
			return "↑↓ scroll  esc close  q quit"
		}
		return "esc close  q quit"
	case m.detail != nil:
		return "↑↓ scroll  esc back  d drain  r resume  f forget  c copy the command  ? help  q quit"
	}
	var extra string
	if m.filter != "" {
		extra += "  esc clear"
	}
	if m.page == eventsPage && m.paused {
		extra += "  space go on"
	} else if m.page == eventsPage {
		extra += "  space pause"
	}
	if len(sortNames[m.page]) > 0 {
		extra += "  s sort"
	}
	if m.page == membersPage && len(m.sites) > 0 {
		extra += "  w sites"
	}
	for _, keys := range []string{
		"1-6 pages  ↑↓ choose  enter details  / filter" + extra + "  d drain  r resume  f forget  c copy  ? help  q quit",
		"1-6 pages  enter details  / filter" + extra + "  c copy  ? help  q quit",
	} {
		if width(keys)+1 <= m.width {
			return keys
		}
	}
	return "1-6  enter  / filter" + extra + "  ? help  q quit"
}

var helpText = []string{
	"",
	"  1 … 6       members, events, roles, lookup, name servers, brokers; tab: next",
	"  ↑ ↓  j k    line up, down               g G   first, last",
	"  pgup pgdn   page up, down               ← →  h l  sideways",
	"  enter       the chosen member in full, or the members of the chosen role",
	"  /           filter: every word must occur in what is shown",
	"  esc         back, clear the filter      space  hold events",
	"  s  S        sort by the next column; the other way round",
	"  d  r  f     drain, resume, forget the chosen member: asks first",
	"  c           copy the command that shows or does the same",
	"  ?           this help                   q      quit",
	"",
	"  ● up        gets new work",
	"  ◐ suspect   probably failed, but removing it would do harm",
	"  ◌ draining  an operator wants no new work for it",
	"  ✗ lost      it failed and left its role, until it returns or is forgotten",
	"  ✗ held      it came and went too often: it may return at the time shown",
	"",
	"  3/4 was 5   members that serve (up or suspect) / all,",
	"              and the most that served since the start",
	"  stale       how long no active manager confirmed all this",
}
