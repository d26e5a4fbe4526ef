// Package election decides which manager is the active one: a lease in a
// JetStream key-value bucket, won and renewed by compare-and-set only.
//
// The lease is long (15 s), because a bucket cannot be written for 4 to 9 s
// while its raft group replaces a dead leader, and a healthy manager must not
// be deposed by that. Take-over is quick all the same: when a broker reports
// that the leader's connection ended, a candidate writes over the leader's last
// revision, which fails harmlessly if the leader has renewed meanwhile.
//
// The holder trusts its lease for 10 s by its own monotonic clock, counted from
// before the renewal was sent. It promises no exclusion of belief, only of
// effect: each term has an epoch of its own, and readers drop the lower one.
//
// It is not a lock service: it elects one manager of one network.
package election

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"

	"thor/subjects"
)

// The numbers of the lease; see the package comment for why.
const (
	TTL         = 15 * time.Second
	RenewEvery  = time.Second
	LocalLease  = 10 * time.Second       // shorter than TTL, so that the holder stops first
	TakeOver    = 300 * time.Millisecond // from the leader's DISCONNECT to the attempt: it may be back elsewhere
	rankDelay   = 50 * time.Millisecond  // per rank, so that the preferred candidate is first
	ackWait     = 2 * time.Second
	silentWatch = 12 * time.Second        // a watch that tells nothing for so long may be out of step; above LocalLease, so that the old leader has stopped
	reserve     = 1000                    // generations reserved ahead of the published one
	bucketWait  = 1500 * time.Millisecond // without a JetStream leader requests are not answered at all
	retryEvery  = 250 * time.Millisecond
	growEvery   = 30 * time.Second // the bucket is given more replicas when more brokers are there
	maxJump     = 1_000_000        // an epoch so far above the rest is a lie
)

// Config says who campaigns.
type Config struct {
	Conn *nats.Conn
	Node subjects.NodeID
	Boot string // NATS client name of Conn
	// Known is the greatest epoch and generation that this manager has heard of
	// anywhere: status, disk, members. It must be safe for concurrent use.
	Known func() subjects.Mark
	// Rank is this manager's place among the candidates by priority, 0 first.
	Rank func() int
	// MayLead reports whether this manager may campaign now; nil: always. It must
	// be safe for concurrent use.
	MayLead func() bool
	// Keep stores epoch and ceiling on disk before they take effect.
	Keep func(epoch, ceiling uint64) error
	Log  zerolog.Logger
}

// A Term is one reign. It is safe for concurrent use.
type Term struct {
	Epoch uint64
	First uint64 // generation to begin above

	until    atomic.Int64 // local lease, as nanoseconds since base
	base     time.Time
	ceiling  atomic.Uint64
	wanted   atomic.Uint64
	done     chan struct{}
	doneOnce sync.Once
	resign   chan struct{}
	resigned sync.Once
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
// newest one, so that the next renewal reserves more in time.
func (t *Term) Ceiling(used uint64) uint64 {
	if used+reserve/2 > t.ceiling.Load() {
		t.wanted.Store(used + reserve)
	}
	return t.ceiling.Load()
}

// Resign ends the term on purpose.
func (t *Term) Resign() { t.resigned.Do(func() { close(t.resign) }) }

func (t *Term) end() { t.doneOnce.Do(func() { close(t.done) }) }

func (t *Term) extend(sent time.Time) { t.until.Store(int64(sent.Add(LocalLease).Sub(t.base))) }

// An Election campaigns for one manager.
type Election struct {
	cfg   Config
	js    jetstream.JetStream
	kv    jetstream.KeyValue
	terms chan *Term
	lost  chan disconnect

	updates  <-chan jetstream.KeyValueEntry
	endWatch context.CancelFunc
	seen     seen
}

var errSilent = errors.New("election: nobody renews the lease")

type disconnect struct {
	node subjects.NodeID
	boot string
}

// seen is the newest state of the lease that the watcher told.
type seen struct {
	revision uint64
	lease    *subjects.Lease // the last one, also after it has gone
	held     bool
}

// New makes an election; nothing happens before Run.
func New(cfg Config) *Election {
	return &Election{cfg: cfg, terms: make(chan *Term), lost: make(chan disconnect, 16)}
}

// Terms delivers each term that was won.
func (e *Election) Terms() <-chan *Term { return e.terms }

// Disconnected tells that a client's connection ended at a living broker.
func (e *Election) Disconnected(node subjects.NodeID, boot string) {
	select {
	case e.lost <- disconnect{node, boot}:
	default: // the lease's end will do
	}
}

// Run campaigns until ctx ends; a term that is held then is resigned.
func (e *Election) Run(ctx context.Context) error {
	js, err := jetstream.New(e.cfg.Conn)
	if err != nil {
		return fmt.Errorf("election: %w", err)
	}
	e.js = js
	complained := false
	for ctx.Err() == nil {
		err := e.session(ctx)
		if ctx.Err() != nil {
			break
		}
		if errors.Is(err, errSilent) {
			continue
		}
		if err != nil && !complained {
			complained = true
			e.cfg.Log.Warn().Err(err).Msg("no election possible, trying again")
		} else if err == nil {
			complained = false
		}
		pause(ctx, retryEvery+rand.N(retryEvery))
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// session opens the bucket, follows the lease, and campaigns, until something breaks.
func (e *Election) session(ctx context.Context) error {
	kv, err := OpenBucket(ctx, e.js, subjects.ElectionBucket, true)
	if err != nil {
		return err
	}
	e.kv = kv
	defer e.unwatch()
	if err := e.watch(ctx); err != nil {
		return err
	}
	return e.follow(ctx)
}

// watch follows the lease from what is stored now. A bucket that was made anew,
// or lost its memory in a restart of all brokers, has other revisions than the
// old watch told: only the last lease is remembered, for its epoch.
func (e *Election) watch(ctx context.Context) error {
	e.unwatch()
	ctx, e.endWatch = context.WithCancel(ctx)
	w, err := e.kv.Watch(ctx, subjects.ElectionKey)
	if err != nil {
		return fmt.Errorf("watch the lease: %w", err)
	}
	e.updates = w.Updates()
	e.seen.revision, e.seen.held = 0, false
	return nil
}

func (e *Election) unwatch() {
	if e.endWatch != nil {
		e.endWatch()
	}
}

// follow is the life of a candidate.
func (e *Election) follow(ctx context.Context) error {
	attempt, silence := time.NewTimer(time.Hour), time.NewTimer(silentWatch)
	attempt.Stop()
	defer attempt.Stop()
	defer silence.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-silence.C:
			return errSilent
		case u, ok := <-e.updates:
			if !ok {
				return errors.New("the watch of the lease ended")
			}
			silence.Reset(silentWatch)
			e.note(u)
			if !e.seen.held {
				attempt.Reset(e.delay())
			} else {
				attempt.Stop() // its end, or the leader's, is told
			}
		case d := <-e.lost:
			if l := e.seen.lease; e.seen.held && l.Manager == d.node && l.Boot == d.boot {
				attempt.Reset(TakeOver + e.delay()/4)
			}
		case <-attempt.C:
			if e.cfg.MayLead != nil && !e.cfg.MayLead() {
				attempt.Reset(retryEvery)
				continue
			}
			term, err := e.win(ctx)
			if isConflict(err) {
				continue // the watch tells who was first, or its silence that it is out of step
			}
			if err != nil {
				return err
			}
			if err := e.lead(ctx, term); err != nil || ctx.Err() != nil {
				return err
			}
			return nil // begin again with a fresh view of the lease
		}
	}
}

// note takes one word of the watcher; nil marks the end of what was stored.
func (e *Election) note(u jetstream.KeyValueEntry) {
	if u == nil {
		return
	}
	e.seen.revision = u.Revision()
	if u.Operation() != jetstream.KeyValuePut {
		e.seen.held = false
		return
	}
	l, err := subjects.ParseLease(u.Value())
	if err != nil { // nobody but a manager may write it; take it over when it expires
		e.cfg.Log.Error().Err(err).Msg("lease refused")
		e.seen.held, e.seen.lease = true, &subjects.Lease{}
		return
	}
	e.seen.held, e.seen.lease = true, l
}

func (e *Election) delay() time.Duration {
	return time.Duration(e.cfg.Rank())*rankDelay + rand.N(rankDelay/2)
}

// next is the epoch and the ceiling of a new term.
func (e *Election) next() (epoch, first uint64) {
	known := e.cfg.Known()
	epoch, first = known.Epoch, known.Generation+2*reserve
	if l := e.seen.lease; l != nil && l.Epoch <= known.Epoch+maxJump {
		epoch = max(epoch, l.Epoch)
		if l.Epoch >= known.Epoch { // its ceiling is known exactly
			first = max(known.Generation, l.Ceiling)
		} else {
			first = max(first, l.Ceiling)
		}
	}
	return epoch + 1, first
}

// win tries once to become the leader.
func (e *Election) win(ctx context.Context) (*Term, error) {
	epoch, first := e.next()
	t := &Term{Epoch: epoch, First: first, base: time.Now(), done: make(chan struct{}), resign: make(chan struct{})}
	if err := e.cfg.Keep(epoch, first+reserve); err != nil {
		return nil, fmt.Errorf("keep the epoch on disk: %w", err)
	}
	rev, err := e.write(ctx, t, first+reserve, e.seen.revision)
	if err != nil {
		return nil, err
	}
	e.seen.revision = rev
	t.extend(t.base)
	t.ceiling.Store(first + reserve)
	e.cfg.Log.Info().Uint64("epoch", epoch).Uint64("rev", rev).Str("event", "elected").Msg("became the active manager")
	return t, nil
}

// write puts the lease by compare-and-set. kv.Update would drop the TTL.
func (e *Election) write(ctx context.Context, t *Term, ceiling, revision uint64) (uint64, error) {
	l := subjects.Lease{V: subjects.Version, Manager: e.cfg.Node, Boot: e.cfg.Boot, Epoch: t.Epoch, Ceiling: ceiling, Time: time.Now().UTC().Truncate(time.Millisecond)}
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

// isConflict: somebody else was first. Replicated streams say 10164, others 10071.
func isConflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == 10071 || api.ErrorCode == 10164)
}

// lead renews until the term ends.
func (e *Election) lead(ctx context.Context, t *Term) error {
	defer t.end()
	select {
	case e.terms <- t:
	case <-ctx.Done():
		return e.release(ctx, t)
	}
	renew, grow := time.NewTicker(RenewEvery), time.NewTicker(growEvery)
	defer renew.Stop()
	defer grow.Stop()
	for {
		select {
		case <-ctx.Done():
			// The shell resigns when it has said its last word; it has as long as the lease.
			select {
			case <-t.resign:
			case <-time.After(3 * time.Second):
			}
			return e.release(ctx, t)
		case <-t.resign:
			return e.release(ctx, t)
		case u, ok := <-e.updates:
			if !ok {
				return e.retire("the watch of the lease ended")
			}
			if e.deposed(u, t) {
				return nil
			}
		case <-grow.C:
			if _, err := OpenBucket(ctx, e.js, subjects.ElectionBucket, true); err != nil {
				e.cfg.Log.Debug().Err(err).Msg("bucket not enlarged")
			}
		case <-renew.C:
			if err := e.renew(ctx, t); err != nil {
				return e.retire(err.Error())
			}
		}
	}
}

func (e *Election) retire(why string) error {
	e.cfg.Log.Warn().Str("reason", why).Msg("no longer the active manager")
	return nil
}

// deposed takes a word of the watcher and reports whether somebody else leads.
func (e *Election) deposed(u jetstream.KeyValueEntry, t *Term) bool {
	if u == nil || u.Revision() < e.seen.revision {
		return false
	}
	mine := e.seen.revision
	e.note(u)
	l := e.seen.lease
	if e.seen.held && l != nil && l.Boot == e.cfg.Boot && l.Epoch == t.Epoch {
		return false
	}
	_ = e.retire(fmt.Sprintf("revision %d replaced our %d", u.Revision(), mine))
	return true
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
		if err := e.cfg.Keep(t.Epoch, ceiling); err != nil {
			e.cfg.Log.Error().Err(err).Msg("cannot keep the ceiling on disk")
			ceiling = t.ceiling.Load()
		}
	}
	rev, err := e.write(ctx, t, ceiling, e.seen.revision)
	switch {
	case err == nil:
		e.seen.revision = rev
		t.extend(sent)
		t.ceiling.Store(ceiling)
		return nil
	case isConflict(err):
		return e.reconcile(ctx, t, ceiling)
	}
	return nil // unknown fate: the local lease decides, and the next renewal tells
}

// reconcile finds out, after a renewal met another revision than the one we
// know, what is stored now: our own renewal whose acknowledgement was lost,
// another manager's lease, or nothing, because the bucket lost its memory. Into
// nothing the lease is written again: still by compare-and-set, in the same term.
func (e *Election) reconcile(ctx context.Context, t *Term, ceiling uint64) error {
	if err := e.watch(ctx); err != nil {
		return errLost
	}
	timeout := time.NewTimer(ackWait)
	defer timeout.Stop()
	for {
		select {
		case <-timeout.C:
			return errLost
		case u, ok := <-e.updates:
			if !ok {
				return errLost
			}
			if u != nil {
				e.note(u)
				continue
			}
		}
		break // all that is stored has been told
	}
	if l := e.seen.lease; e.seen.held {
		if l.Boot == e.cfg.Boot && l.Epoch == t.Epoch {
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
	e.cfg.Log.Warn().Uint64("epoch", t.Epoch).Uint64("rev", rev).Msg("the election bucket had lost the lease, wrote it again")
	return nil
}

// release gives the lease back, so that another may follow at once.
func (e *Election) release(ctx context.Context, t *Term) error {
	t.end()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), ackWait)
	defer cancel()
	if err := e.kv.Purge(ctx, subjects.ElectionKey, jetstream.LastRevision(e.seen.revision)); err != nil {
		e.cfg.Log.Warn().Err(err).Msg("could not give the lease back, it will expire")
		return nil
	}
	e.cfg.Log.Info().Uint64("epoch", t.Epoch).Str("event", "resigned").Msg("gave the lease back")
	return nil
}

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
