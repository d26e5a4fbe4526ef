package manager

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

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
		m.in = make(chan *nats.Msg, 9) // room for what brokers say of certificates when asked
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
