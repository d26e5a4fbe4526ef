package overlay

import (
	"time"

	"thor/subjects"
)

// A DrainReply is the data of the Reply to drain and resume. When a node runs
// several processes, each of them answers for its own roles.
type DrainReply struct {
	V       int             `json:"v"`
	Boot    string          `json:"boot"`    // of the process that answers
	Roles   []subjects.Role `json:"roles"`   // that it has joined, sorted
	Drained []subjects.Role `json:"drained"` // those of them that are drained now, sorted
	// Drains is why and how long, of those for which more is known than that.
	Drains map[subjects.Role]Drain `json:"drains,omitempty"`
}

// A Drain is why, and how long, an operator drained a role. The zero value has no
// reason and no end.
type Drain struct {
	By     string    `json:"by,omitempty"`     // the operator's node
	Reason string    `json:"reason,omitempty"` // in the operator's words
	Until  time.Time `json:"until,omitzero"`   // when it ends by itself, in whole seconds; zero: when it is resumed
}

// plain reports whether nothing but the drain is to be told. Who asked for it is in
// the history in any case.
func (d Drain) plain() bool { return d.Reason == "" && d.Until.IsZero() }

// text is what the status says as the reason of a member that is drained by d.
func (d Drain) text() string {
	if d.plain() {
		return DrainReason
	}
	out := "drained"
	if d.By != "" {
		out += " by " + d.By
	}
	if !d.Until.IsZero() {
		out += " until " + d.Until.UTC().Format("2006-01-02 15:04:05Z")
	}
	if d.Reason != "" {
		out += ": " + d.Reason
	}
	return subjects.Printable(out, subjects.MaxReason)
}

// A drainSet is the roles that an operator drained. subjects.Agent in it stands
// for all roles of the process, also for those that it joins later.
type drainSet map[subjects.Role]Drain

func (d drainSet) has(role subjects.Role) bool {
	_, ok := d.of(role)
	return ok
}

// of is the drain of role.
func (d drainSet) of(role subjects.Role) (Drain, bool) {
	if x, ok := d[role]; ok {
		return x, true
	}
	x, ok := d[subjects.Agent]
	return x, ok
}

// add drains role. What is drained with it is so by the newer word.
func (d drainSet) add(role subjects.Role, x Drain) {
	if role == subjects.Agent {
		clear(d)
	}
	d[role] = x
}

// remove resumes role. Where all were drained, the others that are joined stay
// drained.
func (d drainSet) remove(role subjects.Role, joined []subjects.Role) {
	if role == subjects.Agent {
		clear(d)
		return
	}
	if all, ok := d[subjects.Agent]; ok {
		delete(d, subjects.Agent)
		for _, r := range joined {
			if !d.has(r) {
				d[r] = all
			}
		}
	}
	delete(d, role)
}

// expire removes what ended by now, and says when the next ends; zero: none does.
func (d drainSet) expire(now time.Time) (next time.Time) {
	for r, x := range d {
		switch {
		case x.Until.IsZero():
		case !x.Until.After(now):
			delete(d, r)
		case next.IsZero() || x.Until.Before(next):
			next = x.Until
		}
	}
	return next
}
