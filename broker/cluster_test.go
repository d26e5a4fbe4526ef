package broker_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/subjects"
)

func TestCluster(t *testing.T) {
	t.Parallel()
	n := brokertest.Cluster(t, 3)
	t.Run("brokers name those that they have routes to", func(t *testing.T) { namesPeers(t, n) })
	t.Run("an operator lists each broker once", func(t *testing.T) { listServers(t, n) })
	t.Run("events reach managers at other brokers once", func(t *testing.T) { remoteDisconnect(t, n) })
	t.Run("clients hear of advertised addresses only", func(t *testing.T) { gossip(t, n) })
	t.Run("a bucket grows with the cluster", func(t *testing.T) { bucketGrows(t, n) })
	t.Run("a bucket of three copies outlives a broker", func(t *testing.T) { bucketOutlives(t, n) })
	t.Run("JetStream comes back on one of three", func(t *testing.T) { jetStreamOfOne(t, n) })
	t.Run("all brokers restarted", func(t *testing.T) { restartAll(t, n) })
}

// What a broker announces names the others, in order, as soon as it has routes to them.
func namesPeers(t *testing.T, n *brokertest.Net) {
	m := n.Brokers[0].Dial(n.Options("m1", subjects.Manager)...)
	sub, err := m.SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	want := map[subjects.NodeID]string{"b1": "b2,b3", "b2": "b1,b3", "b3": "b1,b2"}
	brokertest.Eventually(t, 10*time.Second, "all brokers name the others", func() error {
		msg, err := sub.NextMsg(2 * time.Second)
		if err != nil {
			return err
		}
		a, err := subjects.ParseAnnouncement(msg.Subject, msg.Data)
		if err != nil || a.Role != subjects.EventServer {
			return fmt.Errorf("%s: %w", msg.Subject, err)
		}
		if a.Attrs[subjects.AttrPeers] == want[a.Node] && a.Attrs[subjects.AttrRoutes] == "2" {
			delete(want, a.Node)
		}
		if len(want) > 0 {
			return fmt.Errorf("not yet: %v", want)
		}
		return nil
	})
}

func bucketOutlives(t *testing.T, n *brokertest.Net) {
	bucket := func(b *brokertest.Server) *election.Bucket {
		k, err := election.OpenBucket(b.Dial(n.Options("m1", subjects.Manager)...), subjects.StatusBucket)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	if _, err := bucket(n.Brokers[0]).Put(t.Context(), subjects.StatusKey, []byte("kept")); err != nil {
		t.Fatal(err)
	}
	n.Brokers[2].Stop()
	defer n.Brokers[2].Start()
	k := bucket(n.Brokers[1])
	brokertest.Eventually(t, 30*time.Second, "write with two of three", func() error {
		e, err := k.Get(t.Context(), subjects.StatusKey)
		switch {
		case err != nil:
			return err
		case e == nil || string(e.Value) != "kept":
			return fmt.Errorf("stored is %+v", e)
		}
		_, err = k.Replace(t.Context(), subjects.StatusKey, []byte("kept"), e.Revision, 0)
		return err
	})
}

// A bucket that was made while there was one broker gets its copies when the
// others have come, with all that is in it.
func bucketGrows(t *testing.T, n *brokertest.Net) {
	own, err := n.Brokers[0].Own()
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	js, err := jetstream.New(own)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "KV_"+subjects.StatusBucket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Replicas = 1
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	n.AwaitJetStream(3)
}

func listServers(t *testing.T, n *brokertest.Net) {
	o := n.Dial("ops", subjects.Operator)
	inbox := o.NewInbox()
	sub, err := o.SubscribeSync(inbox)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		t.Fatal(err)
	}
	var names []string
	for wait := soon; ; {
		m, err := sub.NextMsg(wait)
		if err != nil {
			break
		}
		var r struct{ Server server.ServerInfo }
		if err := json.Unmarshal(m.Data, &r); err != nil {
			t.Fatal(err)
		}
		if names = append(names, r.Server.Name); len(names) >= 3 {
			wait = 300 * time.Millisecond
		}
	}
	slices.Sort(names)
	if strings.Join(names, " ") != "b1 b2 b3" {
		t.Errorf("listed: %q", names)
	}
}

func remoteDisconnect(t *testing.T, n *brokertest.Net) {
	m := n.Brokers[0].Dial(n.Options("m1", subjects.Manager)...)
	sub, err := m.SubscribeSync(subjects.Disconnect)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, m)
	found := 0
	for i, wait := 0, soon; ; i++ {
		// The interest travels to the other brokers behind the flush: so anew.
		if found == 0 {
			n.Brokers[1].Dial(append(n.Options("n1", "sip_proxy"), nats.Name(fmt.Sprint("boot-", i)))...).Close()
			wait = 200 * time.Millisecond
		}
		msg, err := sub.NextMsg(wait)
		if err != nil {
			if found > 0 || i > 50 {
				break
			}
			continue
		}
		var e server.DisconnectEventMsg
		if err := json.Unmarshal(msg.Data, &e); err != nil {
			t.Fatal(err)
		}
		if e.Client.User == "n1" && e.Server.Name == "b2" {
			found++
			wait = 200 * time.Millisecond
		}
	}
	if found != 1 {
		t.Errorf("one disconnection made %d events", found)
	}
}

func gossip(t *testing.T, n *brokertest.Net) {
	nc := n.Dial("n1", "sip_proxy")
	var want []string
	for _, b := range n.Brokers {
		want = append(want, b.Config.Listen)
	}
	brokertest.Eventually(t, soon, "three servers known", func() error {
		if got := nc.Servers(); len(got) < 3 {
			return fmt.Errorf("%q", got)
		}
		return nil
	})
	for _, s := range nc.Servers() {
		if !slices.ContainsFunc(want, func(w string) bool { return strings.HasSuffix(s, "://"+w) }) {
			t.Errorf("told of %s", s)
		}
	}
}

func jetStreamOfOne(t *testing.T, n *brokertest.Net) {
	b := n.Brokers[1]
	if err := b.Server().ShutdownJetStream(); err != nil {
		t.Fatal(err)
	}
	if s := b.JetStream(); s != broker.JetStreamOff {
		t.Errorf("state %s", s)
	}
	brokertest.Eventually(t, soon, "back", func() error {
		if s := b.JetStream(); s != broker.JetStreamOK {
			return fmt.Errorf("state %s", s)
		}
		return nil
	})
}

func restartAll(t *testing.T, n *brokertest.Net) {
	for _, b := range n.Brokers {
		b.Stop()
	}
	n.Brokers[0].Start()
	first := n.Brokers[0]
	if s := first.JetStream(); s != broker.JetStreamNoLeader {
		t.Errorf("one of three: state %s", s)
	}
	// Without a quorum everything but the buckets works.
	a, b := n.Dial("n1", "sip_proxy"), n.Dial("m1", subjects.Manager)
	sub, err := b.SubscribeSync(subjects.AllPresences)
	if err != nil {
		t.Fatal(err)
	}
	flush(t, b)
	if err := a.Publish(subjects.Presence("sip_proxy", "n1"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := sub.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		if m.Subject == subjects.Presence("sip_proxy", "n1") {
			break
		}
	}
	brokertest.StartAll(n.Brokers[1:]...)
	n.AwaitJetStream(3)
}
