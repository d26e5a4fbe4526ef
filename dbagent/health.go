package dbagent

// A condition is what the checks of a database say together.
type condition int

const (
	unknown condition = iota // not checked yet
	healthy
	sick
)

// needed is how many results in a row it takes to change a condition, after the
// first check, which decides alone: a restart of the network between us and the
// server is not worth the reconnection of everybody.
const needed = 2

// health turns a row of results into a condition that does not flap. It is pure.
type health struct {
	now    condition
	reason string // why it is sick
	run    int    // results in a row that speak against now, or against reason
	last   string // the fault of the newest of them
}

// observe takes the result of a check, "" for success, and reports whether the
// condition or its reason changed. While sick, another fault becomes the reason
// only once it lasts, so that the reason does not alternate.
func (h *health) observe(f string) bool {
	same := (f == "") == (h.now == healthy) && f == h.reason
	switch {
	case h.now == unknown:
	case same:
		h.run, h.last = 0, ""
		return false
	default:
		if h.now == sick && f != h.last {
			h.run = 0
		}
		h.run, h.last = h.run+1, f
		if h.run < needed {
			return false
		}
	}
	h.now, h.reason, h.run, h.last = healthy, f, 0, ""
	if f != "" {
		h.now = sick
	}
	return true
}

// pending reports whether the newest result speaks against what is announced,
// so that the next check is wanted sooner.
func (h *health) pending() bool { return h.run > 0 }

// pick says which of several databases to announce, the most preferred standing
// first: the best that is healthy; with none, what is announced already (now, -1
// for nothing yet) or the first. ok is false while a better one than all that
// are known may still turn out healthy.
func pick(hs []*health, now int) (best int, ok bool) {
	for i, h := range hs {
		switch h.now {
		case unknown:
			return 0, false
		case healthy:
			return i, true
		}
	}
	return max(now, 0), true
}
