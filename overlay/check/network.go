package check

import (
	"context"

	"thor/identity"
	"thor/overlay"
)

// A Network is what the engine needs of an overlay.Node: Node is one. Tests of time
// have another, which needs no broker.
type Network interface {
	Identity() *identity.Identity
	Join(overlay.Member) (Membership, error)
}

// A Membership is what the engine needs of an overlay.Membership, which is one.
type Membership interface {
	Update(func(*overlay.Member))
	Amend(func(*overlay.Member)) error
	DrainReason() string
	Leave(context.Context) error
}

// Node makes a Network of an overlay.Node.
type Node struct{ *overlay.Node }

// Join is that of overlay.Node.
func (n Node) Join(m overlay.Member) (Membership, error) {
	ms, err := n.Node.Join(m)
	if err != nil {
		return nil, err // not an interface around nil
	}
	return ms, nil
}
