package history_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"thor/overlay/history"
	"thor/subjects"
)

var start = time.Date(2026, 11, 30, 8, 0, 0, 0, time.UTC)

func at(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }

// world makes statuses and the records of managers.
type world struct {
	status  *subjects.Status
	told    []*subjects.Status // all that there were
	records []*subjects.Record
	boot    string
	number  uint64
}

func newWorld() *world {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 10, Manager: "m1", Time: start, Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	return &world{status: s, boot: "a"}
}

func (w *world) record(r subjects.Record) *subjects.Record {
	w.number++
	r.Boot, r.Number, r.Parts = w.boot, w.number, 1
	w.records = append(w.records, &r)
	return &r
}

// change issues the next status at t, edited.
func (w *world) change(t time.Time, edit func(*subjects.Status)) *subjects.Record {
	next := w.status.Clone()
	next.Generation++
	next.Time = t
	edit(next)
	d := subjects.Diff(w.status, next)
	w.status = next
	w.told = append(w.told, next)
	return w.record(subjects.Record{Delta: d})
}

func (w *world) join(t time.Time, node string) *subjects.Record {
	return w.change(t, func(s *subjects.Status) {
		s.Put("sip_proxy", subjects.Member{Node: subjects.NodeID(node), State: subjects.Up, Since: t, Weight: 100})
	})
}

func (w *world) snapshot(t time.Time) *subjects.Record {
	return w.record(subjects.Record{Status: w.status, At: t})
}

func (w *world) event(t time.Time, kind subjects.EventKind, node string) *subjects.Record {
	return w.record(subjects.Record{Event: &subjects.Event{
		V: 1, Time: t, Kind: kind, Node: subjects.NodeID(node), Role: "sip_proxy", Epoch: w.status.Epoch, Generation: w.status.Generation,
	}})
}

// takeOver makes another process the writer, with the next epoch.
func (w *world) takeOver(t time.Time, boot string) {
	w.boot, w.number = boot, 0
	w.change(t, func(s *subjects.Status) { s.Epoch++; s.Manager = "m2" })
	w.snapshot(t)
}

func (w *world) replay() *history.Replay {
	var r history.Replay
	for _, x := range w.records {
		r.Add(x)
	}
	return &r
}

func (w *world) drop(r *subjects.Record) {
	w.records = slices.DeleteFunc(w.records, func(x *subjects.Record) bool { return x == r })
}

func full(s *subjects.Status) []byte { return s.EncodeFull(s.Encode()) }

func wantStatus(t *testing.T, r *history.Replay, when time.Time, want *subjects.Status) {
	t.Helper()
	got, err := r.At(when)
	if err != nil {
		t.Fatalf("at %s: %v", when, err)
	}
	if !bytes.Equal(full(got), full(want)) {
		t.Fatalf("at %s:\n%s\nwant\n%s", when, full(got), full(want))
	}
}

func wantError[E error](t *testing.T, r *history.Replay, when time.Time) E {
	t.Helper()
	s, err := r.At(when)
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("at %s: %v, %v; want a %T", when, s, err, want)
	}
	return want
}

func TestReplayTellsTheStatusOfEachMoment(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	first := w.status
	w.join(at(1), "n1")
	w.join(at(2), "n2")
	second := w.status
	w.change(at(3), func(s *subjects.Status) {
		s.Remove("sip_proxy", "n1")
		s.Lost = []subjects.Lost{{Node: "n1", Role: "sip_proxy", Since: at(3), Reason: "connection lost"}}
	})
	w.snapshot(at(9))
	r := w.replay()
	wantStatus(t, r, at(0), first)
	wantStatus(t, r, at(0.999), first)
	wantStatus(t, r, at(2), second)
	wantStatus(t, r, at(2.999), second)
	wantStatus(t, r, at(3), w.status)
	wantStatus(t, r, at(9), w.status)
	if e := wantError[*history.BeforeError](t, r, at(-0.001)); !e.First.Equal(at(0)) {
		t.Errorf("begins at %s", e.First)
	}
	e := wantError[*history.OpenError](t, r, at(9.001))
	if !e.Until.Equal(at(9)) || e.Last.Mark() != w.status.Mark() {
		t.Errorf("open from %s, %v", e.Until, e.Last.Mark())
	}
	r.Confirm(w.status, at(20))
	wantStatus(t, r, at(20), w.status)
}

func TestReplayWithoutRecordsSaysSo(t *testing.T) {
	var r history.Replay
	if e := wantError[*history.BeforeError](t, &r, at(0)); !e.First.IsZero() {
		t.Error(e.First)
	}
}

// A delta that is missing makes a gap up to the next status, whichever it is.
func TestReplayRefusesATimeWithinAGap(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	w.join(at(1), "n1")
	one := w.status
	missing := w.join(at(2), "n2")
	w.join(at(3), "n3")
	w.snapshot(at(5))
	w.join(at(6), "n4")
	w.drop(missing)
	r := w.replay()
	wantStatus(t, r, at(1), one)
	for _, when := range []float64{1.001, 2, 2.999} {
		if e := wantError[*history.GapError](t, r, at(when)); !e.From.Equal(at(1)) || !e.To.Equal(at(3)) {
			t.Errorf("at %g: gap from %s to %s", when, e.From, e.To)
		}
	}
	wantStatus(t, r, at(3), w.told[2])
	wantStatus(t, r, at(6), w.status)

	w.records = w.records[:3] // and no status after it
	if e := wantError[*history.GapError](t, w.replay(), at(4)); !e.To.IsZero() {
		t.Errorf("the gap ends at %s", e.To)
	}
}

// What the status says of losses is in no digest of a delta: the next recorded
// status shows that a change of it is missing.
func TestReplayFindsAMissingLoss(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	w.join(at(1), "n1")
	d := w.change(at(2), func(s *subjects.Status) {
		s.Lost = []subjects.Lost{{Node: "n9", Role: "sip_proxy", Since: at(2), Reason: "silent"}}
	})
	w.snapshot(at(5))
	d.Delta.Lost = nil
	r := w.replay()
	wantStatus(t, r, at(1), w.told[0])
	wantError[*history.GapError](t, r, at(3))
	wantStatus(t, r, at(5), w.status)
}

// Who could not record for a while does it when another manager is active already.
func TestReplayTakesRecordsThatComeLate(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	w.join(at(1), "n1")
	late := []*subjects.Record{w.join(at(2), "n2"), w.join(at(3), "n3")}
	three := w.status
	w.takeOver(at(4), "b")
	for _, x := range late {
		w.drop(x)
	}
	wantError[*history.GapError](t, w.replay(), at(3))
	w.records = append(w.records, late...)
	wantStatus(t, w.replay(), at(3), three)
	wantStatus(t, w.replay(), at(4), w.status)
}

func TestReplayTakesRecordsThatAreStoredTwice(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	w.join(at(1), "n1")
	w.join(at(2), "n2")
	w.records = append(w.records, w.records...)
	wantStatus(t, w.replay(), at(1), w.told[0])
}

// The clock of a successor may be behind: order is by mark, and no moment has two
// answers.
func TestReplayFollowsMarksWhenClocksDiffer(t *testing.T) {
	w := newWorld()
	w.snapshot(at(0))
	w.join(at(10), "n1")
	w.takeOver(at(7), "b")
	w.join(at(8), "n2")
	r := w.replay()
	wantStatus(t, r, at(9), newWorld().status)
	wantStatus(t, r, at(10), w.status)
}

// TestReplayIsExact replays what many random histories told, whole and with one
// record missing: each answer is what was told at that moment, or an error.
func TestReplayIsExact(t *testing.T) {
	gaps, exact := 0, 0
	for seed := range uint64(50) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := newWorld()
		w.snapshot(at(0))
		for i := 1; i <= 40; i++ {
			switch now := at(float64(i)); rnd.IntN(8) {
			case 0:
				w.snapshot(now)
			case 1:
				w.takeOver(now, fmt.Sprint("b", i))
			case 2:
				w.event(now, subjects.EventGuard, "n1")
			case 3:
				w.change(now, func(s *subjects.Status) {
					for _, m := range s.Roles["sip_proxy"] {
						s.Remove("sip_proxy", m.Node)
						s.Lost = []subjects.Lost{{Node: m.Node, Role: "sip_proxy", Since: now, Reason: "silent"}}
						return
					}
				})
			default:
				w.join(now, fmt.Sprint("n", rnd.IntN(6)))
			}
		}
		w.snapshot(at(41))
		wasAt := func(when time.Time) *subjects.Status {
			s := newWorld().status
			for _, x := range w.told {
				if !x.Time.After(when) {
					s = x
				}
			}
			return s
		}
		whole := w.replay()
		for i := range 41 {
			wantStatus(t, whole, at(float64(i)+0.5), wasAt(at(float64(i)+0.5)))
		}
		n := rnd.IntN(len(w.records)-2) + 1
		w.records = slices.Delete(w.records, n, n+1)
		rnd.Shuffle(len(w.records), func(i, j int) { w.records[i], w.records[j] = w.records[j], w.records[i] })
		r := w.replay()
		for i := range 41 {
			when := at(float64(i) + 0.5)
			s, err := r.At(when)
			if err != nil {
				gaps++
				continue
			}
			exact++
			if !bytes.Equal(full(s), full(wasAt(when))) {
				t.Fatalf("seed %d: at %d.5 %v, was %v", seed, i, s.Mark(), wasAt(when).Mark())
			}
		}
	}
	if gaps == 0 || exact == 0 {
		t.Errorf("%d gaps, %d answers", gaps, exact)
	}
}

func kinds(events []subjects.Event) string {
	out := ""
	for _, e := range events {
		out += fmt.Sprintf("%s %s; ", e.Kind, e.Node)
	}
	return out
}

func TestEventsAreFiltered(t *testing.T) {
	w := newWorld()
	w.event(at(0), subjects.EventJoin, "n0")
	w.event(at(1), subjects.EventJoin, "n1")
	w.event(at(2), subjects.EventJoin, "n2")
	w.event(at(3), subjects.EventGap, "")
	w.event(at(4), subjects.EventLeave, "n1").Event.Role = "media_relay"
	for _, c := range []struct {
		events history.Events
		want   string
	}{
		{history.Events{}, "join n0; join n1; join n2; gap ; leave n1; "},
		{history.Events{Since: at(1)}, "join n1; join n2; gap ; leave n1; "},
		{history.Events{Node: "n1"}, "join n1; gap ; leave n1; "},
		{history.Events{Node: "n1", Role: "sip_proxy"}, "join n1; gap ; "},
	} {
		for _, x := range w.records {
			c.events.Add(x)
		}
		if got := kinds(c.events.All()); got != c.want {
			t.Errorf("%+v: %s", c.want, got)
		}
	}
}

// Each record that is missing shows, but for those before the first.
func TestEventsTellWhatIsMissing(t *testing.T) {
	build := func() *world {
		w := newWorld()
		w.snapshot(at(0))
		w.join(at(1), "n1")
		w.event(at(1), subjects.EventJoin, "n1")
		w.event(at(1.5), subjects.EventGuard, "n1")
		w.join(at(2), "n2")
		w.takeOver(at(4), "b")
		w.join(at(5), "n3")
		w.event(at(5), subjects.EventJoin, "n3")
		w.records = append(w.records, w.records[3]) // stored twice
		return w
	}
	tell := func(w *world, since time.Time) []subjects.Event {
		e := history.Events{Since: since}
		for _, x := range w.records {
			e.Add(x)
		}
		return e.All()
	}
	if got := kinds(tell(build(), start)); got != "join n1; guard n1; join n3; " {
		t.Fatalf("nothing is missing: %s", got)
	}
	for i := 1; i <= 7; i++ {
		w := build()
		w.records = slices.Delete(w.records, i, i+1)
		if i == 3 {
			w.records = w.records[:len(w.records)-1]
		}
		if got := tell(w, start); !slices.ContainsFunc(got, func(e subjects.Event) bool { return e.Kind == subjects.EventGap }) {
			t.Errorf("record %d is missing and none says so: %s", i, kinds(got))
		}
		if got := tell(w, at(100)); len(got) != 0 {
			t.Errorf("a gap of long ago is told: %s", kinds(got))
		}
	}
}
