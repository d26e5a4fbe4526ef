package live

import (
	"context"
	"fmt"
	"time"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/sets"
)

// RPC is what is asked of a Kamailio; a *kamailio.Client is one.
type RPC interface {
	UpSince(ctx context.Context) (string, error)
	ReloadDispatcher(ctx context.Context) error
	SetDispatcherState(ctx context.Context, group int, uri, state string) error
	Destinations(ctx context.Context) ([]kamailio.Destination, error)
	ReloadRTPEngine(ctx context.Context) error
	EnableRTPEngine(ctx context.Context, url string, on bool) error
	Relays(ctx context.Context) ([]kamailio.Relay, error)
	ReloadAddresses(ctx context.Context) error
	Addresses(ctx context.Context) ([]kamailio.Address, error)
}

// A kind is how Kamailio is told of one kind of table.
type kind struct {
	reload func(ctx context.Context) error
	// set tells one state; nil: the table has none.
	set func(ctx context.Context, c sets.StateChange) error
	// list is what Kamailio holds, addresses alone.
	list func(ctx context.Context) (sets.Sets, error)
	// space is the least time from reload to reload.
	space time.Duration
	// patience is how long a reload may take.
	patience time.Duration
}

const (
	// space is between reloads. Kamailio has two lists and frees the older one at a
	// reload, without asking whether a process still reads it: two reloads must not come
	// within the time of one look into the list.
	space = 100 * time.Millisecond
	// relaySpace is Kamailio's own: its module rtpengine refuses to reload within 10 s.
	relaySpace = 10*time.Second + 100*time.Millisecond
	// patience is how long an answer may take.
	patience = 2 * time.Second
	// relayPatience is how long a reload of relays may take: by default one that is dead
	// costs Kamailio 6 s.
	relayPatience = time.Minute
)

func kindOf(k sets.Kind, rpc RPC) kind {
	switch k {
	case sets.KindDispatcher:
		return dispatcher(rpc)
	case sets.KindRTPEngine:
		return rtpengine(rpc)
	case sets.KindTrusted:
		return trusted(rpc)
	}
	panic(fmt.Sprintf("live: no kind %q", k))
}

func dispatcher(rpc RPC) kind {
	return kind{
		reload: rpc.ReloadDispatcher, space: space, patience: patience,
		set: func(ctx context.Context, c sets.StateChange) error {
			return rpc.SetDispatcherState(ctx, c.Number, c.Address, c.State)
		},
		list: func(ctx context.Context) (sets.Sets, error) {
			ds, err := rpc.Destinations(ctx)
			out := make(sets.Sets)
			for _, d := range ds {
				out[d.Group] = append(out[d.Group], sets.Entry{Address: d.URI})
			}
			return out, err
		},
	}
}

func rtpengine(rpc RPC) kind {
	return kind{
		reload: rpc.ReloadRTPEngine, space: relaySpace, patience: relayPatience,
		set: func(ctx context.Context, c sets.StateChange) error {
			return rpc.EnableRTPEngine(ctx, c.Address, c.State != sets.RelayOff)
		},
		list: func(ctx context.Context) (sets.Sets, error) {
			rs, err := rpc.Relays(ctx)
			out := make(sets.Sets)
			for _, r := range rs {
				out[r.Set] = append(out[r.Set], sets.Entry{Address: r.URL})
			}
			return out, err
		},
	}
}

func trusted(rpc RPC) kind {
	return kind{
		reload: rpc.ReloadAddresses, space: space, patience: patience,
		list: func(ctx context.Context) (sets.Sets, error) {
			as, err := rpc.Addresses(ctx)
			out := make(sets.Sets)
			for _, a := range as {
				out[a.Group] = append(out[a.Group], sets.Entry{Address: a.Item.IP})
			}
			return out, err
		},
	}
}
