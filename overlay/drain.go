package overlay

import (
	"context"
	"encoding/json"
	"fmt"
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

// Drain does what an operator's drain of role does: the member announces
// draining, whatever else is true of it, until Resume, restarts included. The
// role subjects.Agent stands for all roles of the process, also for those that
// it joins later. An error means that the drain is in force, but that a restart
// will forget it; or that role is none, and nothing has changed.
func (n *Node) Drain(role subjects.Role) error { return n.setDrain(role, true) }

// Resume ends what Drain began. An error means that the drain has ended, but
// that a restart will bring it back.
func (n *Node) Resume(role subjects.Role) error { return n.setDrain(role, false) }

// drained reports whether an operator drained role. The caller holds n.mu.
func (n *Node) drained(role subjects.Role) bool { return n.drains[subjects.Agent] || n.drains[role] }

// setDrain changes what is drained and announces it before it writes it down,
// since the network waits for the one and only the next start for the other.
func (n *Node) setDrain(role subjects.Role, on bool) error {
	if role != subjects.Agent {
		if _, err := subjects.ParseRole(string(role)); err != nil {
			return fmt.Errorf("drain or resume: %w", err)
		}
	}
	n.drainMu.Lock() // what is on disk is what was asked for last
	defer n.drainMu.Unlock()
	n.mu.Lock()
	before := make(map[subjects.Role]bool)
	for r := range n.members {
		before[r] = n.drained(r)
	}
	switch {
	case on:
		n.drains[role] = true
	case role == subjects.Agent:
		clear(n.drains)
	default:
		if n.drains[subjects.Agent] { // all but this one stay drained
			delete(n.drains, subjects.Agent)
			for r := range n.members {
				n.drains[r] = true
			}
		}
		delete(n.drains, role)
	}
	for _, r := range slices.Sorted(maps.Keys(n.members)) {
		if before[r] != n.drained(r) {
			n.announce(n.members[r])
			n.log.Info().Str("role", string(r)).Bool("drained", n.drained(r)).Msg("drain changed by an operator")
		}
	}
	keep := slices.Sorted(maps.Keys(n.drains))
	n.mu.Unlock()
	return n.store.saveDrains(keep)
}

// drainReply says what is drained now.
func (n *Node) drainReply() *DrainReply {
	r := &DrainReply{V: subjects.Version, Boot: n.cfg.Boot, Roles: []subjects.Role{}, Drained: []subjects.Role{}}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, role := range slices.Sorted(maps.Keys(n.members)) {
		r.Roles = append(r.Roles, role)
		if n.drained(role) {
			r.Drained = append(r.Drained, role)
		}
	}
	return r
}

// drainHandler answers drain or resume of role.
func (n *Node) drainHandler(role subjects.Role, on bool) handler {
	return func(_ context.Context, r *Request) *subjects.Reply {
		reply := &subjects.Reply{V: subjects.Version}
		err := n.setDrain(role, on)
		n.auditDrain(r, role, on, err)
		if err != nil {
			n.log.Error().Err(err).Str("role", string(role)).Msg("a restart will not remember the operator's wish")
			reply.Text = "done, but a restart will not remember it"
		}
		b, err := json.Marshal(n.drainReply())
		if err != nil {
			panic("overlay: encode drain reply: " + err.Error()) // it holds strings only
		}
		reply.Data = b
		return reply
	}
}

// duplicate is the data of the manager's notice.
type duplicate struct {
	V     int      `json:"v"`
	Boots []string `json:"boots"`
}

// duplicateHandler takes the manager's notice that several processes announce
// role of this node.
func (n *Node) duplicateHandler(role subjects.Role) handler {
	return func(_ context.Context, r *Request) *subjects.Reply {
		d, err := parseDuplicate(r.Data)
		if err != nil {
			n.metrics.drop(subjects.CodeOf(err))
			return &subjects.Reply{V: subjects.Version, Code: subjects.ErrorBad, Text: err.Error()}
		}
		n.once(fmt.Sprintf("duplicate %s %q", role, d.Boots), func() {
			n.log.Error().Str("role", string(role)).Strs("boots", d.Boots).Str("boot", n.cfg.Boot).
				Msg("another process of this node announces the same role")
		})
		if n.cfg.OnDuplicate != nil {
			n.cfg.OnDuplicate(role, d.Boots)
		}
		return &subjects.Reply{V: subjects.Version}
	}
}

func parseDuplicate(b []byte) (*duplicate, error) {
	const most = 16
	var d duplicate
	bad := func(c subjects.Code, detail string) error { return &subjects.BadMessage{Code: c, Detail: detail} }
	switch {
	case len(b) > subjects.MaxAnnouncement:
		return nil, bad(subjects.CodeTooLarge, "duplicate notice")
	case json.Unmarshal(b, &d) != nil:
		return nil, bad(subjects.CodeJSON, "duplicate notice")
	case d.V != subjects.Version:
		return nil, bad(subjects.CodeVersion, "duplicate notice")
	case len(d.Boots) > most:
		return nil, bad(subjects.CodeRange, "duplicate notice")
	}
	for i := range d.Boots {
		d.Boots[i] = subjects.Printable(d.Boots[i], 64)
	}
	return &d, nil
}
