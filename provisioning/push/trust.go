package push

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"thor/overlay/subscriber"
	"thor/subjects"
)

// readFor is how long a read of the store serves all nodes: each asks every few
// seconds.
const readFor = time.Second

// A recentRead is what was last read of the store. Requests that come together share
// one read.
type recentRead[T any] struct {
	reads singleflight.Group

	mu   sync.Mutex
	last *T
	at   time.Time // when it was read
}

// get reads, unless that was done a moment ago. A request that ends does not end the
// read that others share.
func (c *recentRead[T]) get(ctx context.Context, read func(context.Context) (*T, error)) (*T, error) {
	c.mu.Lock()
	last, fresh := c.last, c.last != nil && time.Since(c.at) < readFor
	c.mu.Unlock()
	if fresh {
		return last, nil
	}
	result := c.reads.DoChan("", func() (any, error) {
		to, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		defer cancel()
		t, err := read(to)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.at = t, time.Now()
		return t, nil
	})
	select {
	case r := <-result:
		t, _ := r.Val.(*T)
		return t, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readTrust reads the Trust, with its digest.
func (p *Pusher) readTrust(ctx context.Context) (*subscriber.Trust, error) {
	t, err := p.cfg.Store.Trust(ctx)
	if err != nil {
		return nil, err
	}
	return withDigest(t), nil
}

func withDigest(t *subscriber.Trust) *subscriber.Trust {
	t.V, t.Digest = subjects.Version, ""
	sum := sha256.Sum256(t.Encode())
	t.Digest = hex.EncodeToString(sum[:16])
	return t
}
