// Package checktest has a network for tests of agents that check services: it needs no
// broker, so that time may be virtual, and writes down what is announced, and when.
package checktest

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"thor/identity"
	"thor/overlay"
	"thor/overlay/check"
	"thor/subjects"
)

// A Net is a check.Network. Its fields are set before anything joins.
type Net struct {
	ID    *identity.Identity
	Start time.Time
	// Text is what Lines says of a member besides the time; nil: role, state, reason.
	Text func(overlay.Member) string

	mu      sync.Mutex
	lines   []string
	members map[subjects.Role]overlay.Member
	drained bool
	refusal error
}

// New makes the network of a node that holds roles and the address 127.0.0.1.
func New(node subjects.NodeID, roles ...subjects.Role) *Net {
	return &Net{
		ID:    &identity.Identity{Domain: "example.net", Node: node, Roles: roles, Addresses: []netip.Addr{netip.MustParseAddr("127.0.0.1")}},
		Start: time.Now(), members: make(map[subjects.Role]overlay.Member),
	}
}

// Lines are what was announced so far: the time since Start and the text of each.
func (n *Net) Lines() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.lines)
}

// Member is what is announced as role.
func (n *Net) Member(role subjects.Role) overlay.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.members[role]
}

// Refuse makes Join and Amend fail with err, until it is nil again.
func (n *Net) Refuse(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refusal = err
}

// SetDrained drains every member as an operator would, or resumes it.
func (n *Net) SetDrained(d bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.drained = d
}

// Identity implements check.Network.
func (n *Net) Identity() *identity.Identity { return n.ID }

// Join implements check.Network.
func (n *Net) Join(m overlay.Member) (check.Membership, error) {
	ms := membership{n, m.Role}
	return ms, ms.announce(func(x *overlay.Member) { *x = m })
}

// membership is one role of a Net.
type membership struct {
	n    *Net
	role subjects.Role
}

func (m membership) Update(f func(*overlay.Member)) { _ = m.announce(f) }

func (m membership) Amend(f func(*overlay.Member)) error { return m.announce(f) }

func (m membership) announce(f func(*overlay.Member)) error {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	if m.n.refusal != nil {
		return m.n.refusal
	}
	x := m.n.members[m.role]
	f(&x)
	m.n.members[m.role] = x
	m.n.say(x)
	return nil
}

func (m membership) DrainReason() string {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	if m.n.drained {
		return overlay.DrainReason
	}
	return ""
}

func (m membership) Leave(context.Context) error {
	m.n.mu.Lock()
	defer m.n.mu.Unlock()
	m.n.say(overlay.Member{Role: m.role, State: subjects.Leave})
	return nil
}

// say writes a line. The caller holds mu.
func (n *Net) say(m overlay.Member) {
	text := fmt.Sprintf("%s %s", m.Role, m.State)
	if m.Reason != "" {
		text += ": " + m.Reason
	}
	if n.Text != nil {
		text = n.Text(m)
	}
	n.lines = append(n.lines, fmt.Sprintf("%v %s", time.Since(n.Start), text))
}
