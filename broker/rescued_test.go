package broker_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/overlay/audit"
	"thor/subjects"
)

// askRescue asks b1, as "ops".
func askRescue(t *testing.T, o *nats.Conn, dead ...subjects.NodeID) (*subjects.RescueReply, *subjects.Reply) {
	t.Helper()
	req := subjects.RescueRequest{V: subjects.Version, Dead: dead}
	m, err := o.Request(subjects.RequestFrom("ops", "b1", subjects.EventServer, subjects.VerbRescue), req.Encode(), 60*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r, err := subjects.ParseReply(m.Data)
	if err != nil {
		t.Fatal(err)
	}
	var out subjects.RescueReply
	if r.Code == "" {
		if err := json.Unmarshal(r.Data, &out); err != nil {
			t.Fatal(err)
		}
	}
	return &out, r
}

// Two of three brokers are gone for good. Without a rescue nothing can be written,
// and no manager elected; with it all works at the one that is left.
func TestARescueTakesJetStreamBack(t *testing.T) {
	t.Parallel()
	log := make(written, 16)
	n := brokertest.New(t)
	ports := brokertest.Ports(t, 6)
	for i := range 3 {
		n.Prepare(fmt.Sprintf("b%d", i+1), func(c *broker.Config) {
			c.Listen, c.ClusterListen, c.Audit = ports[i], ports[3+i], audit.To(log)
			c.Routes = []string{"tls://" + ports[3], "tls://" + ports[4], "tls://" + ports[5]}
		})
	}
	brokertest.StartAll(n.Brokers...)
	n.AwaitJetStream(3)
	b1 := n.Brokers[0]
	ops := b1.Dial(n.Options("ops", subjects.Operator)...)
	write := func(what string) error { // each time through a new connection: a broker that is alone sends plain clients away
		manager := b1.Dial(n.Options("m1", subjects.Manager)...)
		defer manager.Close()
		bucket, err := election.OpenBucket(manager, subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		_, err = bucket.Put(ctx, subjects.StatusKey, []byte(what))
		return err
	}
	brokertest.Eventually(t, soon, "the bucket can be written with three brokers", func() error { return write("before") })

	if _, r := askRescue(t, ops, "b2", "b3"); r.Code != subjects.ErrorFailed || !strings.Contains(r.Text, "b2 is not dead") {
		t.Fatalf("a rescue of what is not lost: %q %s", r.Code, r.Text)
	}
	if e := log.next(t); !strings.Contains(e, `"act":"rescue"`) || !strings.Contains(e, `"outcome":"refused"`) {
		t.Errorf("audit entry %s", e)
	}
	n.Brokers[1].Stop()
	n.Brokers[2].Stop()
	brokertest.Eventually(t, 60*time.Second, "no leader is known", func() error {
		s, _ := askRescue(t, ops)
		if s.Leader != "" || len(s.Peers) != 2 || s.Peers[0].Heard || s.Peers[1].Heard {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	for _, c := range []struct {
		dead []subjects.NodeID
		want string
	}{
		{[]subjects.NodeID{"b1", "b2", "b3"}, "b1 answers this"},
		{[]subjects.NodeID{"b2"}, "2 brokers would be left"},
		{[]subjects.NodeID{"b2", "b4"}, "b4 is no broker of JetStream's group"},
	} {
		if _, r := askRescue(t, ops, c.dead...); r.Code != subjects.ErrorFailed || !strings.Contains(r.Text, c.want) {
			t.Errorf("without %q: %q %s, want %q", c.dead, r.Code, r.Text, c.want)
		}
		log.next(t)
	}
	if write("lost") == nil {
		t.Error("written without a majority")
	}

	got, r := askRescue(t, ops, "b2", "b3")
	if r.Code != "" || got.Leader != "b1" || len(got.Peers) != 0 || len(got.Removed) != 2 {
		t.Fatalf("%q %s %+v", r.Code, r.Text, got)
	}
	if e := log.next(t); !strings.Contains(e, `"who":"ops","act":"rescue","what":"JetStream without b2, b3"`) || !strings.Contains(e, `"outcome":"ok"`) {
		t.Errorf("audit entry %s", e)
	}
	brokertest.Eventually(t, 30*time.Second, "the bucket can be written", func() error { return write("after") })
	elects(t, b1.Dial(append(n.Options("m1", subjects.Manager), nats.Name("boot-m1"))...))
	brokertest.Eventually(t, soon, "it is not alone: there are no others", func() error {
		if !b1.AloneSince().IsZero() || len(b1.Degraded()) > 0 {
			return fmt.Errorf("%q", b1.Degraded())
		}
		return nil
	})

	// A removed broker comes back without what JetStream held there.
	b2 := n.Brokers[1]
	if err := os.RemoveAll(filepath.Join(b2.Config.StoreDir, "jetstream")); err != nil {
		t.Fatal(err)
	}
	b2.Start()
	brokertest.Eventually(t, soon, "b2 is back", func() error {
		if got := b1.Peers(); len(got) != 1 || got[0] != "b2" {
			return fmt.Errorf("b1 is with %q", got)
		}
		return nil
	})
	if err := write("with b2"); err != nil {
		t.Errorf("with b2 back: %v", err)
	}
}

// elects lets a manager that has this connection campaign until it leads.
func elects(t *testing.T, nc *nats.Conn) {
	t.Helper()
	e := election.New(election.Config{
		Conn: nc, Node: "m1", Boot: nc.Opts.Name, Known: func() subjects.Mark { return subjects.Mark{} },
		Order: func() int { return 0 }, StoreEpoch: func(uint64, uint64) error { return nil },
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	select {
	case <-e.Terms():
	case <-time.After(60 * time.Second):
		t.Error("no manager is elected")
	}
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A broker that was stopped for good is removed by the leader that the others have, and
// they need no majority of three any more.
func TestABrokerThatIsGoneForGoodIsRemoved(t *testing.T) {
	t.Parallel()
	n := brokertest.Cluster(t, 3)
	n.AwaitJetStream(3)
	b1 := n.Brokers[0]
	ops := b1.Dial(n.Options("ops", subjects.Operator)...)
	n.Brokers[2].Stop()
	brokertest.Eventually(t, 60*time.Second, "b3 is removed", func() error {
		got, r := askRescue(t, ops, "b3")
		if r.Code != "" {
			return fmt.Errorf("%s %s", r.Code, r.Text) // its route has just ended, or there is no leader yet
		}
		if len(got.Removed) != 1 || len(got.Peers) != 1 || got.Peers[0].Node != "b2" || got.Leader == "" {
			return fmt.Errorf("%+v", got)
		}
		return nil
	})
}
