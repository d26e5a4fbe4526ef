package manager

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/manager/core"
	"thor/subjects"
)

// What a manager keeps while the history cannot be written.
const (
	historyWait  = 10_000   // records
	historySpace = 64 << 20 // bytes of them, estimated

	recordTimeout = 3 * time.Second        // for the acknowledgement of one message
	recordRetry   = 250 * time.Millisecond // after the first failure, then twice as long…
	recordRest    = 4 * time.Second        // …up to this
)

// A historian records what the active manager tells, in order, in a goroutine of
// its own: the loop only appends to a queue, whatever the state of the stream. What
// there is no room for is counted; when all that waits is stored a gap is
// recorded, with the count, and the status after it.
type historian struct {
	store   func(context.Context, *nats.Msg) error // returns when the message is stored
	boot    string
	log     zerolog.Logger
	metrics *metrics
	wake    chan struct{} // holds one token: the queue has something, or is empty now

	mu      sync.Mutex
	queue   []*pendingRecord
	space   int
	missing uint64     // records that found no room since the queue was empty last…
	since   time.Time  // …from this time on
	newest  *core.Held // of those that were issued

	number uint64 // of the last message; of run alone

	// Of the loop alone.
	delta    *subjects.Delta // issued; its status comes next
	recorded time.Time       // when a status was recorded last; zero: not in this term
}

// A pendingRecord waits to be stored.
type pendingRecord struct {
	subjects.Record
	size     int
	messages []subjects.RecordMessage // those not stored yet, once it is at the head
}

func newHistorian(store func(context.Context, *nats.Msg) error, boot string, log zerolog.Logger, m *metrics) *historian {
	return &historian{store: store, boot: boot, log: log, metrics: m, wake: make(chan struct{}, 1)}
}

// recordIn stores messages in the history's stream, over the connection that there is.
func recordIn(conn func() *nats.Conn) func(context.Context, *nats.Msg) error {
	return func(ctx context.Context, msg *nats.Msg) error {
		ctx, cancel := context.WithTimeout(ctx, recordTimeout)
		defer cancel()
		answer, err := conn().RequestMsgWithContext(ctx, msg)
		if err != nil {
			return err
		}
		var ack struct {
			Stream string `json:"stream"`
			Error  *struct {
				Description string `json:"description"`
			} `json:"error"`
		}
		if err := json.Unmarshal(answer.Data, &ack); err != nil {
			return fmt.Errorf("acknowledgement: %w", err)
		}
		if ack.Error != nil {
			return errors.New(ack.Error.Description)
		}
		if ack.Stream != subjects.HistoryStream {
			return fmt.Errorf("stored in the stream %q", ack.Stream)
		}
		return nil
	}
}

// event records an event that was told.
func (h *historian) event(e *subjects.Event) {
	h.put(subjects.Record{Event: e}, 512, e.Time)
}

// told takes a delta that was told; its status comes next.
func (h *historian) told(d *subjects.Delta) {
	h.settle()
	h.delta = d
}

// issued takes the status to which the delta leads, which is recorded at the start
// of a term.
func (h *historian) issued(s *core.Held, now time.Time) {
	h.mu.Lock()
	h.newest = s // before its delta: if that has no room, the status after the gap is a later one
	h.mu.Unlock()
	h.settle()
	if h.recorded.IsZero() {
		h.status(s, now)
	}
}

// settle records the delta that waits.
func (h *historian) settle() {
	d := h.delta
	if d == nil {
		return
	}
	h.delta = nil
	changes := len(d.Changes) + len(d.Gone)
	if d.Lost != nil {
		changes += len(d.Lost.Set) + len(d.Lost.Gone)
	}
	h.put(subjects.Record{Delta: d}, 512+512*changes, d.Time)
}

// ended says that the term is over.
func (h *historian) ended() {
	h.settle()
	h.recorded = time.Time{}
}

// keep records the status anew when it is time: it is the current one at now.
func (h *historian) keep(s *core.Held, now time.Time) {
	if !h.recorded.IsZero() && now.Sub(h.recorded) >= subjects.HistoryStatusEvery {
		h.status(s, now)
	}
}

func (h *historian) status(s *core.Held, now time.Time) {
	h.recorded = now
	h.put(subjects.Record{Status: s.Status, At: now}, len(s.Encoded), now)
}

// put appends to the queue, or counts what has no room.
func (h *historian) put(r subjects.Record, size int, at time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.missing > 0 || len(h.queue) >= historyWait || h.space+size > historySpace {
		h.miss(at)
		return
	}
	h.queue = append(h.queue, &pendingRecord{Record: r, size: size})
	h.space += size
	h.metrics.unrecorded.Set(float64(len(h.queue)))
	h.nudge()
}

func (h *historian) miss(at time.Time) {
	if h.missing == 0 {
		h.since = at
	}
	h.missing++
	h.metrics.gaps.Inc()
}

func (h *historian) nudge() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// head is what is to be stored next, nil if nothing is. With an empty queue after
// a gap that is the gap.
func (h *historian) head() *pendingRecord {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.queue) == 0 && h.missing > 0 {
		h.queue = append(h.queue, &pendingRecord{Record: subjects.Record{Event: h.gap()}})
		if s := h.newest; s != nil {
			h.queue = append(h.queue, &pendingRecord{Record: subjects.Record{Status: s.Status, At: s.Status.Time}})
		}
		h.log.Warn().Uint64("missing", h.missing).Time("since", h.since).Str("event", "gap").Msg("the history has a gap")
		h.missing = 0
	}
	if len(h.queue) == 0 {
		return nil
	}
	return h.queue[0]
}

func (h *historian) gap() *subjects.Event {
	e := &subjects.Event{
		V: subjects.Version, Time: time.Now().UTC().Truncate(time.Millisecond), Kind: subjects.EventGap, Role: subjects.Manager, Missing: h.missing, Since: h.since,
		Detail: fmt.Sprintf("%d records are missing: the history could not be written", h.missing),
	}
	if h.newest != nil {
		e.Node, e.Epoch, e.Generation = h.newest.Status.Manager, h.newest.Status.Epoch, h.newest.Status.Generation
	}
	return e
}

// done takes the head out.
func (h *historian) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.space -= h.queue[0].size
	h.queue[0] = nil
	h.queue = h.queue[1:]
	h.metrics.unrecorded.Set(float64(len(h.queue)))
}

// run stores what is put, until ctx ends.
func (h *historian) run(ctx context.Context) {
	rest := time.Duration(0)
	for {
		p := h.head()
		if p == nil {
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
			}
			continue
		}
		err := h.storeAll(ctx, p)
		if errors.Is(err, nats.ErrMaxPayload) { // never
			h.log.Error().Err(err).Msg("record dropped")
			h.mu.Lock()
			h.miss(time.Now())
			h.mu.Unlock()
			err = nil
		}
		if err == nil {
			h.done()
			if rest > 0 {
				h.log.Info().Msg("the history is recorded again")
			}
			rest = 0
			continue
		}
		if rest == 0 && ctx.Err() == nil {
			h.log.Warn().Err(err).Msg("the history cannot be recorded, trying again")
		}
		rest = min(max(recordRetry, 2*rest), recordRest)
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
	}
}

// storeAll stores what is left of p.
func (h *historian) storeAll(ctx context.Context, p *pendingRecord) error {
	if p.messages == nil {
		p.Boot, p.Number = h.boot, h.number+1
		p.messages = p.Messages()
		h.number += uint64(len(p.messages))
	}
	for len(p.messages) > 0 {
		m := p.messages[0]
		if err := h.store(ctx, message(m.Subject, m.Data, m.Header)); err != nil {
			return err
		}
		p.messages = p.messages[1:]
	}
	return nil
}

// flush waits until all is stored, or ctx ends; then it logs what is not.
func (h *historian) flush(ctx context.Context) {
	const look = 10 * time.Millisecond
	for {
		h.mu.Lock()
		left := uint64(len(h.queue)) + h.missing
		h.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-ctx.Done():
			h.log.Warn().Uint64("records", left).Msg("not in the history, which could not be written")
			return
		case <-time.After(look):
		}
	}
}
