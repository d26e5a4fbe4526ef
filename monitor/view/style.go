package view

import (
	"image/color"

	"github.com/charmbracelet/x/ansi"
)

// A tone is what a piece of text means; a palette says how it looks.
type tone int

const (
	normal tone = iota
	good        // as it should be
	alarm       // look here
	strong
	faint
	chosen // the page one is on
)

// The colours are of the Okabe-Ito set, which colour-blind people can tell
// apart: a blue and an orange, lighter on a dark ground than on a light one.
var (
	darkBlue    = color.RGBA{0x00, 0x72, 0xb2, 0xff}
	lightBlue   = color.RGBA{0x56, 0xb4, 0xe9, 0xff}
	darkOrange  = color.RGBA{0xd5, 0x5e, 0x00, 0xff}
	lightOrange = color.RGBA{0xe6, 0x9f, 0x00, 0xff}
)

// paint gives s the look of t. Without colour only weight and inversion are
// used, which NO_COLOR permits.
func (m *Model) paint(t tone, s string) string {
	blue, orange := lightBlue, lightOrange
	if m.light {
		blue, orange = darkBlue, darkOrange
	}
	st := ansi.NewStyle()
	switch t {
	case normal:
		return s
	case good:
		if !m.opt.Color {
			return s
		}
		st = st.ForegroundColor(blue)
	case alarm:
		st = st.Bold()
		if m.opt.Color {
			st = st.ForegroundColor(orange)
		}
	case strong:
		st = st.Bold()
	case faint:
		st = st.Faint()
	case chosen:
		st = st.Reverse(true)
	}
	return st.Styled(s)
}
