package broker_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/broker/brokertest"
	"thor/subjects"
)

// Four brokers of a network without sites. When their configuration says where they are, and two
// copies of a stream lie in one site, one of them moves to the site that has none, and nothing is lost.
func TestStreamsThatExistMoveApart(t *testing.T) {
	t.Parallel()
	n := brokertest.Cluster(t, 4)
	key := subjects.BucketKey(subjects.StatusBucket, subjects.StatusKey)
	if _, err := n.Dial("m1", subjects.Manager).Request(key, []byte("kept"), 5*time.Second); err != nil {
		t.Fatal(err)
	}
	at := make(map[string]subjects.Site)
	awaitCopies(t, n, n.Brokers[0], subjects.BucketStream(subjects.StatusBucket), func(brokers map[string]bool) bool {
		sites := []subjects.Site{"ams", "ams", "fra"}
		for _, b := range n.Brokers {
			if at[b.Node] = "lon"; brokers[b.Node] {
				at[b.Node], sites = sites[0], sites[1:]
			}
		}
		return true
	})
	for i, b := range n.Brokers { // one by one, as an operator does
		b.Config.Site, b.Config.JetStreamSites = at[b.Node], []string{"ams", "ams", "fra", "lon"}
		b.Stop()
		b.Start()
		for _, name := range streamNames {
			awaitCopies(t, n, n.Brokers[(i+1)%4], name, func(map[string]bool) bool { return true })
		}
	}
	for _, name := range streamNames {
		awaitCopies(t, n, n.Brokers[0], name, func(brokers map[string]bool) bool {
			used := make(map[subjects.Site]bool)
			for b := range brokers {
				used[at[b]] = true
			}
			return len(used) == 3
		})
	}
	js, err := jetstream.New(n.Dial("op1", subjects.Operator))
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), subjects.BucketStream(subjects.StatusBucket))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetLastMsgForSubject(t.Context(), key); err != nil || string(m.Data) != "kept" {
		t.Errorf("%+v, %v", m, err)
	}
}

var streamNames = []string{subjects.BucketStream(subjects.ElectionBucket), subjects.BucketStream(subjects.StatusBucket), subjects.HistoryStream}

// awaitCopies waits until a stream has three current copies, and where they are is right.
func awaitCopies(t *testing.T, n *brokertest.Net, b *brokertest.Server, name string, right func(brokers map[string]bool) bool) {
	t.Helper()
	nc := b.Dial(n.Options("op1", subjects.Operator)...)
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	brokertest.Eventually(t, 120*time.Second, "the copies of "+name, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		s, err := js.Stream(ctx, name)
		if err != nil {
			return err
		}
		c := s.CachedInfo().Cluster
		if c == nil || c.Leader == "" || len(c.Replicas) != 2 {
			return fmt.Errorf("not yet: %+v", c)
		}
		brokers := map[string]bool{c.Leader: true}
		for _, r := range c.Replicas {
			if !r.Current || r.Offline {
				return fmt.Errorf("%s is behind", r.Name)
			}
			brokers[r.Name] = true
		}
		if !right(brokers) {
			return fmt.Errorf("they are at %v", brokers)
		}
		return nil
	})
}
