package manager

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/manager/core"
	"thor/overlay/history"
	"thor/subjects"
)

// A shelf is a history that can be broken.
type shelf struct {
	t       *testing.T
	reader  subjects.RecordReader
	records []*subjects.Record
	broken  bool // storing fails at once
	hangs   bool // storing does not return
	unheard int  // so many are stored, but the answer is lost
}

func (s *shelf) store(ctx context.Context, m *nats.Msg) error {
	switch {
	case s.hangs:
		<-ctx.Done()
		return ctx.Err()
	case s.broken:
		return nats.ErrNoResponders
	}
	r, err := s.reader.Add(m.Subject, m.Header.Get, m.Data)
	if err != nil {
		s.t.Errorf("%s: %v", m.Subject, err)
	}
	if r != nil {
		s.records = append(s.records, r)
	}
	if s.unheard > 0 {
		s.unheard--
		return errors.New("the answer is lost")
	}
	return nil
}

// recording runs a historian that stores on a shelf.
func recording(t *testing.T, f func(h *historian, s *shelf)) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{t: t}
		h := newHistorian(s.store, "b00t", zerolog.Nop(), newMetrics(nil))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { h.run(ctx); close(done) }()
		f(h, s)
		cancel()
		<-done
	})
}

// issuer issues statuses as the core does.
type issuer struct {
	h      *historian
	status *subjects.Status
	all    []*subjects.Status
}

func newIssuer(h *historian) *issuer {
	s := &subjects.Status{V: 1, Domain: "example.net", Epoch: 1, Generation: 1, Manager: "m1", Time: time.Now().UTC(), Roles: map[subjects.Role][]subjects.Member{}}
	s.ClearLosses()
	return &issuer{h: h, status: s}
}

// next issues a status with one member more, an event, and lets a moment pass.
func (i *issuer) next() {
	s := i.status.Clone()
	s.Generation++
	s.Time = time.Now().UTC()
	s.Put("sip_proxy", subjects.Member{Node: subjects.NodeID(fmt.Sprintf("n%d", s.Generation)), State: subjects.Up, Since: s.Time, Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if len(s.Roles["sip_proxy"]) > 3 {
		s.Remove("sip_proxy", s.Roles["sip_proxy"][0].Node)
	}
	i.h.told(subjects.Diff(i.status, s))
	i.h.event(&subjects.Event{V: 1, Time: s.Time, Kind: subjects.EventJoin, Generation: s.Generation})
	i.h.issued(core.Hold(s, s.Encode()), time.Now())
	i.status = s
	i.all = append(i.all, s)
	time.Sleep(time.Millisecond)
}

func (s *shelf) replay() (*history.Replay, *history.Events) {
	var r history.Replay
	var e history.Events
	for _, x := range s.records {
		r.Add(x)
		e.Add(x)
	}
	return &r, &e
}

func gapsOf(e *history.Events) (out []subjects.Event) {
	for _, x := range e.All() {
		if x.Kind == subjects.EventGap {
			out = append(out, x)
		}
	}
	return out
}

// TestWhatCannotBeRecordedIsCounted: what has room is stored when the stream is
// back, the rest is one gap with its count, and after it the chain goes on.
func TestWhatCannotBeRecordedIsCounted(t *testing.T) {
	recording(t, func(h *historian, s *shelf) {
		i := newIssuer(h)
		i.next()
		synctest.Wait()
		s.broken = true
		for range historyWait/2 + 100 { // two records each
			i.next()
		}
		lastKept := i.all[historyWait/2-1]
		began := time.Now()
		i.next()
		time.Sleep(time.Minute)
		s.broken = false
		time.Sleep(time.Minute)
		i.next()
		synctest.Wait()

		r, e := s.replay()
		gaps := gapsOf(e)
		if len(gaps) != 1 {
			t.Fatalf("%d gaps: %+v", len(gaps), gaps)
		}
		g, stored := gaps[0], 0
		for _, x := range s.records {
			if x.Event == nil || x.Event.Kind != subjects.EventGap {
				stored++
			}
		}
		told := 2 * len(i.all)
		if want := told - (stored - 2); int(g.Missing) != want || g.Since.After(began) { // two statuses were stored too
			t.Errorf("%d records are missing since %s; %d of %d are stored, so it should be %d", g.Missing, g.Since, stored-2, told, want)
		}
		if g.Missing == 0 || stored-2 < historyWait {
			t.Errorf("%d stored", stored)
		}
		if got, err := r.At(lastKept.Time); err != nil || got.Generation != lastKept.Generation {
			t.Errorf("the last that had room: %v, %v", got, err)
		}
		var gap *history.GapError
		if got, err := r.At(i.all[len(i.all)-10].Time); !errors.As(err, &gap) {
			t.Errorf("within the gap: %v, %v", got, err)
		}
		if got, err := r.At(i.status.Time); err != nil || got.Generation != i.status.Generation {
			t.Errorf("after the gap: %v, %v", got, err)
		}
	})
}

// The loop is not held up by a stream that does not answer.
func TestRecordingNeverWaits(t *testing.T) {
	recording(t, func(h *historian, s *shelf) {
		s.hangs = true
		i := newIssuer(h)
		i.next()
		synctest.Wait()
		began := time.Now()
		for range 3 * historyWait {
			h.event(&subjects.Event{V: 1, Time: began, Kind: subjects.EventJoin})
		}
		h.keep(i.h.newest, time.Now().Add(time.Hour))
		if d := time.Since(began); d != 0 {
			t.Errorf("it took %s", d)
		}
		if n := len(h.queue); n > historyWait {
			t.Errorf("%d wait", n)
		}
	})
}

// Big statuses fill the space before the number of records does.
func TestWhatWaitsIsBoundedInBytes(t *testing.T) {
	recording(t, func(h *historian, s *shelf) {
		s.broken = true
		i := newIssuer(h)
		i.next()
		big := core.Hold(i.status, make([]byte, 1<<20))
		for n := range 100 {
			h.status(big, time.Now().Add(time.Duration(n)*time.Hour))
		}
		if h.space > historySpace || h.missing == 0 {
			t.Errorf("%d bytes wait, %d missing", h.space, h.missing)
		}
	})
}

// A record whose acknowledgement was lost is sent again under its number.
func TestRecordsAreKnownByTheirNumbers(t *testing.T) {
	recording(t, func(h *historian, s *shelf) {
		i := newIssuer(h)
		i.next()
		s.unheard = 2
		for range 5 {
			i.next()
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		r, e := s.replay()
		if n, want := len(e.All()), len(i.all); n != want {
			t.Errorf("%d events of %d", n, want)
		}
		if len(s.records) != 2*len(i.all)+1+2 {
			t.Errorf("%d records: none was sent twice", len(s.records))
		}
		if got, err := r.At(i.status.Time); err != nil || got.Generation != i.status.Generation {
			t.Error(got, err)
		}
	})
}

// The status is recorded at the start of each term and each five minutes.
func TestStatusIsRecordedRegularly(t *testing.T) {
	recording(t, func(h *historian, s *shelf) {
		i := newIssuer(h)
		i.next()
		hour := func() int {
			before := len(s.records)
			for range 3600 {
				time.Sleep(time.Second)
				h.keep(h.newest, time.Now())
			}
			synctest.Wait()
			return len(s.records) - before
		}
		if n := hour(); n != 12 {
			t.Errorf("%d in an hour", n)
		}
		h.ended()
		if n := hour(); n != 0 {
			t.Errorf("%d in an hour without a term", n)
		}
		before := len(s.records)
		i.next()
		if n := hour(); n != 12 || len(s.records)-before != 3+12 { // a delta, an event and the status are the first
			t.Errorf("%d in the first hour of the second term, %d with what began it", n, len(s.records)-before)
		}
	})
}
