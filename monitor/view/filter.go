package view

import (
	"strings"

	"thor/subjects"
)

// A filter is the words of which each must occur, in any case. The zero value
// lets everything pass.
type filter []string

func newFilter(s string) filter { return strings.Fields(strings.ToLower(s)) }

func (f filter) match(fields ...string) bool {
	if len(f) == 0 {
		return true
	}
	text := strings.ToLower(strings.Join(fields, "\n"))
	for _, w := range f {
		if !strings.Contains(text, w) {
			return false
		}
	}
	return true
}

// member looks at what is shown of m: what is masked is not found.
func (f filter) member(s *subjects.Status, role subjects.Role, m *subjects.Member, myself subjects.NodeID) bool {
	if len(f) == 0 {
		return true
	}
	return f.match(append(details(s, role, m, myself), string(role), string(m.Node), address(m), string(m.State), "site "+placeName(m))...)
}

func (f filter) event(e *subjects.Event) bool {
	if len(f) == 0 {
		return true
	}
	c := eventCells(e)
	return f.match(c.kind, c.role, c.node, c.cause)
}
