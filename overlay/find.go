package overlay

import (
	"net/netip"

	"thor/subjects"
)

// Find is Lookup in the form in which it is told to others, addresses included.
// The errors are those of Lookup.
func (n *Node) Find(role subjects.Role, key string) (subjects.Found, error) {
	l, err := n.Lookup(role, key)
	if err != nil {
		return subjects.Found{}, err
	}
	f := subjects.Found{
		Key: key, Slot: l.Slot, Owner: l.Owner, Heir: l.Heir, Epoch: l.Epoch, Generation: l.Generation,
		OwnerAddress: n.addressOf(role, l.Owner), HeirAddress: n.addressOf(role, l.Heir),
	}
	if l.Residence != l.Owner {
		f.Residence, f.ResidenceAddress = l.Residence, n.addressOf(role, l.Residence)
	}
	return f, nil
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
