package election_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/subjects"
)

// The client library holds its lock while it dials, so an election that asked it
// for the connection would stand still until the dial has failed.
func TestTheElectionGoesOnWhileTheClientDials(t *testing.T) {
	t.Parallel()
	d := &heldDialer{held: make(chan struct{}, 1), release: make(chan struct{})}
	n := brokertest.Start(t)
	n.AwaitJetStream(1)
	nc, err := nats.Connect(n.URLs()[0], append(n.Options("m1", subjects.Manager), nats.Name("m1-1"), nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Millisecond), nats.SetCustomDialer(d))...)
	if err != nil {
		t.Fatal(err)
	}
	var steps atomic.Int64
	e := election.New(election.Config{
		Conn: nc, Node: "m1", Boot: "m1-1", Order: func() int { return 0 }, Log: zerolog.Nop(),
		Known:      func() subjects.Mark { steps.Add(1); return subjects.Mark{} },
		StoreEpoch: func(uint64, uint64) error { return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	<-e.Terms()

	d.hold.Store(true)
	nc.ForceReconnect()
	<-d.held
	for range 3 {
		before := steps.Load()
		e.Disconnected("m2-1", "b9#1")
		brokertest.Eventually(t, 5*time.Second, "the election takes a step", func() error {
			if steps.Load() == before {
				return errors.New("it takes none")
			}
			return nil
		})
	}
	d.hold.Store(false)
	close(d.release)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	nc.Close()
}

// A heldDialer dials nothing while hold is set, until release is closed.
type heldDialer struct {
	hold    atomic.Bool
	held    chan struct{} // a token when a dial waits
	release chan struct{}
}

func (d *heldDialer) Dial(network, address string) (net.Conn, error) {
	if d.hold.Load() {
		select {
		case d.held <- struct{}{}:
		default:
		}
		<-d.release
	}
	return net.DialTimeout(network, address, 5*time.Second)
}
