package provisioning

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"thor/overlay/lookup"
	"thor/subjects"
)

// Bounds of pushing.
const (
	maxQueue   = 10_000          // changed keys that wait; more are found in the store
	pushAtOnce = 64              // notices under way; owner and heir pull for each
	nodeAtOnce = 8               // of them to one node
	noticeTime = 4 * time.Second // a node has to pull before it answers
	breakAfter = 3               // silences of a node in a row…
	breakFor   = 2 * time.Second // …after which it is left alone for a while
	ackAtOnce  = 256             // acknowledgements in one transaction
	storeTime  = 5 * time.Second
)

// A courier is the state of pushing.
type courier struct {
	wake    chan struct{} // something waits
	soon    chan struct{} // something failed
	moved   chan struct{} // the lookup changed
	slots   chan struct{} // one token for each notice under way
	acks    chan subjects.SubscriberNotice
	working sync.WaitGroup

	mu      sync.Mutex
	waiting map[string]*subjects.SubscriberNotice
	order   []string
	flying  map[string]*inFlight // the notice under way of the highest revision
	waiters map[string][]*waiter // calls that are answered once a key is told
	told    []toldNotice         // lately, the oldest first
	behind  map[subjects.NodeID]*backlog
	nodes   map[subjects.NodeID]*target
	pending int // in the store, when last looked at
}

// An inFlight is a notice under way, with the nodes that have not said yet that
// they hold it. Its map is guarded by the courier's mu.
type inFlight struct {
	revision uint64
	missing  map[subjects.NodeID]struct{}
}

// A target is a node that is told of changes. One that stays silent is left
// alone, then asked by one notice at a time: it must not hold up the others.
type target struct {
	slots   chan struct{}
	silent  int       // questions without an answer in a row
	until   time.Time // it is left alone
	probing bool      // one notice finds out whether it answers again
}

func (c *courier) init() {
	c.wake, c.soon = make(chan struct{}, 1), make(chan struct{}, 1)
	c.moved = make(chan struct{}, 1)
	c.slots = make(chan struct{}, pushAtOnce)
	c.acks = make(chan subjects.SubscriberNotice, ackAtOnce)
	c.waiting, c.flying = make(map[string]*subjects.SubscriberNotice), make(map[string]*inFlight)
	c.waiters, c.behind = make(map[string][]*waiter), make(map[subjects.NodeID]*backlog)
	c.nodes = make(map[subjects.NodeID]*target)
}

// signal leaves a token in ch, which holds one.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Push makes changes known to the nodes that are responsible. It never blocks.
// What does not find room is found in the store later.
func (l *Live) Push(ns Notices) {
	c := &l.courier
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range ns {
		n := ns[i]
		if w := c.waiting[n.Key]; w != nil {
			if n.Revision > w.Revision {
				*w = n
			}
			continue
		}
		if len(c.order) >= maxQueue {
			l.metrics.overflow.Inc()
			signal(c.soon)
			continue
		}
		c.waiting[n.Key] = &n
		c.order = append(c.order, n.Key)
	}
	signal(c.wake)
}

// next takes the notice that has waited longest.
func (c *courier) next() (subjects.SubscriberNotice, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.order) == 0 {
		return subjects.SubscriberNotice{}, false
	}
	k := c.order[0]
	c.order = c.order[1:]
	n := c.waiting[k]
	delete(c.waiting, k)
	return *n, true
}

// dispatch delivers what Push took note of. When ctx ends it delivers what is
// left, within noticeTime.
func (l *Live) dispatch(ctx context.Context) {
	c := &l.courier
	last, cancel := outlive(ctx, noticeTime)
	defer func() {
		c.working.Wait()
		cancel()
	}()
	for {
		n, ok := c.next()
		if !ok {
			select {
			case <-c.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		select {
		case c.slots <- struct{}{}:
		case <-last.Done():
			return
		}
		c.working.Go(func() {
			defer func() { <-c.slots }()
			if l.deliver(last, n) != nil {
				signal(c.soon)
			}
		})
	}
}

// outlive is a context that ends d after ctx.
func outlive(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return longer, cancel
}

// deliver tells every node that is to hold the key, and notes the push as
// acknowledged once all of them do.
func (l *Live) deliver(ctx context.Context, n subjects.SubscriberNotice) error {
	c := &l.courier
	f := &inFlight{revision: n.Revision, missing: make(map[subjects.NodeID]struct{})}
	c.mu.Lock()
	if old := c.flying[n.Key]; old == nil || old.revision <= n.Revision {
		c.flying[n.Key] = f
	}
	c.mu.Unlock()
	nodes, err := l.tell(ctx, n, f)
	c.mu.Lock()
	if c.flying[n.Key] == f {
		delete(c.flying, n.Key)
	}
	left := slices.Sorted(maps.Keys(f.missing))
	c.release(n, left)
	c.mu.Unlock()
	l.noteBehind(n, nodes, left)
	if err != nil {
		l.metrics.pushes.WithLabelValues("failed").Inc()
		l.log.Debug().Err(err).Uint64("rev", n.Revision).Msg("push not acknowledged, to be repeated")
		return err
	}
	c.noteTold(n, nodes, time.Now())
	l.metrics.pushes.WithLabelValues("held").Inc()
	select {
	case c.acks <- n:
	case <-ctx.Done(): // the next one finds it pending, and the nodes say that they hold it
	}
	return nil
}

// tell returns the nodes that are to hold n. f.missing are those that do not.
func (l *Live) tell(ctx context.Context, n subjects.SubscriberNotice, f *inFlight) ([]subjects.NodeID, error) {
	n.V, n.From = subjects.Version, l.net.ID()
	t := l.table()
	if t == nil || t.Len() == 0 {
		return nil, lookup.ErrNoMembers
	}
	nodes := slices.DeleteFunc(holders(t, n.Key), l.keepsNothing)
	c := &l.courier
	c.mu.Lock()
	for _, node := range nodes {
		f.missing[node] = struct{}{}
	}
	c.mu.Unlock()
	errs := make(chan error, len(nodes))
	for _, node := range nodes {
		go func() {
			err := l.tellOne(ctx, node, n)
			if err == nil {
				c.mu.Lock()
				delete(f.missing, node)
				c.mu.Unlock()
			}
			errs <- err
		}()
	}
	var first error
	for range nodes {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return nodes, first
}

// keepsNothing reports whether node is a member that keeps no subscribers: it
// asks a database or somebody else, and need not be told.
func (l *Live) keepsNothing(node subjects.NodeID) bool {
	s := l.net.View().Status
	if s == nil {
		return false
	}
	m := s.Member(l.cfg.Role, node)
	return m != nil && m.Attrs[subjects.AttrSubscribers] == ""
}

// tellOne is done when the node holds what n speaks of.
func (l *Live) tellOne(ctx context.Context, node subjects.NodeID, n subjects.SubscriberNotice) error {
	t := l.courier.target(node)
	select {
	case t.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-t.slots }()
	if !l.courier.enter(t, time.Now()) {
		return fmt.Errorf("tell %s: it did not answer a moment ago", node)
	}
	ctx, cancel := context.WithTimeout(ctx, noticeTime)
	defer cancel()
	r, err := l.net.Ask(ctx, subjects.AgentRequestFrom(l.net.ID(), node, subjects.VerbSubscriber), n.Encode())
	l.courier.heard(t, err == nil, time.Now())
	switch {
	case err != nil:
		return fmt.Errorf("tell %s: %w", node, err)
	case r.Code != "":
		return fmt.Errorf("tell %s: %s: %s", node, r.Code, r.Text)
	}
	h, err := subjects.ParseSubscriberHeld(r.Data)
	switch {
	case err != nil:
		return fmt.Errorf("tell %s: answer: %w", node, err)
	case h.Key != n.Key || h.Revision < n.Revision:
		return fmt.Errorf("tell %s: it holds revision %d, not %d", node, h.Revision, n.Revision)
	}
	return nil
}

func (c *courier) target(node subjects.NodeID) *target {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.nodes[node]
	if t == nil {
		t = &target{slots: make(chan struct{}, nodeAtOnce)}
		c.nodes[node] = t
	}
	return t
}

// enter reports whether t may be asked now; heard is to follow.
func (c *courier) enter(t *target, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t.silent < breakAfter {
		return true
	}
	if t.probing || now.Before(t.until) {
		return false
	}
	t.probing = true
	return true
}

func (c *courier) heard(t *target, answered bool, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t.probing = false
	if answered {
		t.silent = 0
		return
	}
	if t.silent++; t.silent >= breakAfter {
		t.until = now.Add(breakFor)
	}
}

// forget has every node asked again, and drops those that are gone: who they
// are has changed.
func (c *courier) forget(has func(subjects.NodeID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, t := range c.nodes {
		if t.silent = 0; !has(n) {
			delete(c.nodes, n)
		}
	}
}

// acknowledge tells the store which pushes are done, until told is closed.
func (l *Live) acknowledge(ctx context.Context, told <-chan struct{}) {
	c := &l.courier
	sick := false
	for {
		var done Notices
		select {
		case n := <-c.acks:
			done = append(done, n)
		case <-told:
			if len(c.acks) == 0 {
				return
			}
		}
		for more := true; more && len(done) < ackAtOnce; {
			select {
			case n := <-c.acks:
				done = append(done, n)
			default:
				more = false
			}
		}
		to, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
		err := l.cfg.Store.Acknowledge(to, done)
		cancel()
		if (err != nil) != sick {
			sick = err != nil
			if sick {
				l.log.Error().Err(err).Msg("acknowledged pushes cannot be noted, they will be repeated")
			} else {
				l.log.Info().Msg("acknowledged pushes are noted again")
			}
		}
		if err != nil {
			signal(c.soon)
		}
	}
}
