package check

import "thor/subjects"

// A Condition is what the probes of one check, or of several, say together.
type Condition int

// The conditions.
const (
	Unknown Condition = iota // not probed yet
	Passing
	Failing
)

// State is how a member in that condition is announced; empty while nothing is known.
func (c Condition) State() subjects.State {
	switch c {
	case Passing:
		return subjects.Up
	case Failing:
		return subjects.Down
	}
	return ""
}

// word is c on the wire.
func (c Condition) word() subjects.CheckState {
	switch c {
	case Passing:
		return subjects.CheckPassing
	case Failing:
		return subjects.CheckFailing
	}
	return subjects.CheckUnknown
}

// health turns a row of probe results into a condition that does not flap. It is
// pure: no clock, no I/O.
//
// The first probe decides at once. After that, fall failures in a row make a passing
// check fail, and rise successes in a row make a failing one pass.
type health struct {
	rise, fall int

	now    Condition
	reason string // why it fails: the fault that made it so
	run    int    // results in a row that speak against now
	other  string // a fault other than reason, while failing…
	others int    // …and how often in a row it was seen
}

// observe takes the result of a probe, "" for success. It reports whether the
// condition or its reason changed.
func (h *health) observe(fault string) bool {
	switch {
	case h.now == Unknown:
		return h.become(fault)
	case (fault == "") == (h.now == Passing):
		h.run = 0
		return h.now == Failing && h.renamed(fault)
	}
	h.run++
	if h.now == Passing && h.run >= h.fall || h.now == Failing && h.run >= h.rise {
		return h.become(fault)
	}
	return false
}

func (h *health) become(fault string) bool {
	h.now, h.reason, h.run, h.other, h.others = Passing, fault, 0, "", 0
	if fault != "" {
		h.now = Failing
	}
	return true
}

// renamed lets a failing check change its reason once another fault was seen as often
// in a row as it takes to fall. A service that fails now this way and now that would
// change the network status with every probe otherwise.
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

// pending reports whether the newest result speaks against the condition, so that the
// next probe is wanted sooner.
func (h *health) pending() bool { return h.run > 0 }
