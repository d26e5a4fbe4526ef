package brokertest_test

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"thor/broker/brokertest"
	"thor/subjects"
)

func TestClusterHoldsThreeCopies(t *testing.T) {
	n := brokertest.Cluster(t, 3)
	js, err := jetstream.New(n.Dial("m1", subjects.Manager))
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: subjects.StatusBucket, Storage: jetstream.MemoryStorage, Replicas: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), subjects.StatusKey, []byte("x")); err != nil {
		t.Fatal(err)
	}
}
