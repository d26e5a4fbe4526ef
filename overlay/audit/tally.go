package audit

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	tallyNames = 16   // values of What that an entry names
	tallyKinds = 1024 // entries that wait at once: more are written early
)

// A Tally joins acts that are alike but for What and come by the thousand, such
// as the profiles that a node takes over at a hand-over. Each act is counted in
// exactly one entry, which is written at most a second, or the interval of
// NewTally, after it. Make one with NewTally.
type Tally struct {
	log   *Log
	every time.Duration

	mu    sync.Mutex
	open  map[Entry]*tallied // by the entry without What and Count
	timer *time.Timer        // runs while open has something
}

type tallied struct {
	count int
	what  []string // the first different ones
	more  bool     // there were others
}

// NewTally writes to log every so often; 0 is a second. The owner calls Flush
// before it ends.
func NewTally(log *Log, every time.Duration) *Tally {
	return &Tally{log: log, every: cmp.Or(every, time.Second), open: make(map[Entry]*tallied)}
}

// Add counts an act.
func (t *Tally) Add(e Entry) {
	if t == nil || t.log == nil {
		return
	}
	key := e
	key.What, key.Count = "", 0
	t.mu.Lock()
	full := t.open[key] == nil && len(t.open) >= tallyKinds
	t.mu.Unlock()
	if full {
		t.Flush()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	x := t.open[key]
	if x == nil {
		x = &tallied{}
		t.open[key] = x
	}
	x.count += max(e.Count, 1)
	switch {
	case slices.Contains(x.what, e.What):
	case len(x.what) < tallyNames:
		x.what = append(x.what, e.What)
	default:
		x.more = true
	}
	if t.timer == nil {
		t.timer = time.AfterFunc(t.every, t.Flush)
	}
}

// Flush writes what has been counted.
func (t *Tally) Flush() {
	if t == nil {
		return
	}
	t.mu.Lock()
	open := t.open
	t.open = make(map[Entry]*tallied)
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
	t.mu.Unlock()
	entries := make([]Entry, 0, len(open))
	for e, x := range open {
		e.Count, e.What = x.count, strings.Join(x.what, " ")
		if x.more {
			e.What += " and others, the first " + strconv.Itoa(tallyNames) + " are named"
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Who, b.Who), cmp.Compare(a.Act, b.Act), cmp.Compare(a.From, b.From), cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Detail, b.Detail))
	})
	for _, e := range entries {
		t.log.Write(e)
	}
}
