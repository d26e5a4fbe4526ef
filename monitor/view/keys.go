package view

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"thor/subjects"
)

// Press takes one key: its name as the terminal library spells it ("up",
// "ctrl+c", "space"), or for a printable key the text it types.
func (m Model) Press(key string) Model {
	switch {
	case key == "ctrl+c":
		m.done = true
		return m
	case m.typing:
		return m.typeKey(key).settle()
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
	return m.command(key).settle()
}

// Paste takes text that was pasted: into the filter if that is being typed.
func (m Model) Paste(text string) Model {
	if m.typing {
		m = m.typed(text)
	}
	return m.settle()
}

func (m Model) command(key string) Model {
	switch key {
	case "q":
		m.done = true
	case "?":
		m.help, m.helpTop = true, 0
	case "/":
		m.typing = true
	case "esc":
		m.filter = ""
	case "1":
		m.page = membersPage
	case "2":
		m.page = eventsPage
	case "3":
		m.page = rolesPage
	case "tab":
		m.page = (m.page + 1) % pages
	case "shift+tab":
		m.page = (m.page + pages - 1) % pages
	case "space", "p":
		return m.pause()
	default:
		return m.scroll(key)
	}
	m.left = 0
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

func (m Model) scroll(key string) Model {
	body := m.bodyHeight()
	end := max(0, m.bodyLen()-body)
	switch key {
	case "right", "l":
		m.left = min(m.left+8, 1024)
	case "left", "h":
		m.left = max(0, m.left-8)
	case "down", "j", "up", "k", "pgdown", "ctrl+f", "ctrl+d", "pgup", "ctrl+b", "ctrl+u", "home", "g", "end", "G":
		m.top[m.page] = move(key, m.top[m.page], body, end)
		if m.page == eventsPage {
			m.tail = m.top[m.page] >= end
		}
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
func (m *Model) helpEnd() int { return max(0, len(helpText)-(m.height-1)) }

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

// footer lists the keys that do something now.
func (m *Model) footer() string {
	switch {
	case m.typing:
		return "type to filter  enter keep  esc clear  ctrl+u empty  ctrl+c quit"
	case m.help:
		if m.helpEnd() > 0 {
			return "↑↓ scroll  esc close  q quit"
		}
		return "esc close  q quit"
	}
	var extra string
	if m.filter != "" {
		extra = "  esc clear"
	}
	if m.page == eventsPage && m.paused {
		extra += "  space go on"
	} else if m.page == eventsPage {
		extra += "  space pause"
	}
	extra += "  ? help  q quit"
	long := "1 members 2 events 3 roles  tab next  ↑↓ scroll  / filter" + extra
	if width(long)+1 <= m.width {
		return long
	}
	return "1-3 view  ↑↓ scroll  / filter" + extra
}

var helpText = []string{
	"",
	"  1 2 3       members, events, roles      tab   the next one",
	"  ↑ ↓  j k    line up, down               ← →  h l  sideways",
	"  pgup pgdn   page up, down               g G   first, last",
	"  /           filter: every word must occur in what is shown",
	"  esc         clear the filter            space hold events",
	"  ?           this help                   q     quit",
	"",
	"  ● up        gets new work",
	"  ◐ suspect   probably failed, but removing it would do harm",
	"  ◌ draining  an operator wants no new work for it",
	"",
	"  3/4 was 5   members that serve (up or suspect) / all,",
	"              and the most that served since the start",
	"  stale       how long no active manager confirmed all this",
}
