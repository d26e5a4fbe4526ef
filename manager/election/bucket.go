package election

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

const bucketWait = 1500 * time.Millisecond // without a JetStream leader requests are not answered at all

// A Bucket is what OpenBucket opens or makes, in memory.
type Bucket struct {
	Name    string
	Expires bool // keys may have a time to live
}

// The buckets of the managers.
var (
	leases   = Bucket{Name: subjects.ElectionBucket, Expires: true}
	Statuses = Bucket{Name: subjects.StatusBucket}
)

// OpenBucket opens a bucket, or makes it on three servers if there are three. It
// enlarges one that was made when there were fewer, and never makes one smaller.
func OpenBucket(ctx context.Context, js jetstream.JetStream, b Bucket) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	cfg := jetstream.KeyValueConfig{Bucket: b.Name, Storage: jetstream.MemoryStorage, History: 1, Replicas: 3}
	if b.Expires {
		cfg.LimitMarkerTTL = time.Second
	}
	have, err := js.KeyValue(ctx, b.Name)
	if err == nil {
		return enlarge(ctx, js, have, cfg), nil
	}
	if !errors.Is(err, jetstream.ErrBucketNotFound) { // it may be there
		return nil, fmt.Errorf("open the bucket %s: %w", b.Name, err)
	}
	kv, err := js.CreateKeyValue(ctx, cfg)
	if err == nil {
		return kv, nil
	}
	cfg.Replicas = 1
	kv, e1 := js.CreateKeyValue(ctx, cfg) // fails if somebody else has made it meanwhile
	if e1 != nil {
		return nil, fmt.Errorf("make the bucket %s: %w", b.Name, errors.Join(err, e1))
	}
	return kv, nil
}

// enlarge gives a bucket the replicas of cfg, if there are servers for them now.
func enlarge(ctx context.Context, js jetstream.JetStream, have jetstream.KeyValue, cfg jetstream.KeyValueConfig) jetstream.KeyValue {
	s, err := have.Status(ctx)
	if err != nil {
		return have
	}
	is, ok := s.(*jetstream.KeyValueBucketStatus)
	if !ok || is.StreamInfo().Config.Replicas >= cfg.Replicas {
		return have
	}
	cfg.Storage = is.StreamInfo().Config.Storage // cannot be changed
	if kv, err := js.UpdateKeyValue(ctx, cfg); err == nil {
		return kv
	}
	return have
}

// open opens the bucket, and makes it if there is none. The first time it also
// gives it the replicas that it should have; later that is left to the leader.
func (e *Election) open(ctx context.Context) error {
	if e.kv != nil {
		ctx, cancel := context.WithTimeout(ctx, bucketWait)
		defer cancel()
		kv, err := e.js.KeyValue(ctx, subjects.ElectionBucket)
		if !errors.Is(err, jetstream.ErrBucketNotFound) {
			if err != nil {
				return fmt.Errorf("open the bucket %s: %w", subjects.ElectionBucket, err)
			}
			e.kv = kv
			return nil
		}
	}
	kv, err := OpenBucket(ctx, e.js, leases)
	if err == nil {
		e.kv = kv
	}
	return err
}

// write puts the lease by compare-and-set. kv.Update would drop the TTL. An
// error that is no conflict leaves open whether it was stored.
func (e *Election) write(ctx context.Context, t *Term, ceiling, revision uint64) (uint64, error) {
	l := subjects.Lease{
		V: subjects.Version, Manager: e.cfg.Node, Boot: e.cfg.Boot, Via: e.via(), Epoch: t.Epoch, Ceiling: ceiling,
		Time: time.Now().UTC().Truncate(time.Millisecond),
	}
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	ack, err := e.js.PublishMsg(ctx,
		&nats.Msg{Subject: "$KV." + subjects.ElectionBucket + "." + subjects.ElectionKey, Data: l.Encode()},
		jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithMsgTTL(TTL), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, fmt.Errorf("write the lease at revision %d: %w", revision, err)
	}
	return ack.Sequence, nil
}

// via names the connection of now, as announcements and DISCONNECT events do.
func (e *Election) via() string {
	cid, err := e.cfg.Conn.GetClientID()
	server := e.cfg.Conn.ConnectedServerName()
	if err != nil || server == "" {
		return ""
	}
	return fmt.Sprintf("%s#%d", server, cid)
}

// isConflict: somebody else was first. Replicated streams say 10164, others 10071.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164)
}
