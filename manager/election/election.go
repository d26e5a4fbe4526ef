// Package election decides which manager is the active one: a lease in a
// JetStream key-value bucket, won and renewed by compare-and-set only.
//
// The lease is long (15 s), because a bucket cannot be written for 4 to 9 s
// while its raft group replaces a dead leader, and a healthy manager must not
// be deposed by that. Take-over is quick all the same: when a broker reports
// that the leader's connection ended, or, asked for it, knows of no such
// connection, a candidate writes over the leader's last revision, which fails
// harmlessly if the leader has renewed meanwhile. So does one that has heard of no
// renewal for longer than the leader trusts its lease: the end of a connection whose
// broker is cut off with its client is told by none.
//
// The holder trusts its lease for 10 s by its own monotonic clock, counted from
// before the renewal was sent. It promises no exclusion of belief, only of
// effect: each term has an epoch of its own, and readers drop the lower one.
//
// [Machine] decides, without clock and I/O; [Election] is the goroutine and the
// JetStream around it.
//
// It is not a lock service: it elects one manager of one network.
package election

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
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
	TakeOver      = 300 * time.Millisecond // from the end of the leader's connection to the attempt: it may be back elsewhere
	orderDelay    = 50 * time.Millisecond  // per place in the order, so that the preferred candidate is first
	ackWait       = 2 * time.Second
	silentWatch   = 3 * time.Second        // if nothing is told for so long, something was missed, or the bucket is gone
	conflictWait  = 250 * time.Millisecond // the same after a write that met another revision
	updatesAtOnce = 64
	voidAfter     = LocalLease + 500*time.Millisecond // a lease of which nothing newer was heard for so long is void: its holder has stopped
	reserve       = 1000                              // generations reserved ahead of the published one
	confirmWait   = 300 * time.Millisecond            // for the first renewal through a new connection, before which the holder publishes nothing
	// A holder whose lease was not stored for longAway may have been replaced, and listens to members before it goes on:
	// all of a network of up to 500 beat within a second, and so many of a larger one.
	longAway     = 3 * time.Second
	listenFor    = 1500 * time.Millisecond
	standstill   = 1500 * time.Millisecond // between two steps of a holder, which renews each second: its process stood still
	retryEvery   = 250 * time.Millisecond  // after what failed
	mayLeadEvery = 50 * time.Millisecond   // while this manager may not campaign
	askAfter     = 2 * time.Second         // of a lease that is not renewed, the holder's broker is asked for its connection
	askEvery     = time.Second
	lastStatus   = 3 * time.Second // for the manager to publish its last status when it ends
)

// Config says who campaigns.
type Config struct {
	Conn *nats.Conn
	Node subjects.NodeID
	Boot string // NATS client name of Conn
	// The functions must be safe for concurrent use. Known, Order and MayLead (nil:
	// always) are the fields of Facts.
	Known   func() subjects.Mark
	Order   func() int
	MayLead func() bool
	// StoreEpoch stores epoch and ceiling on disk before they take effect. When it
	// fails they do all the same: the lease and all that have seen a status of
	// the epoch remember it too.
	StoreEpoch func(epoch, ceiling uint64) error
	// Absurd is told of a stored lease that cannot be true, once for each; nil
	// ignores it.
	Absurd func(*subjects.BadMessage)
	Log    zerolog.Logger
}

// An Election campaigns for one manager: it does what its Machine decides.
type Election struct {
	cfg     Config
	bucket  *Bucket
	machine *Machine
	terms   chan *Term
	updates chan *Entry   // what is stored, as it is told
	results chan Input    // of operations
	done    chan struct{} // closed when Run has ended

	mu         sync.Mutex
	closed     []link        // told, and not handed to the machine yet
	storeFails bool          // StoreEpoch failed last time
	ended      chan struct{} // holds a token when there are some

	via    atomic.Pointer[string] // as connection returns it
	online chan struct{}          // holds a token when via names a new connection

	// Of Run alone.
	term       *Term // in force; nil: none
	complained bool  // that the lease cannot be read or written
}

// New makes an election; nothing happens before Run.
func New(cfg Config) *Election {
	return &Election{
		cfg:     cfg,
		machine: NewMachine(cfg.Node, cfg.Boot, func(d time.Duration) time.Duration { return rand.N(d) }),
		terms:   make(chan *Term), updates: make(chan *Entry, updatesAtOnce), results: make(chan Input), done: make(chan struct{}),
		ended: make(chan struct{}, 1), online: make(chan struct{}, 1),
	}
}

// Terms delivers each term that was won.
func (e *Election) Terms() <-chan *Term { return e.terms }

// Disconnected tells that the connection via, "<broker>#<connection>", of the
// process boot ended at a living broker. It never blocks, and may be called
// before Run: an election that begins then has not missed it.
func (e *Election) Disconnected(boot, via string) {
	e.mu.Lock()
	if len(e.closed) >= maxClosed {
		e.closed = e.closed[1:]
	}
	e.closed = append(e.closed, link{boot, via})
	e.mu.Unlock()
	select {
	case e.ended <- struct{}{}:
	default:
	}
}

// Run campaigns until ctx ends; then it steps down from a term that it holds.
func (e *Election) Run(ctx context.Context) error {
	defer close(e.done)
	var err error
	if e.bucket, err = OpenBucket(e.cfg.Conn, subjects.ElectionBucket); err != nil {
		return fmt.Errorf("election: %w", err)
	}
	stop, err := e.hear()
	if err != nil {
		return err
	}
	defer stop()
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	defer unfollow()
	e.follow(following)
	timer := time.NewTimer(0)
	defer timer.Stop()
	end, last := ctx.Done(), (<-chan time.Time)(nil)
	for {
		select {
		case <-end:
			end = nil
			last = time.After(lastStatus) // the manager steps down when it has published its last status
		case <-last:
			e.step(ctx, StepDown{})
		case <-e.stepDown():
			e.step(ctx, StepDown{})
		case u := <-e.updates:
			e.step(ctx, Told{u})
		case <-e.ended:
			for _, l := range e.takeClosed() {
				e.step(ctx, Closed(l))
			}
		case r := <-e.results:
			e.step(ctx, r)
		case <-e.online:
			e.step(ctx, Online{})
		case <-timer.C:
			e.step(ctx, Woken{})
		}
		if end == nil && e.term == nil && !e.machine.Busy() {
			return nil
		}
		timer.Reset(e.sleep())
	}
}

// sleep is how long the machine has nothing to do unless something happens.
func (e *Election) sleep() time.Duration {
	at := e.machine.Next()
	if at.IsZero() {
		return time.Hour
	}
	return time.Until(at)
}

// stepDown is closed when the term in force is to end.
func (e *Election) stepDown() <-chan struct{} {
	if e.term == nil {
		return nil
	}
	return e.term.stepDown
}

func (e *Election) takeClosed() []link {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := e.closed
	e.closed = nil
	return out
}

// hear takes in what JetStream tells of each write to the lease, from whichever
// broker leads the bucket, and what brokers answer about connections.
func (e *Election) hear() (stop func(), err error) {
	stored, err := e.cfg.Conn.Subscribe(subjects.LeaseStored, func(m *nats.Msg) {
		if u, err := parseEntry(m); err == nil {
			e.push(u)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("election: subscribe to %s: %w", subjects.LeaseStored, err)
	}
	closed, err := e.cfg.Conn.Subscribe(subjects.ClosedConnections, func(m *nats.Msg) {
		if l, err := subjects.ParseLink(m.Data); err == nil && m.Subject == subjects.ClosedAt(l.Broker()) {
			e.Disconnected(l.Boot, l.Via)
		}
	})
	if err != nil {
		_ = stored.Unsubscribe()
		return nil, fmt.Errorf("election: subscribe to %s: %w", subjects.ClosedConnections, err)
	}
	return func() { _, _ = stored.Unsubscribe(), closed.Unsubscribe() }, nil // fail only when the connection is closed
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
