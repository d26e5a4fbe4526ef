package manager

import (
	"bytes"
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"

	"thor/manager/election"
	"thor/subjects"
)

// A heldServer keeps what its connection reads waiting while the gate's one place is
// taken. What the connection sends arrives.
type heldServer struct {
	nats.InProcessConnProvider
	gate chan struct{}
}

func (s heldServer) InProcessConn() (net.Conn, error) {
	c, err := s.InProcessConnProvider.InProcessConn()
	return heldConn{c, s.gate}, err
}

type heldConn struct {
	net.Conn
	gate chan struct{}
}

func (c heldConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.gate <- struct{}{}
	<-c.gate
	return n, err
}

// A successor writes its status after a manager has read the store, and before that
// manager writes: what the successor wrote stays (I3).
func TestAStatusOverwritesNothingThatItsManagerHasNotRead(t *testing.T) {
	inBubble(t, func(t *testing.T, m *lone) {
		ctx := context.Background()
		successor, err := election.OpenBucket(m.cfg.Overlay.Conn(), subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		first, later := crowd(10, map[subjects.Role]int{"sip_proxy": 1}), crowd(20, map[subjects.Role]int{"sip_proxy": 3})
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(100 * time.Millisecond) { // brokers make the bucket soon
			if _, err = successor.Put(ctx, subjects.StatusKey, first.Encoded); err == nil {
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
		gate := make(chan struct{}, 1)
		o := nats.GetDefaultOptions()
		for _, opt := range append(m.broker.Options("m2", subjects.Manager), func(o *nats.Options) error {
			o.InProcessServer = heldServer{o.InProcessServer, gate}
			return nil
		}) {
			if err := opt(&o); err != nil {
				t.Fatal(err)
			}
		}
		nc, err := o.Connect()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		k := newSnapshotWriter(nc, m.Manager.log)
		defer k.stop()
		result := make(chan error, 1)
		gate <- struct{}{}
		go func() { result <- k.write(ctx, crowd(11, map[subjects.Role]int{"sip_proxy": 2})) }()
		time.Sleep(time.Millisecond) // the broker has answered it
		if _, err := successor.Put(ctx, subjects.StatusKey, later.Encoded); err != nil {
			t.Fatal(err)
		}
		<-gate
		synctest.Wait()
		if err := <-result; !election.IsConflict(err) {
			t.Errorf("written: %v", err)
		}
		if _, encoded, err := readStatus(ctx, successor); err != nil || !bytes.Equal(encoded, later.Encoded) {
			t.Errorf("the later status is not in the store: %v", err)
		}
	})
}
