package monitor

import (
	"io"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
)

// firstPicture is a program that ends with its first picture.
type firstPicture struct{ pace *pace }

func (f firstPicture) Init() tea.Cmd                       { return tea.Quit }
func (f firstPicture) Update(tea.Msg) (tea.Model, tea.Cmd) { return f, nil }
func (f firstPicture) View() tea.View                      { f.pace.pictured(); return tea.NewView("x") }

// With another ticker than the one that pace knows all frames would come at the pace of a
// fallback.
func TestTheLibraryHasTheTickerOfFrames(t *testing.T) {
	x := &pace{}
	x.program = tea.NewProgram(firstPicture{x}, tea.WithInput(strings.NewReader("")), tea.WithOutput(io.Discard), tea.WithoutSignalHandler())
	if _, err := x.program.Run(); err != nil {
		t.Fatal(err)
	}
	x.stop()
	if x.ticker == nil {
		t.Fatal("the ticker of the frames is not found")
	}
}

func (x *pace) setLast(at time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = at
}

func (x *pace) isBusy() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.busy
}

// A picture after another one does not put off the frame that is due, however fast they come.
func TestFramesComeWhilePicturesDo(t *testing.T) {
	x := &pace{}
	x.ticker = time.NewTicker(time.Hour)
	x.rest = time.AfterFunc(time.Hour, x.calm)
	defer x.ticker.Stop()
	defer x.stop()
	for {
		x.pictured()
		select {
		case <-x.ticker.C:
			x.rest.Stop()
			x.setLast(time.Now().Add(time.Hour))
			x.calm()
			if !x.isBusy() {
				t.Error("frames are seldom although a picture has just come")
			}
			x.setLast(time.Now().Add(-time.Second))
			x.calm()
			if x.isBusy() {
				t.Error("frames still come soon")
			}
			return
		case <-time.After(time.Millisecond): // far more often than frames
		}
	}
}
