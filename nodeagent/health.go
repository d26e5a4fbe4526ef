package nodeagent

import "thor/subjects"

// A condition is what the probes of one check, or of all checks of a role, say
// together.
type condition int

const (
	unknown condition = iota // not probed yet
	healthy
	sick
)

// health turns a row of probe results into a condition that does not flap. It
// is pure: no clock, no I/O.
//
// The first probe decides at once. After that, fall failures in a row make a
// healthy check sick, and rise successes in a row make a sick one healthy.
type health struct {
	rise, fall int

	now    condition
	reason string // why it is sick: the fault that made it so
	run    int    // results in a row that speak against now
	other  string // a fault other than reason, while sick…
	others int    // …and how often in a row it was seen
}

// observe takes the result of a probe, "" for success. It reports whether the
// condition or its reason changed.
func (h *health) observe(fault string) bool {
	switch {
	case h.now == unknown:
		return h.become(fault)
	case (fault == "") == (h.now == healthy):
		h.run = 0
		return h.now == sick && h.renamed(fault)
	}
	h.run++
	if h.now == healthy && h.run >= h.fall || h.now == sick && h.run >= h.rise {
		return h.become(fault)
	}
	return false
}

func (h *health) become(fault string) bool {
	h.now, h.reason, h.run, h.other, h.others = healthy, fault, 0, "", 0
	if fault != "" {
		h.now = sick
	}
	return true
}

// renamed lets a sick check change its reason once another fault was seen as
// often in a row as it takes to fall. A service that fails now this way and now
// that would change the network status with every probe otherwise.
func (h *health) renamed(fault string) bool {
	switch {
	case fault == h.reason:
		h.other, h.others = "", 0
		return false
	case fault != h.other:
		h.other, h.others = fault, 0
	}
	h.others++
	if h.others < h.fall {
		return false
	}
	return h.become(fault)
}

// pending reports whether the newest result speaks against the condition, so
// that the next probe is wanted sooner.
func (h *health) pending() bool { return h.run > 0 }

// all is the condition of a role from those of its checks, of which all must
// pass. The reason is that of the first check that fails. No checks at all
// means healthy: somebody else looks after the service.
func all(checks []*health) (condition, string) {
	c := healthy
	for _, h := range checks {
		switch h.now {
		case sick:
			return sick, h.reason
		case unknown:
			c = unknown
		}
	}
	return c, ""
}

// drainReason is that of the SDK.
const drainReason = "drained by an operator"

// derive is the one state of a role, but for what an operator wants of it, which
// the SDK puts above it. The state is empty while nothing is known, when the role
// is not to be announced yet.
func derive(c condition, reason string) (subjects.State, string) {
	switch c {
	case unknown:
		return "", ""
	case sick:
		return subjects.Down, subjects.Printable(reason, subjects.MaxReason)
	}
	return subjects.Up, ""
}
