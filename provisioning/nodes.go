package provisioning

import (
	"context"

	"thor/overlay"
	"thor/overlay/media"
	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/provisioning/store"
	"thor/subjects"
)

// What a server needs of the network are interfaces, so that its tests need none.
type (
	// A statusWatcher has the network's status, as an *overlay.Node does.
	statusWatcher interface {
		// Watch delivers the view at once, and later ones.
		Watch(ctx context.Context) <-chan *overlay.View
	}

	// A nodeQuerier queries the nodes that serve subscribers, as a *push.Pusher does.
	nodeQuerier interface {
		Statistics(ctx context.Context) ([]push.NodeStatistics, error)
		Locations(ctx context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error)
		Media(ctx context.Context, q media.Request, only func(*subjects.Member) bool) ([]push.NodeMedia, error)
	}

	// A deliverer pushes changes, as a *push.Pusher does.
	deliverer interface {
		// Deliver returns once every node that holds one of the subscribers holds the
		// change, or when ctx ends. The nodes that do not are behind; that fails no call.
		Deliver(ctx context.Context, ns store.Notices) (behind []subjects.NodeID)
	}
)
