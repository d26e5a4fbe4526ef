package live

import (
	"context"
	"fmt"
	"time"

	"thor/nodeagent/opensips"
	"thor/nodeagent/sets"
)

// OpenSIPSRPC is what is asked of an OpenSIPS; a *opensips.Client is one.
type OpenSIPSRPC interface {
	UpSince(ctx context.Context) (string, error)
	ReloadDispatcher(ctx context.Context) error
	SetDispatcherState(ctx context.Context, group int, uri, state string) error
	Destinations(ctx context.Context) ([]opensips.Destination, error)
	ReloadRTPEngine(ctx context.Context) error
	EnableRTPEngine(ctx context.Context, set int, url string, on bool) error
	Relays(ctx context.Context) ([]opensips.Relay, error)
	ReloadAddresses(ctx context.Context) error
	Addresses(ctx context.Context) ([]opensips.Address, error)
}

// databaseSpace is between two reloads of a table of db_text, which is read again only if
// the second of its file's time is a later one.
const databaseSpace = time.Second + 100*time.Millisecond

type opensipsProxy struct{ OpenSIPSRPC }

// OpenSIPS is a Proxy.
func OpenSIPS(rpc OpenSIPSRPC) Proxy { return opensipsProxy{rpc} }

func (opensipsProxy) Name() string        { return "OpenSIPS" }
func (opensipsProxy) Busy(err error) bool { return opensips.Busy(err) }

func (p opensipsProxy) ops(k sets.Kind) ops {
	rpc := p.OpenSIPSRPC
	o := ops{space: databaseSpace, patience: patience}
	switch k {
	case sets.KindDispatcher:
		o.reload = rpc.ReloadDispatcher
		o.set = func(ctx context.Context, c sets.StateChange) error {
			return rpc.SetDispatcherState(ctx, c.Number, c.Address, c.State)
		}
		o.list = func(ctx context.Context) (sets.Sets, error) {
			ds, err := rpc.Destinations(ctx)
			out := make(sets.Sets)
			for _, d := range ds {
				out[d.Group] = append(out[d.Group], sets.Entry{Address: d.URI})
			}
			return out, err
		}
	case sets.KindRTPEngine:
		o.reload, o.patience, o.stateless = rpc.ReloadRTPEngine, relayPatience, true
		o.set = func(ctx context.Context, c sets.StateChange) error {
			return rpc.EnableRTPEngine(ctx, c.Number, c.Address, c.State != sets.RelayOff)
		}
		o.list = func(ctx context.Context) (sets.Sets, error) {
			rs, err := rpc.Relays(ctx)
			out := make(sets.Sets)
			for _, r := range rs {
				e := sets.Entry{Address: r.URL, State: sets.RelayOn}
				if r.Disabled != 0 {
					e.State = sets.RelayOff
				}
				out[r.Set] = append(out[r.Set], e)
			}
			return out, err
		}
	case sets.KindTrusted:
		o.reload = rpc.ReloadAddresses
		o.list = func(ctx context.Context) (sets.Sets, error) {
			as, err := rpc.Addresses(ctx)
			out := make(sets.Sets)
			for _, a := range as {
				out[a.Group] = append(out[a.Group], sets.Entry{Address: a.IP})
			}
			return out, err
		}
	default:
		panic(fmt.Sprintf("live: no kind %q", k))
	}
	return o
}
