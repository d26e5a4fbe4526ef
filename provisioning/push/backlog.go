package push

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"thor/overlay/audit"
	"thor/overlay/subscriber"
	"thor/subjects"
)

// maxBacklog is how many changes the backlogs of all nodes hold together.
const maxBacklog = 10_000

// A backlog is what one node does not hold although it is a holder.
type backlog struct {
	since   time.Time
	changes int               // since it began
	keys    map[string]uint64 // revisions
}

// backlogs are those of the nodes that are behind.
type backlogs struct {
	mu     sync.Mutex
	byNode map[subjects.NodeID]*backlog
}

func newBacklogs() backlogs { return backlogs{byNode: make(map[subjects.NodeID]*backlog)} }

// add puts n into the backlogs of the nodes, and returns those that had none.
func (x *backlogs) add(n subscriber.Notice, nodes []subjects.NodeID, now time.Time) (fell []subjects.NodeID) {
	x.mu.Lock()
	defer x.mu.Unlock()
	total := 0
	for _, b := range x.byNode {
		total += len(b.keys)
	}
	for _, node := range nodes {
		b := x.byNode[node]
		if b == nil {
			b = &backlog{since: now, keys: make(map[string]uint64)}
			x.byNode[node] = b
			fell = append(fell, node)
		}
		if _, known := b.keys[n.Key]; !known {
			if total >= maxBacklog {
				continue
			}
			b.changes++
			total++
		}
		b.keys[n.Key] = max(b.keys[n.Key], n.Revision)
	}
	return fell
}

// remove takes n out of the backlogs of the nodes for which holds is true, and
// returns the backlogs that are empty then.
func (x *backlogs) remove(n subscriber.Notice, holds func(subjects.NodeID) bool) map[subjects.NodeID]*backlog {
	x.mu.Lock()
	defer x.mu.Unlock()
	done := make(map[subjects.NodeID]*backlog)
	for node, b := range x.byNode {
		if r, missing := b.keys[n.Key]; missing && r <= n.Revision && holds(node) {
			delete(b.keys, n.Key)
		}
		if len(b.keys) == 0 {
			done[node] = b
			delete(x.byNode, node)
		}
	}
	return done
}

// all are the changes in all backlogs.
func (x *backlogs) all() (ns []subscriber.Notice) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, b := range x.byNode {
		for k, r := range b.keys {
			ns = append(ns, subscriber.Notice{Key: k, Revision: r})
		}
	}
	return ns
}

// sizes are the numbers of changes in the backlogs, by node.
func (x *backlogs) sizes() map[subjects.NodeID]int {
	x.mu.Lock()
	defer x.mu.Unlock()
	out := make(map[subjects.NodeID]int, len(x.byNode))
	for node, b := range x.byNode {
		out[node] = len(b.keys)
	}
	return out
}

// noteBehind notes which holders of n do not hold it. A node with a backlog may
// give the profile of before n, to a phone too: log, metric and audit name it, and
// report when it has caught up. Without nodes, others are not judged.
func (p *Pusher) noteBehind(n subscriber.Notice, nodes, missing []subjects.NodeID) {
	now := time.Now()
	for _, node := range p.backlogs.add(n, missing, now) {
		p.log.Warn().Str("peer", string(node)).Str("event", "behind").Uint64("rev", n.Revision).
			Msg("change answered, node does not hold it")
		p.auditPush(node, audit.Failed, fmt.Sprintf("does not hold a change that was answered, and may give what was before: revision %d", n.Revision), 1)
	}
	p.reportCaughtUp(p.backlogs.remove(n, func(node subjects.NodeID) bool {
		holds := slices.Contains(nodes, node) && !slices.Contains(missing, node)
		gone := len(nodes) > 0 && len(missing) == 0 && !slices.Contains(nodes, node) // others hold the key now
		return holds || gone
	}), now)
}

// removeAcknowledged takes out of the backlogs what another server has pushed:
// what was in them before, and is not outstanding in the store any more.
func (p *Pusher) removeAcknowledged(before, pending []subscriber.Notice) {
	if len(before) == 0 {
		return
	}
	open := make(map[string]bool, len(pending))
	for _, n := range pending {
		open[n.Key] = true
	}
	done := make(map[subjects.NodeID]*backlog)
	for _, n := range before {
		if !open[n.Key] {
			maps.Copy(done, p.backlogs.remove(n, func(subjects.NodeID) bool { return true }))
		}
	}
	p.reportCaughtUp(done, time.Now())
}

func (p *Pusher) reportCaughtUp(done map[subjects.NodeID]*backlog, now time.Time) {
	for node, b := range done {
		why := "holds all changes"
		if !p.isMember(node) {
			why = "serves no subscriber any more"
		}
		p.log.Info().Str("peer", string(node)).Str("event", "caught_up").Dur("after_ms", now.Sub(b.since)).Int("changes", b.changes).
			Str("reason", why).Msg("node is no longer behind")
		p.auditPush(node, audit.OK, fmt.Sprintf("%s after %s", why, now.Sub(b.since).Round(time.Millisecond)), b.changes)
	}
}

func (p *Pusher) auditPush(node subjects.NodeID, outcome, detail string, count int) {
	p.cfg.Audit.Write(audit.Entry{
		Who: string(p.net.ID()), Act: audit.Push, What: audit.Member(p.cfg.Role, node), Outcome: outcome, Detail: detail, Count: count,
	})
}
