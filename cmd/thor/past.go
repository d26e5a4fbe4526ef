package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thor/monitor/view"
	"thor/overlay"
	"thor/overlay/history"
	"thor/subjects"
)

const (
	pastMargin = 2 * subjects.HistoryStatusEvery // before a time, to find the status that was recorded before it
	pastCheck  = 500                             // records between two looks whether the answer is there
	pastAgain  = 300 * time.Millisecond          // until what was told a moment ago is looked for again
)

// A past is a flag that names a time: so long ago, or a clock's reading.
type past struct{ time.Time }

// parsePast reads "2h", RFC 3339, "2006-01-02 15:04:05" or "15:04:05", the last two by
// the local clock, the seconds left out or not.
func parsePast(s string, now time.Time) (past, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return past{now.Add(-d)}, nil
	}
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05", "2006-01-02 15:04", "15:04:05", "15:04"} {
		t, err := time.ParseInLocation(form, s, time.Local)
		if err != nil {
			continue
		}
		if t.Year() == 0 {
			y, m, d := now.Local().Date()
			t = time.Date(y, m, d, t.Hour(), t.Minute(), t.Second(), 0, time.Local)
		}
		if t.After(now) {
			return past{}, usagef("%s is in the future", s)
		}
		return past{t}, nil
	}
	return past{}, usagef("%q is no time: give one such as 2h, 03:12, \"2006-01-02 03:12:05\" or 2006-01-02T03:12:05Z", s)
}

// printStatusAt prints the status of a time.
func printStatusAt(cmd *cobra.Command, out output, s *session, at time.Time) error {
	st, doubt, err := s.statusAt(cmd.Context(), at)
	if err != nil {
		return err
	}
	v := &overlay.View{Status: st, Encoded: st.Encode(), Connected: true}
	return printStatus(cmd, out, v, nonEmpty(doubt), at)
}

// statusAt finds the status of a time in the history. doubt says why there could be
// a later one, and is empty otherwise.
func (s *session) statusAt(ctx context.Context, at time.Time) (st *subjects.Status, doubt string, err error) {
	for {
		st, err := s.replayTo(ctx, at)
		var open *history.OpenError
		var gap *history.GapError
		switch {
		case errors.As(err, &open):
			mark, confirmed := s.confirmedMark(ctx)
			if mark == open.Last.Mark() && !confirmed.Before(at) {
				return open.Last, "", nil
			}
			if !mark.After(open.Last.Mark()) {
				return open.Last, open.Error() + ", and no manager confirms that nothing changed until then", nil
			}
		case errors.As(err, &gap) && gap.To.IsZero():
		default:
			return st, "", err
		}
		select { // it is about to be recorded
		case <-ctx.Done():
			return nil, "", context.Cause(ctx)
		case <-time.After(pastAgain):
		}
		if time.Now().After(s.deadline) {
			return nil, "", err
		}
	}
}

// confirmedMark is the mark that the network has now, and when that was known last.
func (s *session) confirmedMark(ctx context.Context) (subjects.Mark, time.Time) {
	if _, err := s.status(ctx); err != nil {
		return subjects.Mark{}, time.Time{}
	}
	return s.Confirmation()
}

// replayTo reads the history from before a time on, from further back while it does
// not know what was then.
func (s *session) replayTo(ctx context.Context, at time.Time) (*subjects.Status, error) {
	begins, _, err := s.HistoryBegins(ctx)
	if err != nil {
		return nil, err
	}
	for margin := pastMargin; ; margin *= 4 {
		var r history.Replay
		var found *subjects.Status
		n := 0
		_, err := s.ReadHistory(ctx, at.Add(-margin), func(x *subjects.Record) bool {
			r.Add(x)
			if n++; n%pastCheck == 0 {
				found, _ = r.At(at)
			}
			return found == nil
		})
		if err != nil || found != nil {
			return found, err
		}
		found, err = r.At(at)
		var before *history.BeforeError
		if !errors.As(err, &before) || !at.Add(-margin).After(begins) {
			return found, err
		}
	}
}

// printEventsSince prints what the history knows of.
func printEventsSince(cmd *cobra.Command, s *session, e history.Events, print func(*subjects.Event) error) error {
	notes, err := s.readEvents(cmd.Context(), &e)
	if err != nil {
		return err
	}
	for _, n := range notes {
		warn(cmd, "%s", n)
	}
	for _, x := range e.All() {
		if print(&x) != nil {
			return nil // the reader has gone
		}
	}
	return nil
}

// readEvents reads what the history knows of the events that e wants. notes say what it
// does not know.
func (s *session) readEvents(ctx context.Context, e *history.Events) (notes []string, err error) {
	begins, _, err := s.HistoryBegins(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case begins.IsZero():
		notes = append(notes, "the history is empty")
	case begins.After(e.Since):
		notes = append(notes, "the history begins at "+begins.Local().Format("2006-01-02 15:04:05"))
	}
	// A record is stored later than what it tells of; clocks may differ.
	bad, err := s.ReadHistory(ctx, e.Since.Add(-pastMargin), func(x *subjects.Record) bool { e.Add(x); return true })
	if err != nil {
		return nil, err
	}
	if bad > 0 {
		notes = append(notes, fmt.Sprintf("%d records are not understood: is this program older than the managers?", bad))
	}
	return notes, nil
}

// How far a monitor looks back at its start: further where there is little to see.
var lookBacks = []time.Duration{time.Hour, 24 * time.Hour}

const (
	enoughEvents = 200
	lookBackWait = 20 * time.Second
)

// recentEvents is what a monitor shows of the time before: since then, or since its lookBacks
// if that is zero. note is what is not known of it, in one line; what a certificate may
// not read is no error.
func (s *session) recentEvents(ctx context.Context, since time.Time) (events []subjects.Event, note string, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookBackWait)
	defer cancel()
	spans := lookBacks
	if !since.IsZero() {
		spans = []time.Duration{time.Since(since)}
	}
	for _, d := range spans {
		e := history.Events{Since: time.Now().Add(-d)}
		notes, err := s.readEvents(ctx, &e)
		switch {
		case errors.Is(err, overlay.ErrForbidden):
			return nil, "the history is for operators and monitors", nil
		case err != nil && len(events) > 0:
			return events, note, nil // of the last hour alone
		case err != nil:
			return nil, "", err
		}
		events, note = e.All(), strings.Join(notes, "; ")
		if len(events) >= enoughEvents {
			break
		}
	}
	return events, note, nil
}

// eventPrinter prints events, one line each.
func eventPrinter(cmd *cobra.Command, out output) func(*subjects.Event) error {
	return func(e *subjects.Event) error {
		return out.print(cmd, json.RawMessage(e.Encode()), func(w io.Writer) error {
			_, err := fmt.Fprintln(w, view.EventLine(e))
			return err
		})
	}
}
