package broker_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"

	"thor/broker"
	"thor/broker/brokertest"
	"thor/subjects"
)

// A group of JetStream that could not write for a moment, as without free file descriptors, is given up by
// nats-server until it starts anew: with one more broker down it has no majority. The broker sees that and
// starts JetStream again. A bucket that lost its memory so, and the third copy with the broker that is down, is made anew.
func TestGroupsThatCouldNotWriteComeBack(t *testing.T) {
	n := brokertest.Cluster(t, 3)
	n.AwaitJetStream(3)
	broken, stopped := n.Brokers[0], n.Brokers[1]
	if err := unhealthy(broken); err != nil {
		t.Fatal(err)
	}
	restore := obstruct(t, broken.Config.StoreDir)
	stopped.Stop() // its groups elect other leaders: votes are written
	brokertest.Eventually(t, soon, "groups are given up", func() error {
		if err := unhealthy(broken); err == nil || !strings.Contains(err.Error(), "write error") {
			nudge(broken) // whichever of the two leads: an election makes both write their votes
			nudge(n.Brokers[2])
			return fmt.Errorf("they are not: %v", err)
		}
		return nil
	})
	restore() // JetStream may have been started in vain before, and is again after a pause
	brokertest.Eventually(t, 3*soon, "all groups are whole without the third broker", func() error { return unhealthy(broken) })
	if s := broken.JetStream(); s != broker.JetStreamOK {
		t.Error(s)
	}
}

// unhealthy is what nats-server says of JetStream.
func unhealthy(b *brokertest.Server) error {
	h := b.Server().Healthz(&server.HealthzOptions{Details: true})
	var errs []error
	for _, e := range h.Errors {
		errs = append(errs, errors.New(e.Error))
	}
	return errors.Join(errs...)
}

// nudge has groups whose leader is b elect another.
func nudge(b *brokertest.Server) {
	for _, s := range []string{subjects.BucketStream(subjects.ElectionBucket), subjects.BucketStream(subjects.StatusBucket), subjects.HistoryStream} {
		_ = b.Server().JetStreamStepdownStream("THOR", s) // fails where another leads
	}
}

// obstruct lets no group of streams write its votes, until the returned function is called.
func obstruct(t *testing.T, store string) (restore func()) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(store, "jetstream", "*", "_js_", "S-R3*", "tav.idx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no groups in ", store, err)
	}
	for _, f := range files {
		if err := errors.Join(os.Rename(f, f+".kept"), os.Mkdir(f, 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		for _, f := range files {
			if err := errors.Join(os.Remove(f), os.Rename(f+".kept", f)); err != nil {
				t.Error(err)
			}
		}
	}
}
