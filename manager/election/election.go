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
	"time"

	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"

	"thor/subjects"
)

// The numbers of the lease; see the package comment for why.
const (
	TTL           = 15 * time.Second
	RenewEvery    = time.Second
	LocalLease    = 10 * time.Second       // shorter than TTL, so that the holder stops first
	TakeOver      = 300 * time.Millisecond // from the leader's DISCONNECT to the attempt: it may be back elsewhere
	orderDelay    = 50 * time.Millisecond  // per place in the order, so that the preferred candidate is first
	ackWait       = 2 * time.Second
	silentWatch   = 3 * time.Second        // if nothing is told for so long, something was missed, or the bucket is gone
	conflictWait  = 250 * time.Millisecond // the same after a write that met another revision
	updatesAtOnce = 64
	stuckAfter    = 20 * time.Second // a lease that is not renewed and does not expire is void; above TTL
	reserve       = 1000             // generations reserved ahead of the published one
	retryEvery    = 250 * time.Millisecond
	maxJump       = 1_000_000 // an epoch so far above the rest is a lie
	maxLeap       = 1 << 40   // and so is such a generation
)

// Config says who campaigns.
type Config struct {
	Conn *nats.Conn
	Node subjects.NodeID
	Boot string // NATS client name of Conn
	// Known is the greatest epoch and generation that this manager has heard of
	// anywhere: status, disk, members. It must be safe for concurrent use.
	Known func() subjects.Mark
	// Order is this manager's place among the candidates by priority, 0 first.
	Order func() int
	// MayLead reports whether this manager may campaign now; nil: always. It must
	// be safe for concurrent use.
	MayLead func() bool
	// StoreEpoch stores epoch and ceiling on disk before they take effect. When it
	// fails they do all the same: the lease and all that have seen a status of
	// the epoch remember it too.
	StoreEpoch func(epoch, ceiling uint64) error
	// Absurd is told of a stored lease that cannot be true, once for each; nil
	// ignores it. Such a lease counts for nothing but its time.
	Absurd func(*subjects.BadMessage)
	Log    zerolog.Logger
}

// An Election campaigns for one manager.
type Election struct {
	cfg         Config
	bucket      *Bucket
	terms       chan *Term
	lost        chan struct{} // the holder's connection has ended
	closedConns closedConns

	updates    chan *Entry // what is stored; nil: all that look found has been told
	seen       seen
	storeFails bool // StoreEpoch failed last time
}

var errSilent = errors.New("election: no manager renews the lease")

// seen is the newest state of the lease that was told.
type seen struct {
	revision uint64
	held     bool
	lease    *subjects.Lease // the holder's, empty if it cannot be true
	last     *subjects.Lease // the last true one, also after it has gone

	stored  entry     // which that is
	changed time.Time // when that was first told
	missed  time.Time // since when nothing is stored, not even that it was given back; zero: something is
}

// An entry is one write to the bucket, also when the bucket was made anew.
type entry struct {
	revision uint64
	created  time.Time
}

// New makes an election; nothing happens before Run.
func New(cfg Config) *Election {
	return &Election{cfg: cfg, terms: make(chan *Term), lost: make(chan struct{}, 1), updates: make(chan *Entry, updatesAtOnce)}
}

// Terms delivers each term that was won.
func (e *Election) Terms() <-chan *Term { return e.terms }

// Disconnected tells that the connection via, "<broker>#<connection>", of the
// process boot ended at a living broker. It never blocks, and may be called
// before Run: an election that begins then has not missed it.
func (e *Election) Disconnected(boot, via string) {
	if e.closedConns.add(link{boot, via}) {
		select {
		case e.lost <- struct{}{}:
		default:
		}
	}
}

// Run campaigns until ctx ends; then it steps down from a term that it holds.
func (e *Election) Run(ctx context.Context) error {
	var err error
	if e.bucket, err = OpenBucket(e.cfg.Conn, subjects.ElectionBucket); err != nil {
		return fmt.Errorf("election: %w", err)
	}
	stop, err := e.hear()
	if err != nil {
		return err
	}
	defer stop()
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

// hear takes in what JetStream tells of each write to the lease, from whichever
// broker leads the bucket.
func (e *Election) hear() (stop func(), err error) {
	sub, err := e.cfg.Conn.Subscribe(subjects.LeaseStored, func(m *nats.Msg) {
		if u, err := parseEntry(m); err == nil {
			e.push(u)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("election: subscribe to %s: %w", subjects.LeaseStored, err)
	}
	return func() { _ = sub.Unsubscribe() }, nil // fails only when the connection is closed
}

// push hands an entry to the loop; of more than it can take, the oldest go.
func (e *Election) push(u *Entry) {
	for {
		select {
		case e.updates <- u:
			return
		default:
		}
		select {
		case <-e.updates:
		default:
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// session follows the lease and campaigns, until something breaks.
func (e *Election) session(ctx context.Context) error {
	if err := e.look(ctx); err != nil {
		return err
	}
	return e.follow(ctx)
}

// look begins anew from what is stored now, and then comes nil. A bucket that was
// made anew, or lost its memory in a restart of all brokers, has other revisions
// than the old one told: only the last lease is remembered, for its epoch.
func (e *Election) look(ctx context.Context) error {
	e.seen.revision, e.seen.held = 0, false
	u, err := e.bucket.Get(ctx, subjects.ElectionKey)
	if err != nil {
		return err
	}
	if u != nil {
		e.push(u)
	}
	e.push(nil)
	return nil
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
		case u := <-e.updates:
			silence.Reset(silentWatch)
			e.note(u)
			attempt.Reset(e.wait())
		case <-e.lost:
			if e.holderDisconnected() {
				attempt.Reset(e.wait())
			}
		case <-attempt.C:
			if e.cfg.MayLead != nil && !e.cfg.MayLead() {
				attempt.Reset(retryEvery)
				continue
			}
			term, err := e.win(ctx)
			if IsConflict(err) {
				silence.Reset(conflictWait) // it is told who was first, or this was not the newest revision
				continue
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

// note takes one entry of the watcher; nil marks the end of what was stored.
func (e *Election) note(u *Entry) {
	if u != nil && u.Revision < e.seen.revision {
		return // of a copy that is behind
	}
	if u == nil {
		if e.seen.revision == 0 && e.seen.missed.IsZero() {
			e.seen.missed = time.Now()
		}
		return
	}
	e.seen.revision, e.seen.missed = u.Revision, time.Time{}
	if x := (entry{u.Revision, u.Created}); x != e.seen.stored {
		e.seen.stored, e.seen.changed = x, time.Now()
	}
	e.seen.held = u.Held
	if !e.seen.held {
		return
	}
	l, err := subjects.ParseLease(u.Value)
	if err == nil {
		err = e.plausible(l)
	}
	if err != nil {
		e.absurd(err)
		e.seen.lease = &subjects.Lease{} // it has its time like any other
		return
	}
	e.seen.lease, e.seen.last = l, l
	e.closedConns.watch(link{l.Boot, l.Via})
}

// plausible refuses a lease whose numbers no history of this network can have
// led to.
func (e *Election) plausible(l *subjects.Lease) error {
	known := e.cfg.Known()
	if l.Epoch > known.Epoch+maxJump || l.Ceiling > known.Generation+maxLeap {
		return &subjects.BadMessage{Code: subjects.CodeAbsurd, Detail: fmt.Sprintf(
			"lease of %s with epoch %d and ceiling %d, known are %d and %d", l.Manager, l.Epoch, l.Ceiling, known.Epoch, known.Generation)}
	}
	return nil
}

func (e *Election) absurd(err error) {
	e.cfg.Log.Error().Err(err).Str("event", "rejected").Msg("lease refused")
	var bad *subjects.BadMessage
	if e.cfg.Absurd != nil && errors.As(err, &bad) {
		e.cfg.Absurd(bad)
	}
}

// wait is how long to wait before the next attempt, unless news come.
func (e *Election) wait() time.Duration {
	switch l := e.seen.lease; {
	case !e.seen.held && e.seen.revision == 0 && e.seen.last != nil:
		// Not given back, but lost with the bucket: its holder may rely on it
		// still, and is to write it again.
		return max(0, time.Until(e.seen.missed.Add(LocalLease))) + e.delay()
	case !e.seen.held:
		return e.delay()
	case l.Boot == e.cfg.Boot && l.Manager == e.cfg.Node:
		return 0 // of a term that has ended, or never began because its acknowledgement was lost
	case e.holderDisconnected():
		return TakeOver + e.delay()/4
	}
	return time.Until(e.seen.changed.Add(stuckAfter)) + e.delay()
}

// holderDisconnected reports whether the connection ended over which the holder of the
// lease wrote it. A lease that names none has been renewed since, or will be.
func (e *Election) holderDisconnected() bool {
	l := e.seen.lease
	return e.seen.held && l.Via != "" && e.closedConns.has(link{l.Boot, l.Via})
}

// delay lets the preferred candidate be first.
func (e *Election) delay() time.Duration {
	return time.Duration(e.cfg.Order())*orderDelay + rand.N(orderDelay/2)
}

// next is the epoch and the ceiling of a new term.
func (e *Election) next() (epoch, first uint64) {
	known := e.cfg.Known()
	epoch, first = known.Epoch, known.Generation+2*reserve
	if l := e.seen.last; l != nil {
		epoch = max(epoch, l.Epoch)
		if l.Epoch >= known.Epoch { // its ceiling is known exactly
			first = max(known.Generation, l.Ceiling)
		} else {
			first = max(first, l.Ceiling)
		}
	}
	return epoch + 1, first
}

// storeEpoch has epoch and ceiling stored on disk, as well as that goes.
func (e *Election) storeEpoch(epoch, ceiling uint64) {
	err := e.cfg.StoreEpoch(epoch, ceiling)
	if err != nil && !e.storeFails {
		e.cfg.Log.Error().Err(err).Uint64("epoch", epoch).Msg("cannot keep the epoch on disk, the others must remember it")
	}
	e.storeFails = err != nil
}

// win tries once to become the leader.
func (e *Election) win(ctx context.Context) (*Term, error) {
	epoch, first := e.next()
	t := &Term{Epoch: epoch, First: first, base: time.Now(), done: make(chan struct{}), stepDown: make(chan struct{})}
	e.storeEpoch(epoch, first+reserve)
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
