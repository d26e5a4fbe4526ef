package manager

import (
	"time"

	"thor/subjects"
)

// askers limits the answers with a snapshot, which is much larger than its
// request: so many at once for the programs of a node, then one each interval.
type askers struct {
	nodes  map[subjects.NodeID]time.Time // when the node would have no answer in advance
	pruned time.Time
}

const (
	answersAtOnce  = 8 // more than the programs of a node that ask after a change of manager
	answerInterval = 500 * time.Millisecond
)

// allow reports whether the node of a reply subject, which brokers check, may
// have an answer now.
func (a *askers) allow(reply string, now time.Time) bool {
	node := subjects.ReplyNode(reply)
	if a.nodes == nil {
		a.nodes, a.pruned = make(map[subjects.NodeID]time.Time), now
	}
	if now.Sub(a.pruned) > time.Minute {
		a.pruned = now
		for n, t := range a.nodes {
			if t.Before(now) {
				delete(a.nodes, n)
			}
		}
	}
	t := a.nodes[node]
	if t.Before(now) {
		t = now
	}
	t = t.Add(answerInterval)
	if t.Sub(now) > answersAtOnce*answerInterval {
		return false
	}
	a.nodes[node] = t
	return true
}
