package provisioning

import (
	"context"

	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/provisioning/store"
	"thor/subjects"
)

// Nodes are the nodes that serve subscribers, as push.Pusher queries them. It is
// an interface so that tests need no network.
type Nodes interface {
	Statistics(ctx context.Context) ([]push.NodeStatistics, error)
	Locations(ctx context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error)
}

// A Pusher makes changes known to the nodes that serve the subscribers, as
// push.Pusher does. It is an interface so that tests need no network.
type Pusher interface {
	// Deliver returns once every node that holds one of the subscribers holds the
	// change, or when ctx ends. It tells which nodes do not; that fails no call.
	Deliver(ctx context.Context, ns store.Notices) (behind []subjects.NodeID)
}
