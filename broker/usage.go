package broker

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"thor/subjects"
)

// A violation is why a connection was cut: it sent more than its certificate may.
type violation struct {
	class string // of limits(), or "subscriptions"
	what  string // messages or bytes
}

func (v *violation) Error() string { return subjects.LimitExceeded + v.class + " " + v.what }

var (
	errNodeConnections = errors.New("too many connections of this node")
	errPayload         = errors.New("maximum payload exceeded")
)

// A penalty refuses a node that was cut too often.
type penalty struct{ left time.Duration }

func (p penalty) Error() string {
	return fmt.Sprintf("node refused for %v: it exceeded its limits too often", p.left.Round(time.Second))
}

const (
	maxCuts     = 3           // of a node…
	cutWindow   = time.Minute // …within this time…
	penaltyTime = time.Minute // …refuse it for this long
)

// A nodeUse is what all connections of a node use together.
type nodeUse struct {
	conns   int
	subs    int
	buckets [numTraffic]meter
	lists   meter       // answers with revocation lists
	counts  meter       // recounts of subscriptions
	cuts    []time.Time // within cutWindow
	refused time.Time   // until then
}

// usage counts by node. Its methods are for concurrent use; time is an argument.
type usage struct {
	maxConns, maxSubs int // of a node

	mu    sync.Mutex
	nodes map[subjects.NodeID]*nodeUse
}

func newUsage(maxConns, maxSubs int) *usage {
	return &usage{maxConns: maxConns, maxSubs: maxSubs, nodes: make(map[subjects.NodeID]*nodeUse)}
}

// A connUse is the part of one connection in what its node uses. The zero value
// has not entered; usage guards it.
type connUse struct {
	node   subjects.NodeID
	exempt bool // counted and never refused
	in     bool
	subs   int
}

// enter counts a connection, or refuses it.
func (u *usage) enter(t *connUse, now time.Time) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.nodes[t.node]
	if n == nil {
		n = &nodeUse{}
		u.nodes[t.node] = n
	}
	if !t.exempt {
		if left := n.refused.Sub(now); left > 0 {
			return penalty{left}
		}
		if n.conns >= u.maxConns {
			return errNodeConnections
		}
	}
	n.conns++
	t.in = true
	return nil
}

// leave takes back what a connection has counted.
func (u *usage) leave(t *connUse) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !t.in {
		return
	}
	n := u.nodes[t.node]
	n.conns--
	n.subs -= t.subs
	t.in, t.subs = false, 0
}

// subscribe adds d subscriptions, or reports that the node has too many.
func (u *usage) subscribe(t *connUse, d int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !t.in {
		return true // it is ending
	}
	n := u.nodes[t.node]
	if d > 0 && !t.exempt && n.subs+d > u.maxSubs {
		return false
	}
	n.subs += d
	t.subs += d
	return true
}

// take counts a message against the limits of the node, and reports whether the
// connection that sent it may go on. quiet says that this connection itself has
// sent little.
func (u *usage) take(node subjects.NodeID, class traffic, r rate, size int, quiet bool, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.nodes[node]
	if n == nil {
		return false
	}
	b := &n.buckets[class]
	return b.take(r, nodeShare, size, now) || quiet && b.within(r, nodeMost)
}

// listRate is of answers with revocation lists, which are much larger than the
// question: a member asks when it connects, and each ten minutes.
var listRate = rate{messages: 1, bytes: 1}

// list reports whether node, which may be connected to another broker, may have
// the revocation lists now. What is refused does not count.
func (u *usage) list(node subjects.NodeID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.nodes[node]
	if n == nil {
		n = &nodeUse{}
		u.nodes[node] = n
	}
	return n.lists.allow(listRate, now)
}

// recount reports whether the subscriptions of node may be counted anew now.
func (u *usage) recount(node subjects.NodeID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.nodes[node]
	return n != nil && n.counts.allow(recountRate, now)
}

// cut notes that a connection was cut, and reports whether the node is refused
// from now on.
func (u *usage) cut(node subjects.NodeID, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	n := u.nodes[node]
	if n == nil {
		return false
	}
	recent := n.cuts[:0]
	for _, t := range n.cuts {
		if now.Sub(t) < cutWindow {
			recent = append(recent, t)
		}
	}
	n.cuts = append(recent, now)
	if len(n.cuts) < maxCuts {
		return false
	}
	n.cuts = nil
	n.refused = now.Add(penaltyTime)
	return true
}

// prune forgets nodes of which nothing is left to know: a node that comes back
// sooner finds its buckets as it left them.
func (u *usage) prune(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for id, n := range u.nodes {
		last := n.refused
		for _, t := range n.cuts {
			if end := t.Add(cutWindow); end.After(last) {
				last = end
			}
		}
		for i := range n.buckets {
			if end := n.buckets[i].since.Add(burstSeconds * time.Second); end.After(last) {
				last = end
			}
		}
		if end := n.lists.since.Add(burstSeconds * time.Second); end.After(last) {
			last = end
		}
		if n.conns == 0 && now.After(last) {
			delete(u.nodes, id)
		}
	}
}
