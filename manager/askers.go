package manager

import (
	"time"

	"thor/subjects"
)

// askers limits the answers with a snapshot, which is much larger than its
// request: so many bytes at once for the programs of a node, then so many a second.
type askers struct {
	nodes  map[subjects.NodeID]time.Time // when the node would have no answer in advance
	pruned time.Time
}

// An operator's script asks with each command, and all programs of a node after a
// change of manager: of a network of some hundred members they get 128 answers at
// once and 16 a second, of the largest snapshot 8 and one.
const (
	answersAtOnce = 8 << 20  // bytes
	answerRate    = 1 << 20  // bytes a second
	leastAnswer   = 64 << 10 // as which a smaller one counts
)

// answerTime is how long the rate takes for an answer.
func answerTime(bytes int) time.Duration {
	return time.Duration(max(bytes, leastAnswer)) * time.Second / answerRate
}

// may reports whether the node of a reply subject may have a small answer now.
func (a *askers) may(reply string, now time.Time) bool {
	return a.nodes[subjects.ReplyNode(reply)].Add(answerTime(leastAnswer)).Sub(now) <= answerTime(answersAtOnce)
}

// allow reports whether the node of a reply subject, which brokers check, may
// have an answer of that size now.
func (a *askers) allow(reply string, bytes int, now time.Time) bool {
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
	t = t.Add(answerTime(bytes))
	if t.Sub(now) > answerTime(answersAtOnce) {
		return false
	}
	a.nodes[node] = t
	return true
}
