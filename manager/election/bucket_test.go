package election_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"thor/manager/election"
)

// A JetStream without a leader answers nothing at all.
type mute struct {
	jetstream.JetStream
	made bool
}

func (*mute) KeyValue(context.Context, string) (jetstream.KeyValue, error) {
	return nil, context.DeadlineExceeded
}

func (m *mute) CreateKeyValue(context.Context, jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	m.made = true
	return nil, nil
}

func (m *mute) CreateOrUpdateKeyValue(ctx context.Context, c jetstream.KeyValueConfig) (jetstream.KeyValue, error) {
	if c.Replicas > 1 {
		return nil, context.DeadlineExceeded
	}
	return m.CreateKeyValue(ctx, c)
}

// A bucket that cannot be seen just now may have three copies: it is neither
// made anew nor changed to one.
func TestABucketIsNotMadeSmallerOnAPassingError(t *testing.T) {
	js := &mute{}
	if _, err := election.OpenBucket(t.Context(), js, election.Statuses); err == nil || js.made {
		t.Errorf("error %v, made %v", err, js.made)
	}
}
