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

// trustFor is how long a read of the Trust serves all nodes: each requests it
// every few seconds.
const trustFor = time.Second

// A trustCache is the Trust as last read. Requests that come together share one
// read.
type trustCache struct {
	reads singleflight.Group

	mu   sync.Mutex
	last *subscriber.Trust
	at   time.Time // when it was read
}

// get reads the Trust, unless it was read a moment ago. A request that ends does
// not end the read that others share.
func (c *trustCache) get(ctx context.Context, read func(context.Context) (*subscriber.Trust, error)) (*subscriber.Trust, error) {
	c.mu.Lock()
	last, fresh := c.last, c.last != nil && time.Since(c.at) < trustFor
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
		t.V, t.Digest = subjects.Version, ""
		sum := sha256.Sum256(t.Encode())
		t.Digest = hex.EncodeToString(sum[:16])
		c.mu.Lock()
		defer c.mu.Unlock()
		c.last, c.at = t, time.Now()
		return t, nil
	})
	select {
	case r := <-result:
		t, _ := r.Val.(*subscriber.Trust)
		return t, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
