package push

import (
	"sync"
	"time"

	"thor/subjects"
)

const (
	nodeAtOnce = 8               // notices that are being sent to one node
	breakAfter = 3               // notices in a row without an answer open a breaker…
	breakFor   = 2 * time.Second // …for this time
)

// A breaker is the circuit breaker of one node: while it is open the node is sent
// nothing, then one notice at a time probes whether the node answers again. So a
// silent node does not hold up the pushes to others.
type breaker struct {
	slots chan struct{} // one token for each notice that is being sent

	mu       sync.Mutex
	failures int // in a row
	until    time.Time
	probing  bool
}

// allow reports whether the node may be sent a notice now; record has to follow.
func (b *breaker) allow(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < breakAfter {
		return true
	}
	if b.probing || now.Before(b.until) {
		return false
	}
	b.probing = true
	return true
}

func (b *breaker) record(answered bool, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	if answered {
		b.failures = 0
		return
	}
	if b.failures++; b.failures >= breakAfter {
		b.until = now.Add(breakFor)
	}
}

func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.failures = 0
}

// breakers are those of all nodes.
type breakers struct {
	mu     sync.Mutex
	byNode map[subjects.NodeID]*breaker
}

func newBreakers() breakers { return breakers{byNode: make(map[subjects.NodeID]*breaker)} }

func (x *breakers) of(node subjects.NodeID) *breaker {
	x.mu.Lock()
	defer x.mu.Unlock()
	b := x.byNode[node]
	if b == nil {
		b = &breaker{slots: make(chan struct{}, nodeAtOnce)}
		x.byNode[node] = b
	}
	return b
}

// reset closes all breakers, and drops those of nodes that are no members: the
// members have changed.
func (x *breakers) reset(isMember func(subjects.NodeID) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for node, b := range x.byNode {
		if b.close(); !isMember(node) {
			delete(x.byNode, node)
		}
	}
}
