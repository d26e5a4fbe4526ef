package provisioning

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"time"

	"thor/overlay"
	"thor/subjects"
)

// trustFor is how long a read of the Trust serves all nodes: each asks every few
// seconds.
const trustFor = time.Second

// A trusting is the Trust as read last.
type trusting struct {
	mu   sync.Mutex
	last *subjects.Trust
	read time.Time
}

// get reads the Trust, unless it was read a moment ago.
func (x *trusting) get(ctx context.Context, read func(context.Context) (*subjects.Trust, error)) (*subjects.Trust, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.last != nil && time.Since(x.read) < trustFor {
		return x.last, nil
	}
	t, err := read(ctx)
	if err != nil {
		return nil, err
	}
	t.V, t.Digest = subjects.Version, ""
	sum := sha256.Sum256(t.Encode())
	t.Digest = hex.EncodeToString(sum[:16])
	x.last, x.read = t, time.Now()
	return t, nil
}

// giveTrust answers a TrustRequest.
func (l *Live) giveTrust(ctx context.Context, r *overlay.Request) *subjects.Reply {
	const verb = subjects.VerbTrust
	a, no := l.cleared(verb, r)
	if no != nil {
		return no
	}
	q, err := subjects.ParseTrustRequest(r.Data)
	if err != nil {
		return l.refuse(verb, a, subjects.ErrorBad, err.Error())
	}
	t, err := l.trust.get(ctx, l.cfg.Store.Trust)
	if err != nil {
		l.log.Debug().Err(err).Msg("read the trust for a node")
		return l.refuse(verb, a, subjects.ErrorFailed, "the database does not answer")
	}
	if q.Have == t.Digest {
		t = &subjects.Trust{V: subjects.Version, Digest: t.Digest, Same: true}
	}
	if t.MorePeers {
		l.log.Error().Int("peers", len(t.Peers)).Msg("too many trusted peers, proxies do not know all of them")
	}
	l.metrics.answers.WithLabelValues(verb, "ok").Inc()
	return &subjects.Reply{V: subjects.Version, Data: t.Encode()}
}
