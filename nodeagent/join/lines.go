package join

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"thor/subjects"
)

const (
	// MaxLine is the longest line that a program may send, in bytes.
	MaxLine = 16 << 10
	// MaxWatched is how many roles one connection may follow.
	MaxWatched = 32
	// PingEvery is how often a program that has joined is asked for a line.
	PingEvery = 3 * time.Second
	// SilentAfter is how long a program may send nothing before it is down.
	SilentAfter = 10 * time.Second

	firstLineWithin = 5 * time.Second
	writeWithin     = 5 * time.Second // a line: a reader that is slower is cut off
)

// A hello is the first line of a program that joins. All of it may be left out.
type hello struct {
	Version string          `json:"version"`
	Weight  int             `json:"weight"`
	Attrs   subjects.Attrs  `json:"attrs"`
	Watch   []subjects.Role `json:"watch"`   // the roles whose members it wants to know
	Control bool            `json:"control"` // it takes commands of the control port
}

// A word is each further line of a program.
type word struct {
	State   string          `json:"state"`   // up or draining
	Leave   bool            `json:"leave"`   // it leaves the network
	Version *string         `json:"version"` // these three replace what it said before
	Weight  *int            `json:"weight"`
	Attrs   *subjects.Attrs `json:"attrs"`
	Work    *int            `json:"work"` // how much it carries now, which a drain waits for
	Pong    any             `json:"pong"` // an answer to a ping, as every line is
	Answer  *answer         `json:"answer"`
}

// An answer is what a program says to a command.
type answer struct {
	ID   uint64 `json:"id"`
	Code int    `json:"code"`
	Data string `json:"data"`
}

// Lines to programs.
type (
	joinedLine struct {
		Joined struct {
			Node subjects.NodeID `json:"node"`
			Role subjects.Role   `json:"role"`
			Boot string          `json:"boot"` // of the node agent
		} `json:"joined"`
	}
	selfLine struct {
		Self struct {
			State   subjects.State `json:"state"` // as the node announces the role; empty: it does not
			Reason  string         `json:"reason"`
			Drained bool           `json:"drained,omitempty"` // it drains by an operator's wish, not the program's
		} `json:"self"`
	}
	membersLine struct {
		Role       subjects.Role     `json:"role"`
		Members    []subjects.Member `json:"members"`
		Lookup     *subjects.Lookup  `json:"lookup,omitempty"` // of a role whose members are looked up
		Epoch      uint64            `json:"epoch"`
		Generation uint64            `json:"generation"`
	}
	// A toldLine follows the lines of all roles that changed with a status: what was told
	// until then is the whole of that status.
	toldLine struct {
		Told struct {
			Epoch      uint64 `json:"epoch"`
			Generation uint64 `json:"generation"`
		} `json:"told"`
	}
	networkLine struct {
		// Current says that an active manager confirmed the status a moment ago. While it
		// is false the members are the last ones known.
		Current bool `json:"current"`
	}
	// A commandLine passes on a command of another node. One with an ID wants an answer.
	commandLine struct {
		Command struct {
			ID   uint64          `json:"id,omitempty"`
			Text string          `json:"text"`
			Node subjects.NodeID `json:"node"`
		} `json:"command"`
	}
	// A signalLine asks a program to send itself a signal, which the agent may not.
	signalLine struct {
		Signal string `json:"signal"`
	}
	pingLine struct {
		Ping int `json:"ping"`
	}
	errorLine struct {
		Error string `json:"error"`
	}
)

// A reader reads lines of JSON with a bound and a deadline.
type reader struct {
	b  *bufio.Reader
	rc *http.ResponseController
}

func newReader(body io.Reader, rc *http.ResponseController) *reader {
	return &reader{bufio.NewReaderSize(body, MaxLine), rc}
}

var errLong = fmt.Errorf("a line is longer than %d bytes", MaxLine)

// errEnded is the end of a connection: of what its program sends, or of what it is told.
var errEnded = errors.New("ended")

// line reads the next one that is not empty into v. The error is errEnded, or one to
// tell the program. Who ends ctx sets the deadline to the past after that.
func (r *reader) line(ctx context.Context, within time.Duration, v any) error {
	if err := r.rc.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	if ctx.Err() != nil { // it may have ended before the deadline was set
		return errEnded
	}
	for {
		b, err := r.b.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return errLong
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(b)) > 0: // the last line may lack its end
		case isTimeout(err):
			return fmt.Errorf("no line within %v", within)
		case err != nil:
			return errEnded
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			return decode(b, v)
		}
	}
}

func isTimeout(err error) bool {
	t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && t.Timeout()
}

// decode reads one JSON object and nothing else.
func decode(b []byte, v any) error {
	if b[0] != '{' {
		return errors.New("a line is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("a line is refused: %s", subjects.Printable(err.Error(), 200))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("a line has something behind its JSON object")
	}
	return nil
}

// A writer sends lines; its methods may be called from any goroutine. After end it sends
// nothing: net/http gives the buffers of a request whose handler returns to other requests.
type writer struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	mu   sync.Mutex
	over bool
}

// say sends v as a line.
func (w *writer) say(v any) error { return w.raw(append(subjects.Encode(v), '\n')) }

func (w *writer) raw(line []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return errEnded
	}
	if err := w.rc.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
		return err
	}
	if _, err := w.w.Write(line); err != nil {
		return err
	}
	return w.rc.Flush()
}

// end waits for a line that is being sent, and lets no other follow. The handler of the
// request calls it before it returns.
func (w *writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}
