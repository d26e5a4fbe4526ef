package broker_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker/brokertest"
	"thor/subjects"
)

func TestABrokerTellsWhichConnectionsItDoesNotHave(t *testing.T) {
	brokertest.InBubble(t, func(t *testing.T, b *brokertest.B) {
		m := b.Dial("m1", subjects.Manager)
		told, err := m.SubscribeSync(subjects.ClosedConnections)
		if err != nil {
			t.Fatal(err)
		}
		other, err := nats.Connect("", append(b.Options("m2", subjects.Manager), nats.Name("m2-1"))...)
		if err != nil {
			t.Fatal(err)
		}
		cid, err := other.GetClientID()
		if err != nil {
			t.Fatal(err)
		}
		via := fmt.Sprintf("%s#%d", other.ConnectedServerName(), cid)
		answered := func(l subjects.Link) bool {
			l.V = subjects.Version
			for range 3 { // as managers do
				if err := m.Publish(subjects.ClosedGet, l.Encode()); err != nil {
					t.Fatal(err)
				}
				for end := time.Now().Add(time.Second); ; {
					msg, err := told.NextMsg(time.Until(end))
					if err != nil {
						break
					}
					if x, err := subjects.ParseLink(msg.Data); err == nil && *x == l && msg.Subject == subjects.ClosedAt(l.Broker()) {
						return true
					}
				}
			}
			return false
		}
		for name, c := range map[string]struct {
			link subjects.Link
			want bool
		}{
			"it exists":                      {subjects.Link{Boot: "m2-1", Via: via}, false},
			"of an earlier process":          {subjects.Link{Boot: "m2-0", Via: via}, true},
			"a number that is not in use":    {subjects.Link{Boot: "m2-1", Via: other.ConnectedServerName() + "#4711"}, true},
			"another broker's":               {subjects.Link{Boot: "m2-1", Via: "b9#4711"}, false},
			"a question that makes no sense": {subjects.Link{Boot: "m2-1", Via: "b9"}, false},
		} {
			if got := answered(c.link); got != c.want {
				t.Errorf("%s: answered %v", name, got)
			}
		}
		other.Close()
		if !answered(subjects.Link{Boot: "m2-1", Via: via}) {
			t.Error("not answered after the connection ended")
		}
	})
}
