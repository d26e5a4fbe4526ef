// Command picture turns screens of a terminal, as tmux capture-pane -e prints them, into
// one animated SVG: a second for each, the last one longer. It is for just picture.
//
//	picture 01.ansi 02.ansi … > monitor.svg
package main

import (
	"fmt"
	"html"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	cellWidth  = 8.4 // px of a character of 14 px
	lineHeight = 18
	margin     = 12
	lastLonger = 2 // seconds that the last screen stays longer
	ground     = "#16181d"
	ink        = "#d8dade"
)

func main() {
	var screens [][]string
	for _, file := range os.Args[1:] {
		b, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(os.Stderr, "picture:", err)
			os.Exit(1)
		}
		screens = append(screens, strings.Split(strings.TrimRight(string(b), "\n"), "\n"))
	}
	if len(screens) == 0 {
		fmt.Fprintln(os.Stderr, "usage: picture SCREEN…")
		os.Exit(2)
	}
	os.Stdout.WriteString(animate(screens))
}

// animate draws the screens above each other, each visible for its second.
func animate(screens [][]string) string {
	columns, rows := 0, 0
	for _, s := range screens {
		rows = max(rows, len(s))
		for _, line := range s {
			n := 0
			for _, r := range runs(line) {
				n += utf8.RuneCountInString(r.text)
			}
			columns = max(columns, n)
		}
	}
	width, height := int(float64(columns)*cellWidth)+2*margin, rows*lineHeight+2*margin
	total := len(screens) + lastLonger
	var b strings.Builder
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<style>\n", width, height, width, height)
	fmt.Fprintf(&b, "text{font:14px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:%s;white-space:pre}\n", ink)
	if len(screens) > 1 {
		b.WriteString(".s{visibility:hidden}\n")
	}
	for i := range screens {
		if len(screens) == 1 {
			break
		}
		from, to := 100*float64(i)/float64(total), 100*float64(i+1)/float64(total)
		if i == len(screens)-1 {
			to = 100
		}
		fmt.Fprintf(&b, "@keyframes k%d{0%%{visibility:%s}%.3f%%{visibility:visible}%.3f%%{visibility:hidden}}\n", i, map[bool]string{true: "visible", false: "hidden"}[i == 0], from, to)
		fmt.Fprintf(&b, "#s%d{animation:k%d %ds step-end infinite}\n", i, i, total)
	}
	fmt.Fprintf(&b, "</style>\n<rect width=\"100%%\" height=\"100%%\" rx=\"6\" fill=\"%s\"/>\n", ground)
	for i, s := range screens {
		fmt.Fprintf(&b, "<g class=\"s\" id=\"s%d\">\n", i)
		for row, line := range s {
			b.WriteString(drawLine(line, margin+row*lineHeight+lineHeight*3/4))
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawLine places each run at its column, so that fonts of another width keep columns.
func drawLine(line string, y int) string {
	var b strings.Builder
	column := 0
	for _, r := range runs(line) {
		n := utf8.RuneCountInString(r.text)
		x := margin + float64(column)*cellWidth
		column += n
		if r.style.back != "" {
			fmt.Fprintf(&b, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" fill=\"%s\"/>", x, y-lineHeight*3/4, float64(n)*cellWidth, lineHeight, r.style.back)
		}
		if strings.TrimSpace(r.text) == "" {
			continue
		}
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%d\" textLength=\"%.1f\"%s>%s</text>", x, y, float64(n)*cellWidth, r.style.attributes(), html.EscapeString(r.text))
	}
	if b.Len() > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

type style struct {
	fore, back string // CSS colours, empty: those of the ground
	bold, dim  bool
	reverse    bool
}

func (s style) attributes() string {
	out := ""
	if s.fore != "" {
		out += fmt.Sprintf(" style=\"fill:%s\"", s.fore)
	}
	if s.bold {
		out += " font-weight=\"bold\""
	}
	if s.dim {
		out += " opacity=\"0.6\""
	}
	return out
}

// A run is text of one style.
type run struct {
	text  string
	style style
}

// runs reads one line with SGR sequences (ECMA-48 8.3.117); other sequences are left out.
func runs(line string) (out []run) {
	var now style
	for line != "" {
		text, rest, found := strings.Cut(line, "\x1b[")
		text = strings.Map(func(r rune) rune {
			if r < ' ' { // no character of XML
				return -1
			}
			return r
		}, text)
		if text != "" {
			out = append(out, run{text, now.shown()})
		}
		if !found {
			break
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
		if end < 0 {
			break
		}
		if rest[end] == 'm' {
			now.apply(strings.Split(rest[:end], ";"))
		}
		line = rest[end+1:]
	}
	return out
}

// shown is s with its colours in place.
func (s style) shown() style {
	if s.reverse {
		fore, back := s.fore, s.back
		if fore == "" {
			fore = ink
		}
		if back == "" {
			back = ground
		}
		s.fore, s.back = back, fore
	}
	return s
}

func (s *style) apply(codes []string) {
	for i := 0; i < len(codes); i++ {
		n, _ := strconv.Atoi(codes[i]) // empty is 0
		switch {
		case n == 0:
			*s = style{}
		case n == 1:
			s.bold = true
		case n == 2:
			s.dim = true
		case n == 22:
			s.bold, s.dim = false, false
		case n == 7:
			s.reverse = true
		case n == 27:
			s.reverse = false
		case n >= 30 && n <= 37:
			s.fore = palette(n - 30)
		case n >= 90 && n <= 97:
			s.fore = palette(n - 90 + 8)
		case n == 39:
			s.fore = ""
		case n >= 40 && n <= 47:
			s.back = palette(n - 40)
		case n >= 100 && n <= 107:
			s.back = palette(n - 100 + 8)
		case n == 49:
			s.back = ""
		case n == 38 || n == 48:
			colour, used := extended(codes[i+1:])
			i += used
			if n == 38 {
				s.fore = colour
			} else {
				s.back = colour
			}
		}
	}
}

// extended reads what follows 38 or 48: 5;N or 2;R;G;B.
func extended(codes []string) (colour string, used int) {
	number := func(i int) int { n, _ := strconv.Atoi(codes[i]); return n }
	switch {
	case len(codes) >= 2 && codes[0] == "5":
		return palette(number(1)), 2
	case len(codes) >= 4 && codes[0] == "2":
		return fmt.Sprintf("#%02x%02x%02x", number(1)&255, number(2)&255, number(3)&255), 4
	}
	return "", len(codes)
}

// palette is a colour of the 256 of xterm.
func palette(n int) string {
	basic := []string{
		"#3b4048", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d8dade",
		"#7f848e", "#ff7b86", "#b5e890", "#ffd68a", "#82c7ff", "#e39bff", "#7fe0ec", "#ffffff",
	}
	switch {
	case n < 0 || n > 255:
		return ink
	case n < 16:
		return basic[n]
	case n < 232:
		level := func(k int) int {
			if k == 0 {
				return 0
			}
			return 55 + 40*k
		}
		n -= 16
		return fmt.Sprintf("#%02x%02x%02x", level(n/36), level(n/6%6), level(n%6))
	}
	g := 8 + 10*(n-232)
	return fmt.Sprintf("#%02x%02x%02x", g, g, g)
}
