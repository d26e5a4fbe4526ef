package provisioning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/provisioning/soap"
	"thor/provisioning/store"
	"thor/subjects"
)

// statusWait is how long a call waits for a manager to confirm the status: a
// server that has just started has at most one of its last run.
const statusWait = 3 * time.Second

// errUnknownNetwork says that no status is known, which is no outage of the store.
var errUnknownNetwork = errors.New("provisioning: no status has been received yet")

// confirmed is the network's status, nil while none is known. It is not of an
// earlier run: the error says that no manager has been heard since the start.
func (c *call) confirmed() (*subjects.Status, error) {
	if c.cfg.Network == nil {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, statusWait)
	defer cancel()
	old := false
	for v := range c.cfg.Network.Watch(ctx) {
		if v.Status != nil && !v.FromDisk {
			return v.Status, nil
		}
		old = v.FromDisk
	}
	if !old {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %w", errUnknownNetwork, ngnpro.ErrUnavailable.With("no network manager has been heard since the server started: try again later"))
}

func networkOperations(st *store.Store) []operation {
	answers := func(name string, f func(*call) (string, error)) operation {
		return operation{
			Operation: soap.Operation{Name: name, Result: reflect.TypeFor[string]()},
			do:        func(c *call, _ []any) (any, error) { return f(c) },
		}
	}
	return []operation{
		answers("getStatus", func(c *call) (string, error) {
			now, err := c.confirmed()
			if err != nil {
				return "", err
			}
			return toJSON(networkStatus(now, c.v)), nil
		}),
		answers("getStatistics", func(c *call) (string, error) {
			total, err := st.Domains.CountAccounts(c.ctx)
			if err != nil {
				return "", err
			}
			nodes := c.nodeStatistics()
			if !c.v.Admin {
				seen, err := domainsSeen(c.ctx, c.v, st)
				if err != nil {
					return "", err
				}
				total, nodes = only(total, seen), onlyNodes(nodes, seen)
			}
			return toJSON(statistics(total, nodes)), nil
		}),
	}
}

func toJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("provisioning: encode: " + err.Error()) // maps of strings and numbers only
	}
	return string(b)
}

// nodesWait is how long nodes have to answer; a call ends after callTime.
const nodesWait = 2 * time.Second

// nodeStatistics are what the nodes answer in time; none is no failure.
func (c *call) nodeStatistics() []push.NodeStatistics {
	if c.cfg.Nodes == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, nodesWait)
	defer cancel()
	nodes, err := c.cfg.Nodes.Statistics(ctx)
	if err != nil {
		c.log.Debug().Err(err).Msg("ask nodes for statistics")
	}
	return nodes
}

// domainsSeen are the domains that v sees.
func domainsSeen(ctx context.Context, v ngnpro.Viewer, st *store.Store) (map[string]bool, error) {
	seen := make(map[string]bool)
	for start := 0; ; {
		q := &ngnpro.SipDomainQuery{Range: &ngnpro.Range{Start: start, Count: ngnpro.MaxCount}}
		total, ds, err := st.Domains.Find(ctx, v, q)
		if err != nil {
			return nil, err
		}
		for i := range ds {
			seen[ds[i].Domain] = true
		}
		start += len(ds)
		if len(ds) == 0 || start >= total {
			return seen, nil
		}
	}
}
