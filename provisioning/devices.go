package provisioning

import (
	"context"
	"reflect"
	"slices"

	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/provisioning/soap"
	"thor/provisioning/store"
)

// deviceLocations answers for each subscriber in the order asked; what the
// caller does not see has no devices.
func deviceLocations(st *store.Store) operation {
	ids := value("sipIds", cleanSipIDs)
	return operation{
		Operation: soap.Operation{Name: "getSipDeviceLocations", Params: []soap.Param{ids.Param}, Result: reflect.TypeFor[[]ngnpro.DeviceLocations]()},
		do: func(c *call, args []any) (any, error) {
			if err := ids.clean(args[0]); err != nil {
				return nil, err
			}
			return c.devices(st, ids.take(args[0]))
		},
	}
}

func cleanSipIDs(ids *[]ngnpro.SipID) error {
	if len(*ids) > subscriber.MaxKeys {
		return ngnpro.ErrInvalid.With("sipIds has more than %d items", subscriber.MaxKeys)
	}
	for i := range *ids {
		if err := (*ids)[i].Clean(); err != nil {
			return err
		}
	}
	return nil
}

func (c *call) devices(st *store.Store, ids []ngnpro.SipID) ([]ngnpro.DeviceLocations, error) {
	seen, err := st.Accounts.Visible(c.ctx, c.v, ids)
	if err != nil {
		return nil, err
	}
	out := make([]ngnpro.DeviceLocations, len(ids))
	if c.cfg.Nodes == nil || len(seen) == 0 {
		return out, nil
	}
	keys := make([]string, len(seen))
	for i, id := range seen {
		keys[i] = id.Key()
	}
	ctx, cancel := context.WithTimeout(c.ctx, nodesWait)
	defer cancel()
	found, err := c.cfg.Nodes.Locations(ctx, keys)
	if err != nil {
		return nil, ngnpro.ErrUnavailable.With("the nodes cannot be asked: try again later")
	}
	for i, id := range ids {
		if slices.Contains(seen, id) {
			out[i].Locations = found[id.Key()]
		}
	}
	return out, nil
}
