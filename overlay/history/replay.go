package history

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"thor/subjects"
)

// A BeforeError is why there is no answer about a time before the first status.
type BeforeError struct {
	First time.Time // of the first status; zero: there is none
}

func (e *BeforeError) Error() string {
	if e.First.IsZero() {
		return "the history holds no status"
	}
	return "the history begins at " + stamp(e.First)
}

// A GapError is why there is no answer about a time within a gap.
type GapError struct {
	From, To time.Time // To is zero where the gap has no end yet
}

func (e *GapError) Error() string {
	if e.To.IsZero() {
		return "the history has a gap from " + stamp(e.From) + " on"
	}
	return fmt.Sprintf("the history has a gap from %s to %s", stamp(e.From), stamp(e.To))
}

// An OpenError is why there is no answer about a time after the last record: what
// happened since may not be recorded yet.
type OpenError struct {
	Until time.Time        // for which the records are complete
	Last  *subjects.Status // the newest that they lead to
}

func (e *OpenError) Error() string { return "the history is recorded up to " + stamp(e.Until) }

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000 -0700") }

// A Replay finds the status at a time. The zero value has no records.
type Replay struct {
	steps  []step
	sorted bool
}

// A step is a record that leads to a status: a delta, or the status itself.
type step struct {
	mark   subjects.Mark
	time   time.Time // from when on the status of this mark was the current one
	delta  *subjects.Delta
	status *subjects.Status
	at     time.Time // when the status was still the current one
}

// Add takes a record.
func (r *Replay) Add(x *subjects.Record) {
	switch {
	case x.Delta != nil:
		r.steps = append(r.steps, step{mark: x.Delta.Mark(), time: x.Delta.Time, delta: x.Delta})
	case x.Status != nil:
		r.Confirm(x.Status, x.At)
	default:
		return
	}
	r.sorted = false
}

// Confirm takes a status that was the current one at a time: so a record says, or
// the network itself.
func (r *Replay) Confirm(s *subjects.Status, at time.Time) {
	r.steps = append(r.steps, step{mark: s.Mark(), time: s.Time, status: s, at: at})
	r.sorted = false
}

// sort orders the steps by mark; of one mark, the delta first.
func (r *Replay) sort() {
	if r.sorted {
		return
	}
	slices.SortStableFunc(r.steps, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.mark.Epoch, b.mark.Epoch), cmp.Compare(a.mark.Generation, b.mark.Generation),
			cmp.Compare(kind(a), kind(b)), a.at.Compare(b.at))
	})
	r.sorted = true
}

func kind(s step) int {
	if s.delta != nil {
		return 0
	}
	return 1
}

// At is the status at a time. More records do not change it. The error is a
// BeforeError, a GapError or an OpenError.
func (r *Replay) At(at time.Time) (*subjects.Status, error) {
	r.sort()
	var w walk
	for i := range r.steps {
		s := &r.steps[i]
		if w.status != nil && w.status.Mark().After(s.mark) {
			continue // stored twice
		}
		if s.time.After(at) && !w.repeats(s) {
			return w.answer(at, s, r.begins(i))
		}
		if gap := w.differs(s); gap != nil && at.Before(gap.To) {
			if w.until.Before(at) {
				return nil, gap
			}
			return w.status, nil
		}
		w.take(s)
	}
	switch {
	case w.status == nil && w.broken.IsZero():
		return nil, &BeforeError{}
	case w.status == nil:
		return nil, &GapError{From: w.broken}
	case w.until.Before(at):
		return nil, &OpenError{Until: w.until, Last: w.status}
	}
	return w.status, nil
}

// begins is the time of the first status from step i on; zero: there is none.
func (r *Replay) begins(i int) time.Time {
	for ; i < len(r.steps); i++ {
		if r.steps[i].status != nil {
			return r.steps[i].time
		}
	}
	return time.Time{}
}

// A walk goes from step to step.
type walk struct {
	status *subjects.Status // nil: not known here
	until  time.Time        // up to when it was the current one at least
	broken time.Time        // without a status: since when; zero: from the beginning
}

// repeats reports whether s is about the status where w is.
func (w *walk) repeats(s *step) bool { return w.status != nil && w.status.Mark() == s.mark }

// follows reports whether nothing is missing between w and s.
func (w *walk) follows(s *step) bool {
	return w.status != nil && s.delta != nil && s.delta.Prev == w.status.Mark()
}

// differs is the gap before a status of the same mark that does not say the same of
// what failed: a change of that is missing, and no digest of a delta covers it.
func (w *walk) differs(s *step) *GapError {
	if s.status == nil || !w.repeats(s) || s.status.LossesDigest() == w.status.LossesDigest() {
		return nil
	}
	return &GapError{From: w.until, To: s.at}
}

// answer is the status at a time before next, of which the first status after it is
// of the time begins.
func (w *walk) answer(at time.Time, next *step, begins time.Time) (*subjects.Status, error) {
	switch {
	case w.status == nil && w.broken.IsZero():
		return nil, &BeforeError{First: begins}
	case w.status == nil:
		return nil, &GapError{From: w.broken, To: begins}
	case w.follows(next) || !w.until.Before(at):
		return w.status, nil
	}
	return nil, &GapError{From: w.until, To: begins}
}

// take goes to the status of s.
func (w *walk) take(s *step) {
	switch {
	case s.delta != nil && w.repeats(s): // stored twice
	case s.delta != nil:
		w.apply(s)
	default:
		if !w.repeats(s) {
			w.until = s.time
		}
		w.status = s.status
		w.reach(s.at)
	}
}

func (w *walk) apply(s *step) {
	if w.follows(s) {
		if next, _, ok := w.status.Apply(s.delta); ok {
			w.status = next
			w.reach(s.time)
			return
		}
	}
	if w.status != nil {
		w.status, w.broken = nil, w.until
	}
}

func (w *walk) reach(t time.Time) {
	if t.After(w.until) {
		w.until = t
	}
}
