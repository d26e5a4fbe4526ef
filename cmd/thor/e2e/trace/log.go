package trace

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"
)

// A Log writes lines. It may be used by several goroutines.
type Log struct {
	began time.Time
	mu    sync.Mutex
	w     *bufio.Writer
	lines []Line
	err   error
}

// NewLog begins a trace. It keeps the lines for Lines as well.
func NewLog(w io.Writer) *Log { return &Log{began: time.Now(), w: bufio.NewWriter(w)} }

// Now is the time of the trace.
func (l *Log) Now() Moment { return Moment(time.Since(l.began)) }

// Moment is the time of the trace at t.
func (l *Log) Moment(t time.Time) Moment { return Moment(t.Sub(l.began)) }

// Add notes a line. Without a time it gets the present one.
func (l *Log) Add(line Line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if line.At == 0 {
		line.At = l.Now()
	}
	l.lines = append(l.lines, line)
	b, err := json.Marshal(line)
	if err == nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	if l.err == nil {
		l.err = err
	}
}

// Lines are all lines so far, and the first failure to write one.
func (l *Log) Lines() ([]Line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.w.Flush(); l.err == nil {
		l.err = err
	}
	return l.lines[:len(l.lines):len(l.lines)], l.err
}

// Read decodes a trace.
func Read(r io.Reader) ([]Line, error) {
	var lines []Line
	d := json.NewDecoder(r)
	for {
		var l Line
		switch err := d.Decode(&l); err {
		case nil:
			lines = append(lines, l)
		case io.EOF:
			return lines, nil
		default:
			return lines, fmt.Errorf("line %d: %w", len(lines)+1, err)
		}
	}
}
