package push

import (
	"slices"
	"sync"
	"time"

	"thor/overlay/subscriber"
	"thor/subjects"
)

const (
	recentFor = 10 * time.Second // a new lookup table is known everywhere by then
	maxRecent = 10_000
)

// recentPushes are the changes that were pushed lately, the oldest first.
type recentPushes struct {
	mu  sync.Mutex
	all []recentPush
}

type recentPush struct {
	subscriber.Notice
	nodes []subjects.NodeID // that hold it
	at    time.Time
}

func (r *recentPushes) add(n subscriber.Notice, nodes []subjects.NodeID, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := 0
	for old < len(r.all) && (now.Sub(r.all[old].at) > recentFor || len(r.all)-old >= maxRecent) {
		old++
	}
	r.all = append(slices.Delete(r.all, 0, old), recentPush{n, nodes, now})
}

// at are the pushes that are recent at a time.
func (r *recentPushes) at(now time.Time) []recentPush {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(r.all), func(x recentPush) bool { return now.Sub(x.at) > recentFor })
}

// pushToNewHolders repeats the recent pushes whose holders are others by the new
// lookup table. A node may have become the owner and read the profile before the
// change, at a time when this server still had the old table: it would not
// request the profile again.
func (p *Pusher) pushToNewHolders(now time.Time) {
	var again []subscriber.Notice
	for _, x := range p.recent.at(now) {
		if slices.ContainsFunc(p.notified(x.Key), func(node subjects.NodeID) bool { return !slices.Contains(x.nodes, node) }) {
			again = append(again, x.Notice)
		}
	}
	p.Push(again)
}
