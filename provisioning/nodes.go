package provisioning

import (
	"context"
	"net/netip"

	"thor/provisioning/ngnpro"
	"thor/subjects"
)

// Nodes is what the live network knows of subscribers and the database does
// not. Both methods answer with what they got when ctx ends: a node that does
// not answer costs its part of the answer only. An error is that nobody could
// be asked at all.
type Nodes interface {
	// Statistics asks every node that serves subscribers, in no order.
	Statistics(ctx context.Context) ([]NodeStatistics, error)
	// Locations asks the home node of each key where its devices are. A key
	// without devices is absent.
	Locations(ctx context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error)
}

// NodeStatistics is what one node counts.
type NodeStatistics struct {
	Node    subjects.NodeID
	Role    subjects.Role
	Address netip.Addr // the one to show
	// Sections are counts by domain, by what is counted: "online_accounts",
	// "online_devices".
	Sections map[string]map[string]int
}

// A Pusher makes changes known to the nodes that serve the subscribers.
type Pusher interface {
	// Deliver returns once every node that serves one of the subscribers, or would
	// next, holds the change, or when ctx ends. It tells which nodes do not, sorted;
	// the push to them goes on. It never fails a call.
	Deliver(ctx context.Context, ns Notices) (behind []subjects.NodeID)
}
