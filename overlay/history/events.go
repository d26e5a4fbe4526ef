package history

import (
	"slices"
	"time"

	"thor/subjects"
)

// Events collects what happened. The zero value has nothing; its fields are set
// before the first Add.
type Events struct {
	Since time.Time
	Role  subjects.Role   // only of this role; empty: all
	Node  subjects.NodeID // only of this node; empty: all

	found []subjects.Event
	last  map[string]numbered // by boot of the process that recorded
	steps []link
}

// numbered is the last record of one process.
type numbered struct {
	number uint64
	time   time.Time
}

// A link is what a record says of the chain of statuses.
type link struct {
	prev, mark subjects.Mark
	time       time.Time
	delta      bool
}

// Add takes the next record of the stream.
func (e *Events) Add(r *subjects.Record) {
	t := timeOf(r)
	if !e.count(r, t) {
		return
	}
	switch {
	case r.Delta != nil:
		e.steps = append(e.steps, link{r.Delta.Prev, r.Delta.Mark(), t, true})
	case r.Status != nil:
		e.steps = append(e.steps, link{mark: r.Status.Mark(), time: t})
	case e.Wants(r.Event):
		e.found = append(e.found, *r.Event)
	}
}

// timeOf is when what r says came about.
func timeOf(r *subjects.Record) time.Time {
	switch {
	case r.Event != nil:
		return r.Event.Time
	case r.Delta != nil:
		return r.Delta.Time
	}
	return r.Status.Time
}

// count follows the numbers of r's process. It reports false for a record that
// was there before; numbers that are missing make a gap.
func (e *Events) count(r *subjects.Record, t time.Time) bool {
	if e.last == nil {
		e.last = make(map[string]numbered)
	}
	was, known := e.last[r.Boot]
	if known && r.Number <= was.number {
		return false
	}
	e.last[r.Boot] = numbered{r.Number + uint64(max(r.Parts, 1)-1), t}
	if missing := r.Number - was.number - 1; known && missing > 0 {
		e.gap(missing, was.time, t, "records of one manager are missing")
	}
	return true
}

// Wants reports whether x is one of those to be told.
func (e *Events) Wants(x *subjects.Event) bool {
	switch {
	case x.Time.Before(e.Since):
		return false
	case x.Kind == subjects.EventGap: // what is missing may be about anything
		return true
	}
	return (e.Role == "" || x.Role == e.Role) && (e.Node == "" || x.Node == e.Node)
}

// gap adds one that no manager has recorded.
func (e *Events) gap(missing uint64, since, until time.Time, detail string) {
	if until.Before(e.Since) {
		return
	}
	e.found = append(e.found, subjects.Event{V: subjects.Version, Time: until, Kind: subjects.EventGap, Missing: missing, Since: since, Detail: detail})
}

// All are the events in the order of their times, and the gaps that the records
// show: numbers that are missing, and changes of the status that are.
func (e *Events) All() []subjects.Event {
	e.findGaps()
	slices.SortStableFunc(e.found, func(a, b subjects.Event) int { return a.Time.Compare(b.Time) })
	return e.found
}

// findGaps looks for changes of the status that no record tells.
func (e *Events) findGaps() {
	slices.SortStableFunc(e.steps, func(a, b link) int {
		switch {
		case a.mark.After(b.mark):
			return 1
		case b.mark.After(a.mark):
			return -1
		case a.delta != b.delta && a.delta:
			return -1
		case a.delta != b.delta:
			return 1
		}
		return 0
	})
	recorded := e.recordedGaps()
	var at *link
	for i := range e.steps {
		s := &e.steps[i]
		if at != nil && s.mark.After(at.mark) && (!s.delta || s.prev != at.mark) && !recorded(at.time, s.time) {
			e.gap(0, at.time, s.time, "changes of the status are missing: a manager ended before it could record them")
		}
		if at == nil || s.mark.After(at.mark) {
			at = s
		}
	}
	e.steps = nil
}

// recordedGaps tells whether a manager recorded a gap between two times.
func (e *Events) recordedGaps() func(from, to time.Time) bool {
	var gaps []subjects.Event
	for _, x := range e.found {
		if x.Kind == subjects.EventGap {
			gaps = append(gaps, x)
		}
	}
	return func(from, to time.Time) bool {
		return slices.ContainsFunc(gaps, func(g subjects.Event) bool { return !g.Since.After(to) && !g.Time.Before(from) })
	}
}
