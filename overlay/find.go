package overlay

import (
	"net/netip"

	"thor/subjects"
)

// Find is Lookup in the form that goes on the wire, addresses included. The errors
// are those of Lookup.
func (n *Node) Find(role subjects.Role, key string) (subjects.LookupResult, error) {
	a, mark, err := n.Lookup(role, key)
	if err != nil {
		return subjects.LookupResult{}, err
	}
	address := func(node subjects.NodeID) netip.Addr { return n.addressOf(role, node) }
	return subjects.LookupResult{
		Key: key, Slot: a.Slot(), Owner: a.Owner(), Heir: a.Heir(), Previous: a.Previous(), Epoch: mark.Epoch, Generation: mark.Generation,
		OwnerAddress: address(a.Owner()), HeirAddress: address(a.Heir()), PreviousAddress: address(a.Previous()),
	}, nil
}

// addressOf is the address to show of a member, the zero value if the newest
// status has lost it: then the table is about to follow.
func (n *Node) addressOf(role subjects.Role, node subjects.NodeID) netip.Addr {
	s := n.View().Status
	if s == nil || node == "" {
		return netip.Addr{}
	}
	m := s.Member(role, node)
	if m == nil {
		return netip.Addr{}
	}
	return m.Address()
}
