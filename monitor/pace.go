package monitor

import (
	"reflect"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Frames of the terminal library, which wakes up for each whether or not anything changed.
const (
	frames    = 30                     // a second, where its pace cannot be changed
	soon      = 16 * time.Millisecond  // between frames while pictures come
	seldom    = 500 * time.Millisecond // while none do
	afterLast = 40 * time.Millisecond  // from the last picture until frames are seldom: two frames
)

// A pace has the library draw soon after a new picture, and seldom while there is none: half of
// what a monitor at rest cost were the wake-ups for frames.
type pace struct {
	program *tea.Program
	ticker  *time.Ticker // of the frames
	rest    *time.Timer  // runs calm

	mu   sync.Mutex
	last time.Time // of the newest picture
	busy bool      // frames come soon
}

// pictured notes that a picture is about to be drawn. The library's event loop calls it.
func (x *pace) pictured() {
	if x.ticker == nil {
		if x.ticker = tickerOf(x.program); x.ticker == nil {
			return
		}
		x.rest = time.AfterFunc(afterLast, x.calm)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.last = time.Now()
	x.rest.Reset(afterLast)
	if !x.busy { // else a reset would put off the frame that is due
		x.busy = true
		x.ticker.Reset(soon)
	}
}

func (x *pace) calm() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if time.Since(x.last) < afterLast {
		return // a picture came meanwhile, and this is called again
	}
	x.busy = false
	x.ticker.Reset(seldom)
}

// stop is called once the program has ended.
func (x *pace) stop() {
	if x.rest != nil {
		x.rest.Stop()
	}
}

// tickerOf is the ticker of the library's frames. Its pace is an option for the whole life of a
// program, so a field is read that is not exported; nil: there is none of that name and type.
func tickerOf(p *tea.Program) *time.Ticker {
	f := reflect.ValueOf(p).Elem().FieldByName("ticker")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*time.Ticker]() {
		return nil
	}
	return (*time.Ticker)(f.UnsafePointer())
}
