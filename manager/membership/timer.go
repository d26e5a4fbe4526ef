package membership

import (
	"container/heap"
	"time"
)

// An instant is the time since the table's first call. It never goes back.
type instant = time.Duration

// never is an instant that does not come.
const never = instant(1<<63 - 1)

// longAgo is before all instants, yet near enough to be subtracted from one.
const longAgo = instant(-1 << 61)

type timerKind uint8

// The kinds, in the order in which timers due at the same instant act.
const (
	timerMember timerKind = iota
	timerSite
	timerRole
	timerPanic
	timerObserver
	timerDeparted
	timerAbsence
	timerLosses
)

// A timer is one entry of the heap of what is due. It is embedded in what it
// belongs to; index is its place, -1 when it is not set.
type timer struct {
	at         instant
	kind       timerKind
	role, node string // make the order of equal instants total
	index      int
	act        func()
}

type timers []*timer

func (h timers) Len() int { return len(h) }

func (h timers) Less(i, j int) bool {
	a, b := h[i], h[j]
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.kind != b.kind:
		return a.kind < b.kind
	case a.role != b.role:
		return a.role < b.role
	}
	return a.node < b.node
}

func (h timers) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop serve container/heap.
func (h *timers) Push(x any) {
	t := x.(*timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timers) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = -1
	return t
}

// set moves x to at, or takes it out for never.
func (h *timers) set(x *timer, at instant) {
	switch {
	case at == never:
		h.stop(x)
	case x.index >= 0:
		x.at = at
		heap.Fix(h, x.index)
	default:
		x.at = at
		heap.Push(h, x)
	}
}

// sooner sets x to at unless it is due before.
func (h *timers) sooner(x *timer, at instant) {
	if x.index < 0 || at < x.at {
		h.set(x, at)
	}
}

func (h *timers) stop(x *timer) {
	if x.index >= 0 {
		heap.Remove(h, x.index)
	}
}

// due takes out the first timer that is due by now, or returns nil.
func (h *timers) due(now instant) *timer {
	if len(*h) == 0 || (*h)[0].at > now {
		return nil
	}
	return heap.Pop(h).(*timer)
}
