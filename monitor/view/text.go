package view

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"thor/subjects"
)

// width is the number of terminal columns that s takes; escape sequences of our
// own take none.
func width(s string) int { return ansi.StringWidth(s) }

// fit makes s exactly w columns wide: cut with an ellipsis, or padded.
func fit(s string, w int) string {
	s = clip(s, w)
	return s + strings.Repeat(" ", max(0, w-width(s)))
}

// clip cuts s to at most w columns, and shows that it did.
func clip(s string, w int) string {
	if w <= 0 {
		return ""
	}
	return ansi.Truncate(s, w, "…")
}

// span writes a duration in at most six characters; the unit below the leading
// one is given where it matters. Negative ones, which come of two hosts' clocks,
// count as zero.
func span(d time.Duration) string {
	s := int(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm", s/60)
	case s < 24*3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	}
	return fmt.Sprintf("%dd%02dh", min(s/86400, 999), s/3600%24)
}

// spelled writes a duration for a sentence, in its leading unit. Negative ones
// count as zero.
func spelled(d time.Duration) string {
	s := int(max(0, d) / time.Second)
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return fmt.Sprintf("%d min", s/60)
	case s < 24*3600:
		return fmt.Sprintf("%d h", s/3600)
	}
	return fmt.Sprintf("%d d", s/86400)
}

// since is how long m has been in its state; "-" if unknown.
func since(m *subjects.Member, now time.Time) string {
	if m.Since.IsZero() {
		return "-"
	}
	return span(now.Sub(m.Since))
}

// stateWord is the state to show; an empty one would be a manager's fault.
func stateWord(s subjects.State) string {
	if s == "" {
		return "?"
	}
	return subjects.Printable(string(s), 16)
}

func stateGlyph(s subjects.State) string {
	switch s {
	case subjects.Up:
		return "●"
	case subjects.Suspect:
		return "◐"
	case subjects.Draining:
		return "◌"
	}
	return "✗"
}

// asciiGlyphs are what the monitor's own signs become where the locale has no
// UTF-8. Every sign is one column wide on both sides.
var asciiGlyphs = map[rune]rune{
	'●': '*', '◐': '!', '◌': '-', '✗': 'x', '…': '~', '·': '-', '─': '-', '│': '|',
	'↑': '^', '↓': 'v', '←': '<', '→': '>', '▏': '_',
	'▁': '_', '▂': '_', '▃': '-', '▄': '-', '▅': '=', '▆': '=', '▇': '#', '█': '#',
}

// toASCII rewrites a finished screen for a terminal without UTF-8, column for
// column. Foreign letters become question marks.
func toASCII(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		switch a, ours := asciiGlyphs[r]; {
		case r < 0x80:
			b.WriteRune(r)
		case ours:
			b.WriteRune(a)
		default:
			b.WriteString(strings.Repeat("?", ansi.StringWidth(string(r))))
		}
	}
	return b.String()
}
