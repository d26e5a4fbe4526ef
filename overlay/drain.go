package overlay

import (
	"maps"
	"slices"

	"thor/subjects"
)

// A DrainReply is the data of the Reply to drain and resume. When a node runs
// several processes, each of them answers for its own roles.
type DrainReply struct {
	V       int             `json:"v"`
	Boot    string          `json:"boot"`    // of the process that answers
	Roles   []subjects.Role `json:"roles"`   // that it has joined, sorted
	Drained []subjects.Role `json:"drained"` // those of them that are drained now, sorted
}

// A drainSet is the roles that an operator drained. subjects.Agent in it stands
// for all roles of the process, also for those that it joins later.
type drainSet map[subjects.Role]bool

func (d drainSet) has(role subjects.Role) bool { return d[subjects.Agent] || d[role] }

func (d drainSet) add(role subjects.Role) { d[role] = true }

// remove resumes role. Where all were drained, the others that are joined stay
// drained.
func (d drainSet) remove(role subjects.Role, joined []subjects.Role) {
	if role == subjects.Agent {
		clear(d)
		return
	}
	if d[subjects.Agent] {
		delete(d, subjects.Agent)
		for _, r := range joined {
			d[r] = true
		}
	}
	delete(d, role)
}

// roles are the content of d, sorted.
func (d drainSet) roles() []subjects.Role { return slices.Sorted(maps.Keys(d)) }
