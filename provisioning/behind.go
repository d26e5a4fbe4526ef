package provisioning

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"thor/overlay/audit"
	"thor/subjects"
)

const (
	mostBehind = 10_000           // changes of all nodes that are known to be missing
	toldFor    = 10 * time.Second // a change of the lookup is heard of by then
	mostTold   = 10_000
)

// A delivery is what one call waits for.
type delivery struct {
	mu     sync.Mutex
	open   int
	done   chan struct{}
	behind map[subjects.NodeID]struct{}
}

// A waiter is one key of a delivery.
type waiter struct {
	*delivery
	revision uint64
}

// settle notes that a key of the delivery is told, except to the nodes left.
func (d *delivery) settle(left []subjects.NodeID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range left {
		d.behind[n] = struct{}{}
	}
	if d.open--; d.open == 0 {
		close(d.done)
	}
}

// Deliver implements Pusher.
func (l *Live) Deliver(ctx context.Context, ns Notices) []subjects.NodeID {
	if len(ns) == 0 {
		return nil
	}
	c := &l.courier
	d := &delivery{open: len(ns), done: make(chan struct{}), behind: make(map[subjects.NodeID]struct{})}
	c.mu.Lock()
	for _, n := range ns {
		c.waiters[n.Key] = append(c.waiters[n.Key], &waiter{d, n.Revision})
	}
	c.mu.Unlock()
	l.Push(ns)
	select {
	case <-d.done:
	case <-ctx.Done():
		l.abandon(d, ns)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.behind))
}

// abandon ends the waiting of a delivery: what is not told by now is noted as
// missing at the nodes that are to hold it.
func (l *Live) abandon(d *delivery, ns Notices) {
	c, t := &l.courier, l.table()
	for _, n := range ns {
		c.mu.Lock()
		before := len(c.waiters[n.Key])
		c.waiters[n.Key] = slices.DeleteFunc(c.waiters[n.Key], func(w *waiter) bool { return w.delivery == d })
		waited := before > len(c.waiters[n.Key])
		if len(c.waiters[n.Key]) == 0 {
			delete(c.waiters, n.Key)
		}
		var left []subjects.NodeID
		f := c.flying[n.Key]
		if f != nil && f.revision >= n.Revision {
			left = slices.Sorted(maps.Keys(f.missing))
		}
		c.mu.Unlock()
		if !waited {
			continue
		}
		if f == nil {
			left = slices.DeleteFunc(holders(t, n.Key), l.keepsNothing)
		}
		l.noteBehind(n, nil, left)
		d.settle(left)
	}
}

// release ends the waiting for n: it is told, except to the nodes left. The caller
// holds mu.
func (c *courier) release(n subjects.SubscriberNotice, left []subjects.NodeID) {
	ws := c.waiters[n.Key]
	rest := ws[:0]
	for _, w := range ws {
		if w.revision > n.Revision {
			rest = append(rest, w)
			continue
		}
		w.settle(left)
	}
	if c.waiters[n.Key] = rest; len(rest) == 0 {
		delete(c.waiters, n.Key)
	}
}

// A backlog is what one node does not hold although it was to: revisions by key.
type backlog struct {
	since   time.Time
	changes int // since it began
	keys    map[string]uint64
}

// noteBehind notes which nodes of those that are to hold n do not. A node with a
// backlog may give what was before n, to a phone too: log, metric and audit name
// it, and tell when it has caught up. Without nodes, others are not judged.
func (l *Live) noteBehind(n subjects.SubscriberNotice, nodes, left []subjects.NodeID) {
	c, now := &l.courier, time.Now()
	c.mu.Lock()
	total := 0
	for _, b := range c.behind {
		total += len(b.keys)
	}
	var fell []subjects.NodeID
	for _, node := range left {
		b := c.behind[node]
		if b == nil {
			b = &backlog{since: now, keys: make(map[string]uint64)}
			c.behind[node] = b
			fell = append(fell, node)
		}
		if _, known := b.keys[n.Key]; !known && total < mostBehind {
			b.changes++
			total++
		} else if !known {
			continue
		}
		b.keys[n.Key] = max(b.keys[n.Key], n.Revision)
	}
	done := c.settled(n, func(node subjects.NodeID) bool {
		holds := slices.Contains(nodes, node) && !slices.Contains(left, node)
		gone := len(nodes) > 0 && len(left) == 0 && !slices.Contains(nodes, node) // others serve the key now
		return holds || gone
	})
	c.mu.Unlock()
	for _, node := range fell {
		l.log.Warn().Str("peer", string(node)).Str("event", "behind").Uint64("rev", n.Revision).
			Msg("change answered, node does not hold it")
		l.auditPush(node, audit.Failed, fmt.Sprintf("does not hold a change that was answered, and may give what was before: revision %d", n.Revision), 1)
	}
	l.tellCaughtUp(done, now)
}

// settled takes n out of the backlogs of the nodes for which it holds, and returns
// those that are empty then. The caller holds mu.
func (c *courier) settled(n subjects.SubscriberNotice, holds func(subjects.NodeID) bool) map[subjects.NodeID]*backlog {
	done := make(map[subjects.NodeID]*backlog)
	for node, b := range c.behind {
		if r, missing := b.keys[n.Key]; missing && r <= n.Revision && holds(node) {
			delete(b.keys, n.Key)
		}
		if len(b.keys) == 0 {
			done[node] = b
			delete(c.behind, node)
		}
	}
	return done
}

// missing are the changes in all backlogs.
func (c *courier) missing() (ns Notices) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range c.behind {
		for k, r := range b.keys {
			ns = append(ns, subjects.SubscriberNotice{Key: k, Revision: r})
		}
	}
	return ns
}

// settleOthers takes out of the backlogs what another server has told the nodes:
// what was missing before and is not pending in the store any more.
func (l *Live) settleOthers(missing, pending Notices) {
	if len(missing) == 0 {
		return
	}
	open := make(map[string]bool, len(pending))
	for _, n := range pending {
		open[n.Key] = true
	}
	done := make(map[subjects.NodeID]*backlog)
	c := &l.courier
	c.mu.Lock()
	for _, n := range missing {
		if !open[n.Key] {
			maps.Copy(done, c.settled(n, func(subjects.NodeID) bool { return true }))
		}
	}
	c.mu.Unlock()
	l.tellCaughtUp(done, time.Now())
}

func (l *Live) tellCaughtUp(done map[subjects.NodeID]*backlog, now time.Time) {
	for node, b := range done {
		why := "holds all changes"
		if !l.isMember(node) {
			why = "serves no subscriber any more"
		}
		l.log.Info().Str("peer", string(node)).Str("event", "caught_up").Dur("after_ms", now.Sub(b.since)).Int("changes", b.changes).
			Str("reason", why).Msg("node is no longer behind")
		l.auditPush(node, audit.OK, fmt.Sprintf("%s after %s", why, now.Sub(b.since).Round(time.Millisecond)), b.changes)
	}
}

func (l *Live) auditPush(node subjects.NodeID, outcome, detail string, count int) {
	l.cfg.Audit.Write(audit.Entry{
		Who: string(l.net.ID()), Act: audit.Push, What: audit.Member(l.cfg.Role, node), Outcome: outcome, Detail: detail, Count: count,
	})
}

// A toldNotice is a change that nodes hold.
type toldNotice struct {
	subjects.SubscriberNotice
	nodes []subjects.NodeID
	at    time.Time
}

// noteTold remembers for a while who was told of n.
func (c *courier) noteTold(n subjects.SubscriberNotice, nodes []subjects.NodeID, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := 0
	for old < len(c.told) && (now.Sub(c.told[old].at) > toldFor || len(c.told)-old >= mostTold) {
		old++
	}
	c.told = append(slices.Delete(c.told, 0, old), toldNotice{n, nodes, now})
}

// tellNewcomers repeats the changes of a moment ago whose nodes are others by the
// new lookup: a node that became the owner before this server heard of it may have
// read what was before, and would not ask again.
func (l *Live) tellNewcomers(now time.Time) {
	t, c := l.table(), &l.courier
	c.mu.Lock()
	told := slices.Clone(c.told)
	c.mu.Unlock()
	var again Notices
	for _, n := range told {
		if now.Sub(n.at) > toldFor {
			continue
		}
		for _, node := range holders(t, n.Key) {
			if !slices.Contains(n.nodes, node) && !l.keepsNothing(node) {
				again = append(again, n.SubscriberNotice)
				break
			}
		}
	}
	l.Push(again)
}
