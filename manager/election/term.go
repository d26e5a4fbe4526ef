package election

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"thor/subjects"
)

// A Term is one leadership. It is safe for concurrent use.
type Term struct {
	Epoch uint64
	First uint64 // generation to begin above

	until        atomic.Int64 // local lease, as nanoseconds since base
	base         time.Time
	ceiling      atomic.Uint64
	wanted       atomic.Uint64
	done         chan struct{}
	doneOnce     sync.Once
	stepDown     chan struct{}
	stepDownOnce sync.Once
}

// Valid reports whether the holder may publish at now, a time with a monotonic part.
func (t *Term) Valid(now time.Time) bool {
	select {
	case <-t.done:
		return false
	default:
		return now.Sub(t.base) < time.Duration(t.until.Load())
	}
}

// Done is closed when the term has ended.
func (t *Term) Done() <-chan struct{} { return t.done }

// Ceiling is the greatest generation that may be published; used tells the
// newest one, so that the next renewal reserves more in time. One goroutine
// calls it.
func (t *Term) Ceiling(used uint64) uint64 {
	if want := used + reserve; used+reserve/2 > t.ceiling.Load() && want > t.wanted.Load() {
		t.wanted.Store(want)
	}
	return t.ceiling.Load()
}

// StepDown ends the term on purpose.
func (t *Term) StepDown() { t.stepDownOnce.Do(func() { close(t.stepDown) }) }

func (t *Term) end() { t.doneOnce.Do(func() { close(t.done) }) }

func (t *Term) extend(sent time.Time) { t.until.Store(int64(sent.Add(LocalLease).Sub(t.base))) }

// lead renews until the term ends.
func (e *Election) lead(ctx context.Context, t *Term) error {
	defer t.end()
	select {
	case e.terms <- t:
	case <-ctx.Done():
		return e.release(ctx, t)
	}
	renew := time.NewTicker(RenewEvery)
	defer renew.Stop()
	// The others take over soon after a connection ended that no renewal through
	// another one has followed.
	online := e.cfg.Conn.StatusChanged(nats.CONNECTED)
	defer e.cfg.Conn.RemoveStatusListener(online)
	for {
		select {
		case <-ctx.Done():
			// The manager steps down when it has published its last status; it has as long as the lease.
			select {
			case <-t.stepDown:
			case <-time.After(3 * time.Second):
			}
			return e.release(ctx, t)
		case <-t.stepDown:
			return e.release(ctx, t)
		case u := <-e.updates:
			if e.deposed(u, t) {
				return nil
			}
		case <-online:
			renew.Reset(RenewEvery)
			if err := e.renew(ctx, t); err != nil {
				return e.logEnd(err.Error())
			}
		case <-renew.C:
			if err := e.renew(ctx, t); err != nil {
				return e.logEnd(err.Error())
			}
		}
	}
}

func (e *Election) logEnd(why string) error {
	e.cfg.Log.Warn().Str("reason", why).Msg("no longer the active manager")
	return nil
}

// deposed takes what is stored now and reports whether another manager leads.
func (e *Election) deposed(u *Entry, t *Term) bool {
	if u == nil || u.Revision < e.seen.revision {
		return false
	}
	mine := e.seen.revision
	e.note(u)
	if e.seen.held && e.mine(t) {
		return false
	}
	_ = e.logEnd(fmt.Sprintf("revision %d replaced our %d", u.Revision, mine))
	return true
}

// mine reports whether the lease that was told last is t's.
func (e *Election) mine(t *Term) bool {
	return e.seen.lease.Boot == e.cfg.Boot && e.seen.lease.Epoch == t.Epoch
}

// errLost ends a term: the lease is another's, or may have expired.
var errLost = errors.New("election: lease lost")

func (e *Election) renew(ctx context.Context, t *Term) error {
	sent := time.Now()
	if !t.Valid(sent) {
		return errLost
	}
	ceiling := max(t.ceiling.Load(), t.wanted.Load())
	if ceiling > t.ceiling.Load() {
		e.storeEpoch(t.Epoch, ceiling)
	}
	rev, err := e.write(ctx, t, ceiling, e.seen.revision)
	switch {
	case err == nil:
		e.seen.revision = rev
		t.extend(sent)
		t.ceiling.Store(ceiling)
		return nil
	case IsConflict(err):
		return e.reconcile(ctx, t, ceiling)
	}
	return nil // unknown fate: the local lease decides, and the next renewal tells
}

// reconcile finds out, after a renewal met another revision than the one we
// know, what is stored now: our own renewal whose acknowledgement was lost,
// another manager's lease, or nothing, because the bucket lost its memory. Into
// nothing the lease is written again: still by compare-and-set, in the same term.
func (e *Election) reconcile(ctx context.Context, t *Term, ceiling uint64) error {
	if err := e.look(ctx); err != nil {
		return errLost
	}
	timeout := time.NewTimer(ackWait)
	defer timeout.Stop()
	for {
		select {
		case <-timeout.C:
			return errLost
		case u := <-e.updates:
			if u != nil {
				e.note(u)
				continue
			}
		}
		break // all that is stored has been told
	}
	if e.seen.held {
		if e.mine(t) {
			return nil
		}
		return errLost
	}
	sent := time.Now()
	if !t.Valid(sent) {
		return errLost
	}
	rev, err := e.write(ctx, t, ceiling, e.seen.revision)
	if err != nil {
		return errLost
	}
	e.seen.revision, e.seen.held = rev, true
	t.extend(sent)
	t.ceiling.Store(ceiling)
	e.cfg.Log.Warn().Uint64("epoch", t.Epoch).Uint64("rev", rev).Msg("the election bucket had lost the lease, wrote it again")
	return nil
}

// release gives the lease back, so that another may follow at once.
func (e *Election) release(ctx context.Context, t *Term) error {
	t.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWait)
	defer cancel()
	if err := e.bucket.Release(ctx, subjects.ElectionKey, e.seen.revision); err != nil {
		e.cfg.Log.Warn().Err(err).Msg("could not give the lease back, it will expire")
		return nil
	}
	e.cfg.Log.Info().Uint64("epoch", t.Epoch).Str("event", "resigned").Msg("gave the lease back")
	return nil
}
