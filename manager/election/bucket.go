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

// OpenBucket opens or makes a memory bucket, on three servers if there are
// three. It enlarges one that was made when there were fewer.
func OpenBucket(ctx context.Context, js jetstream.JetStream, name string, ttl bool) (jetstream.KeyValue, error) {
	ctx, cancel := context.WithTimeout(ctx, bucketWait)
	defer cancel()
	cfg := jetstream.KeyValueConfig{Bucket: name, Storage: jetstream.MemoryStorage, History: 1, Replicas: 3}
	if ttl {
		cfg.LimitMarkerTTL = time.Second
	}
	kv, err := js.CreateOrUpdateKeyValue(ctx, cfg)
	if err == nil {
		return kv, nil
	}
	if have, e := js.KeyValue(ctx, name); e == nil {
		return have, nil
	}
	cfg.Replicas = 1
	kv, e1 := js.CreateOrUpdateKeyValue(ctx, cfg)
	if e1 != nil {
		return nil, fmt.Errorf("make the bucket %s: %w", name, errors.Join(err, e1))
	}
	return kv, nil
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
	kv, err := OpenBucket(ctx, e.js, subjects.ElectionBucket, true)
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
