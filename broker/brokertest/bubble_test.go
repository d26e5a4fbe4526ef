package brokertest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/subjects"
)

func TestBubbleRunsInVirtualTime(t *testing.T) {
	for range 3 { // again and again in one process
		brokertest.Bubble(t, func(t *testing.T, dial func(string, ...subjects.Role) *nats.Conn) {
			m := dial("m1", subjects.Manager)
			sub, err := m.SubscribeSync(subjects.AllPresences)
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Flush(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			n := 0
			for time.Since(start) < 10*time.Minute {
				if _, err := sub.NextMsg(2 * time.Second); err != nil {
					t.Fatalf("after %d announcements: %v", n, err)
				}
				n++
			}
			if n < 500 || n > 700 {
				t.Errorf("%d announcements of the broker in 10 minutes", n)
			}
			b, err := election.OpenBucket(m, subjects.ElectionBucket)
			if err != nil {
				t.Fatal(err)
			}
			stored := make(chan *nats.Msg, 10)
			if _, err := m.ChanSubscribe(subjects.LeaseStored, stored); err != nil {
				t.Fatal(err)
			}
			if _, err := b.Replace(t.Context(), subjects.ElectionKey, []byte("x"), 0, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			start = time.Now()
			if m := <-stored; string(m.Data) != "x" {
				t.Errorf("%q is told to be stored", m.Data)
			}
			<-stored
			if d := time.Since(start); d < 4*time.Second || d > 7*time.Second {
				t.Errorf("lease expired after %v", d)
			}
		})
	}
}
