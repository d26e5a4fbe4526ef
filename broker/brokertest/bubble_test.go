package brokertest_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/broker/brokertest"
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
			js, err := jetstream.New(m)
			if err != nil {
				t.Fatal(err)
			}
			kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{
				Bucket: subjects.ElectionBucket, Storage: jetstream.MemoryStorage, History: 1, LimitMarkerTTL: time.Second,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := kv.Create(t.Context(), subjects.ElectionKey, []byte("x"), jetstream.KeyTTL(5*time.Second)); err != nil {
				t.Fatal(err)
			}
			w, err := kv.Watch(t.Context(), subjects.ElectionKey, jetstream.UpdatesOnly())
			if err != nil {
				t.Fatal(err)
			}
			start = time.Now()
			<-w.Updates()
			if d := time.Since(start); d < 4*time.Second || d > 7*time.Second {
				t.Errorf("lease expired after %v", d)
			}
			_ = w.Stop()
		})
	}
}
