package lookup

import (
	"cmp"
	"fmt"
	"slices"

	"thor/subjects"
)

// none is the index of no member: indices have 16 bits. There are at most so many
// members.
const none = 1<<16 - 1

// A Member is one member of a role as the lookup sees it.
type Member struct {
	Node subjects.NodeID
	// Weight is its share of the slots, 0 to 65535 (usual: 100). Only ratios
	// count. 0: it gets none.
	Weight int
	// Draining members get no slots either, but stay the previous owner of what
	// was theirs, by their weight.
	Draining bool
	// Site is where the node stands; "": unknown. It decides the remotes alone.
	Site subjects.Site
}

// Members are those of a role of the status. Suspect members count like others:
// suspicion must not move subscribers.
func Members(ms []subjects.Member) []Member {
	out := make([]Member, len(ms))
	for i := range ms {
		out[i] = Member{Node: ms[i].Node, Weight: ms[i].Weight, Draining: ms[i].State == subjects.Draining, Site: ms[i].Site}
	}
	return out
}

// MembersFor are Members where the status says l of the role's table: without their
// sites if it names no remotes.
func MembersFor(l subjects.Lookup, ms []subjects.Member) []Member {
	out := Members(ms)
	if l.RemoteDigest == "" {
		for i := range out {
			out[i].Site = ""
		}
	}
	return out
}

// A candidate is a member with what its draws need.
type candidate struct {
	node   subjects.NodeID
	weight uint64
	hash   uint64
}

// candidates are the members that count, sorted by name: all with a weight, and
// the draining ones only if asked for.
func candidates(ms []Member, draining bool) ([]candidate, error) {
	out := make([]candidate, 0, len(ms))
	for i := range ms {
		m := &ms[i]
		if m.Weight < 0 || m.Weight > 65535 {
			return nil, fmt.Errorf("lookup: weight %d of %s is not 0 to 65535", m.Weight, m.Node)
		}
		if len(m.Node) == 0 || len(m.Node) > 255 {
			return nil, fmt.Errorf("lookup: node name of %d bytes", len(m.Node))
		}
		if m.Weight > 0 && (draining || !m.Draining) {
			out = append(out, candidate{m.Node, uint64(m.Weight), Hash(m.Node)})
		}
	}
	slices.SortFunc(out, func(a, b candidate) int { return cmp.Compare(a.node, b.node) })
	for i := 1; i < len(out); i++ {
		if out[i].node == out[i-1].node {
			return nil, fmt.Errorf("lookup: member %s twice", out[i].node)
		}
	}
	if len(out) > none {
		return nil, fmt.Errorf("lookup: %d members, %d allowed", len(out), none)
	}
	return out, nil
}
