package broker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

// A bucket is a key-value bucket of the managers. Brokers make it, since no
// certificate may make a stream.
type bucket struct {
	name    string
	keys    []string // that managers write, patterns allowed
	expires bool     // keys may have a time to live
	tells   string   // subject on which each write to keys[0] is published again; empty: none
}

// buckets are all that there are. They live in memory: managers can rebuild
// what is in them.
var buckets = []bucket{
	{name: subjects.ElectionBucket, keys: []string{subjects.ElectionKey}, expires: true, tells: subjects.LeaseStored},
	{name: subjects.StatusBucket, keys: []string{subjects.StatusKey, subjects.RoleKeys}},
}

func (b bucket) stream() string { return subjects.BucketStream(b.name) }

const (
	bucketCopies = 3                      // of a cluster that has so many brokers; with fewer there is one copy
	bucketTick   = 250 * time.Millisecond // until all buckets are there; then jetStreamTick
	bucketWait   = 1500 * time.Millisecond
)

// config is what nats-server knows as a key-value bucket with one value a key.
func (b bucket) config(copies int) jetstream.StreamConfig {
	c := jetstream.StreamConfig{
		Name: b.stream(), Subjects: []string{subjects.BucketKey(b.name, ">")}, Storage: jetstream.MemoryStorage, Replicas: copies,
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, AllowRollup: true, DenyDelete: true, AllowDirect: true,
	}
	if b.expires {
		c.AllowMsgTTL, c.SubjectDeleteMarkerTTL = true, time.Second
	}
	if b.tells != "" {
		c.RePublish = &jetstream.RePublish{Source: subjects.BucketKey(b.name, b.keys[0]), Destination: b.tells}
	}
	return c
}

// ensure makes a stream of so many copies, gives one that was made with fewer
// more, and a bucket of an earlier version its republication. It never makes a
// stream smaller.
func ensure(ctx context.Context, js jetstream.JetStream, config func(copies int) jetstream.StreamConfig, copies int) error {
	ctx, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	name := config(copies).Name
	have, err := js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, config(copies))
		if err != nil && copies > 1 { // not all of the brokers have JetStream yet
			_, err = js.CreateStream(ctx, config(1))
		}
	}
	if err != nil {
		return fmt.Errorf("make the stream %s: %w", name, err)
	}
	if have == nil {
		return nil
	}
	is := have.CachedInfo().Config
	want := config(max(copies, is.Replicas))
	want.Storage, want.MaxBytes = is.Storage, is.MaxBytes // the one cannot be changed, the other depends on the broker that made it
	told := want.RePublish == nil || is.RePublish != nil && *is.RePublish == *want.RePublish
	if told && is.Replicas == want.Replicas {
		return nil
	}
	if _, err := js.UpdateStream(ctx, want); err != nil {
		return fmt.Errorf("change the stream %s: %w", name, err)
	}
	return nil
}

// keepBuckets sees that the buckets are there, until ctx ends. Of a cluster the
// broker does it that leads JetStream.
func (b *Broker) keepBuckets(ctx context.Context, s *server.Server, own *nats.Conn) error {
	js, err := jetstream.New(own)
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	var failing, unrecorded, refused bool
	var spreadAt time.Time
	var stuck stuckGroups
	copies := func() int {
		if len(remoteNames(s))+1 >= bucketCopies {
			return bucketCopies
		}
		return 1
	}
	for {
		next := bucketTick
		b.endStuck(ctx, s, js, &stuck)
		if jetStreamState(s) == JetStreamOK && (!s.JetStreamIsClustered() || s.JetStreamIsLeader()) {
			var errs []error
			for _, k := range buckets {
				errs = append(errs, ensure(ctx, js, k.config, copies()))
			}
			err := errors.Join(errs...)
			if err != nil && !failing && ctx.Err() == nil {
				b.log.Warn().Err(err).Msg("managers' buckets not ready, retrying")
			}
			if failing = err != nil; !failing {
				next = jetStreamTick
				b.keepHistory(ctx, js, copies(), &unrecorded)
				if b.cfg.spreads() && time.Now().After(spreadAt) {
					b.spread(ctx, js, own, &refused)
					spreadAt = time.Now().Add(spreadEvery)
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(next):
		}
	}
}
