package election

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"thor/subjects"
)

const getWait = 1500 * time.Millisecond // without a JetStream leader requests may not be answered at all

// ErrNoBucket is the error of a bucket that does not exist, yet or any more:
// brokers make it.
var ErrNoBucket = errors.New("the bucket does not exist yet: brokers make it when JetStream has a leader")

// A Bucket is one of the managers' key-value buckets. A manager may neither make
// nor watch it: it writes its keys, and reads them by direct get. Its methods may
// be called concurrently.
type Bucket struct {
	nc   *nats.Conn
	js   jetstream.JetStream
	name string
}

// An Entry is what is stored under a key.
type Entry struct {
	Revision uint64
	Created  time.Time // by the clock of the broker that stored it
	Held     bool      // false: what is stored says that the value was given back, or expired
	Value    []byte
}

// OpenBucket returns the bucket of that name. It sends nothing.
func OpenBucket(nc *nats.Conn, name string) (*Bucket, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("open the bucket %s: %w", name, err)
	}
	return &Bucket{nc, js, name}, nil
}

func (b *Bucket) subject(key string) string { return subjects.BucketKey(b.name, key) }

// Get returns what is stored under key, nil if nothing is. Any copy of the bucket
// answers, so it may be of a while ago: only a compare-and-set decides anything.
func (b *Bucket) Get(ctx context.Context, key string) (*Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, getWait)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, "$JS.API.DIRECT.GET.KV_"+b.name+"."+b.subject(key), nil)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, fmt.Errorf("read %s of %s: %w", key, b.name, ErrNoBucket)
	case err != nil:
		return nil, fmt.Errorf("read %s of %s: %w", key, b.name, err)
	case m.Header.Get("Status") == "404":
		return nil, nil
	case m.Header.Get("Status") != "":
		return nil, fmt.Errorf("read %s of %s: %s %s", key, b.name, m.Header.Get("Status"), m.Header.Get("Description"))
	}
	return parseEntry(m)
}

// parseEntry reads a message that JetStream sent from a stream: the answer to a
// direct get, or one that was published again when it was stored.
func parseEntry(m *nats.Msg) (*Entry, error) {
	h := m.Header
	rev, err := strconv.ParseUint(h.Get(jetstream.SequenceHeader), 10, 64)
	if err != nil || rev == 0 {
		return nil, fmt.Errorf("stored message without a sequence: %q", h.Get(jetstream.SequenceHeader))
	}
	at, err := time.Parse(time.RFC3339Nano, h.Get(jetstream.TimeStampHeaer))
	if err != nil {
		return nil, fmt.Errorf("stored message without a time: %w", err)
	}
	held := h.Get("KV-Operation") == "" && h.Get("Nats-Marker-Reason") == ""
	return &Entry{Revision: rev, Created: at, Held: held, Value: m.Data}, nil
}

// Put stores value, whatever is there.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	return b.publish(ctx, &nats.Msg{Subject: b.subject(key), Data: value})
}

// Replace stores value if what is stored has this revision, 0 for nothing. A
// value with a time to live is given back when that has passed; ttl is in whole
// seconds, 0 for none. An error for which [IsConflict] is false leaves open
// whether it was stored.
func (b *Bucket) Replace(ctx context.Context, key string, value []byte, revision uint64, ttl time.Duration) (uint64, error) {
	o := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0)}
	if ttl > 0 {
		o = append(o, jetstream.WithMsgTTL(ttl))
	}
	return b.publish(ctx, &nats.Msg{Subject: b.subject(key), Data: value}, o...)
}

// Release gives the value back that has this revision.
func (b *Bucket) Release(ctx context.Context, key string, revision uint64) error {
	m := nats.NewMsg(b.subject(key))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	_, err := b.publish(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision), jetstream.WithRetryAttempts(0))
	return err
}

func (b *Bucket) publish(ctx context.Context, m *nats.Msg, o ...jetstream.PublishOpt) (uint64, error) {
	ack, err := b.js.PublishMsg(ctx, m, o...)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// IsConflict reports whether another was first. Replicated streams say 10164,
// others 10071.
func IsConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164)
}
