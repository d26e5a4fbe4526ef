package broker

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

// historyTwice is how long JetStream knows a record that was stored, so that a
// manager may send it again.
const historyTwice = 2 * time.Minute

// historyConfig is the stream of the history. The oldest records make room; none is
// removed by request, not even by brokers.
func (b *Broker) historyConfig(copies int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: subjects.HistoryStream, Subjects: []string{subjects.AllHistory}, Storage: jetstream.FileStorage, Replicas: copies,
		MaxAge: subjects.HistoryAge, MaxBytes: min(subjects.HistoryBytes, b.cfg.DiskLimit/2), Discard: jetstream.DiscardOld,
		DenyDelete: true, DenyPurge: true, AllowDirect: true, Duplicates: historyTwice,
	}
}

// keepHistory sees that the stream of the history is there. Nothing waits for it:
// the network goes on without. failing is whether it failed the last time.
func (b *Broker) keepHistory(ctx context.Context, js jetstream.JetStream, copies int, failing *bool) {
	err := ensure(ctx, js, b.historyConfig, copies)
	if err != nil && !*failing && ctx.Err() == nil {
		b.log.Warn().Err(err).Msg("the history cannot be recorded, retrying")
	}
	*failing = err != nil
}
