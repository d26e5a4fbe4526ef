package manager

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"thor/subjects"
)

// The loop was busy while a term ended and the next was won: nothing of the
// first reign goes on. What does makes the bubble fail.
func TestATermOverAnotherEndsTheFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.reign(5, 0, 1000)
		first := m.lead
		m.reign(6, 1000, 2000)
		if m.lead == first || m.lead.status.Epoch != 6 || !m.Active() {
			t.Errorf("it leads in epoch %d", m.lead.status.Epoch)
		}
	})
}

// More arrives at once than there is room for: beats may be among what is lost,
// so nobody is removed for silence.
func TestLostInputMakesBlind(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		m.in = make(chan *nats.Msg, 4)
		stop, err := m.subscribe(m.cfg.Overlay.Conn())
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		m.reign(5, 0, 1000)
		now := func() {
			m.drain(time.Now())
			m.pass(20 * time.Millisecond)
		}
		n1 := m.broker.Dial("n1", subjects.SIPProxy)
		for i := range 50 {
			_ = n1.Publish(subjects.Presence(subjects.SIPProxy, "n1"), []byte(good(i+1)))
		}
		_ = n1.Flush()
		time.Sleep(time.Second)
		now()
		if guards := fmt.Sprint(m.table.Guards()); !strings.Contains(guards, "cut off") {
			t.Errorf("guards: %s", guards)
		}
		if !strings.Contains(m.log.String(), "not taken in") {
			t.Errorf("log: %s", m.log)
		}
		missed := m.missed
		now()
		if missed < 40 || m.missed != missed {
			t.Errorf("missed %d, then %d", missed, m.missed)
		}
	})
}

// oneCopy is a JetStream with a bucket, and counts how often it was opened.
type oneCopy struct {
	jetstream.JetStream
	opened int
}

func (o *oneCopy) KeyValue(context.Context, string) (jetstream.KeyValue, error) {
	o.opened++
	return bucket{}, nil
}

type bucket struct{ jetstream.KeyValue }

func (bucket) Status(context.Context) (jetstream.KeyValueStatus, error) {
	return nil, errors.New("not now")
}

func (bucket) Get(context.Context, string) (jetstream.KeyValueEntry, error) {
	return nil, jetstream.ErrKeyNotFound
}

func (bucket) Create(context.Context, string, []byte, ...jetstream.KVCreateOpt) (uint64, error) {
	return 1, nil
}

// A bucket that was made when there was one broker is opened again now and then,
// which enlarges it.
func TestTheStatusBucketIsOpenedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		js := &oneCopy{}
		k := &keeper{js: js, log: zerolog.Nop(), next: make(chan *held, 1), flushc: make(chan chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		k.cancel = cancel
		k.wg.Go(func() { k.run(ctx) })
		for i := range 100 {
			k.put(&subjects.Status{Generation: uint64(i)}, []byte("{}"))
			time.Sleep(time.Second)
		}
		k.stop()
		if js.opened < 3 || js.opened > 5 {
			t.Errorf("opened %d times in 100 s", js.opened)
		}
	})
}
