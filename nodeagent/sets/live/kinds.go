package live

import (
	"context"
	"fmt"
	"time"

	"thor/nodeagent/kamailio"
	"thor/nodeagent/sets"
)

// A Proxy is a SIP proxy whose sets are kept: see Kamailio and OpenSIPS.
type Proxy interface {
	// Name is what it is called, to people.
	Name() string
	// UpSince is when it was started, in its own words: another one after a restart.
	UpSince(ctx context.Context) (string, error)
	// Busy reports whether err is a refusal to reload a table again so soon.
	Busy(err error) bool
	// ops says how it is told of a table.
	ops(k sets.Kind) ops
}

// KamailioRPC is what is asked of a Kamailio; a *kamailio.Client is one.
type KamailioRPC interface {
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

// ops are how a proxy is told of one kind of table.
type ops struct {
	reload func(ctx context.Context) error
	// set tells one state; nil: the table has none.
	set func(ctx context.Context, c sets.StateChange) error
	// stateless says that the file holds no states: list tells which they have after a reload.
	stateless bool
	// list is what the proxy holds, addresses alone.
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

type kamailioProxy struct{ KamailioRPC }

// Kamailio is a Proxy.
func Kamailio(rpc KamailioRPC) Proxy { return kamailioProxy{rpc} }

func (kamailioProxy) Name() string        { return "Kamailio" }
func (kamailioProxy) Busy(err error) bool { return kamailio.Busy(err) }

func (p kamailioProxy) ops(k sets.Kind) ops {
	rpc := p.KamailioRPC
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

func dispatcher(rpc KamailioRPC) ops {
	return ops{
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

func rtpengine(rpc KamailioRPC) ops {
	return ops{
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

func trusted(rpc KamailioRPC) ops {
	return ops{
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
