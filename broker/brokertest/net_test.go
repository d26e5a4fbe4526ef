package brokertest_test

import (
	"testing"

	"thor/broker/brokertest"
	"thor/manager/election"
	"thor/subjects"
)

func TestClusterHoldsThreeCopies(t *testing.T) {
	n := brokertest.Cluster(t, 3)
	b, err := election.OpenBucket(n.Dial("m1", subjects.Manager), subjects.StatusBucket)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), subjects.StatusKey, []byte("x")); err != nil {
		t.Fatal(err)
	}
}
