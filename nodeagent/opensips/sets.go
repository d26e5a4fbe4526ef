package opensips

import (
	"context"
)

// ReloadDispatcher has the module dispatcher read its table, the states included.
func (c *Client) ReloadDispatcher(ctx context.Context) error {
	return c.without(ctx, "ds_reload", named{"inherit_state": "n"}, "inherit_state")
}

// SetDispatcherState sets the state of the destination uri: "a" or "i".
func (c *Client) SetDispatcherState(ctx context.Context, group int, uri, state string) error {
	var ignored any
	return c.call(ctx, &ignored, "ds_set_state", named{"state": state, "group": group, "address": uri})
}

// A Destination is one of the module dispatcher.
type Destination struct {
	Group int
	URI   string
	State string // Active, Inactive, Probing
}

// Destinations are those of all groups of the module dispatcher.
func (c *Client) Destinations(ctx context.Context) (out []Destination, err error) {
	var r struct {
		Partitions []struct {
			Sets []struct {
				ID           int
				Destinations []Destination
			}
		}
	}
	if err := c.call(ctx, &r, "ds_list", nil); err != nil {
		return nil, err
	}
	for _, p := range r.Partitions {
		for _, s := range p.Sets {
			for _, d := range s.Destinations {
				d.Group = s.ID
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// ReloadRTPEngine has the module rtpengine read its table. Sockets that stay are kept,
// and so are the sessions that go through them.
func (c *Client) ReloadRTPEngine(ctx context.Context) error {
	return c.without(ctx, "rtpengine_reload", named{"type": "soft"}, "type")
}

// EnableRTPEngine has the relay url get new sessions of one set, or none.
func (c *Client) EnableRTPEngine(ctx context.Context, set int, url string, on bool) error {
	n := 0
	if on {
		n = 1
	}
	return c.without(ctx, "rtpengine_enable", named{"url": url, "enable": n, "setid": set}, "setid")
}

// A Relay is one of the module rtpengine.
type Relay struct {
	Set      int
	URL      string
	Disabled int
	Weight   int
}

// Relays are those of all sets of the module rtpengine.
func (c *Client) Relays(ctx context.Context) (out []Relay, err error) {
	var r []struct {
		Set   int
		Nodes []Relay
	}
	if err := c.call(ctx, &r, "rtpengine_show", nil); err != nil {
		return nil, err
	}
	for _, s := range r {
		for _, n := range s.Nodes {
			n.Set = s.Set
			out = append(out, n)
		}
	}
	return out, nil
}

// ReloadAddresses has the module permissions read its table address.
func (c *Client) ReloadAddresses(ctx context.Context) error {
	var ignored any
	return c.call(ctx, &ignored, "address_reload", nil)
}

// An Address is one of the module permissions.
type Address struct {
	Group int `json:"grp"`
	IP    string
}

// Addresses are the single addresses of all groups of the module permissions.
func (c *Client) Addresses(ctx context.Context) (out []Address, err error) {
	var r struct {
		Partitions []struct{ Destinations []Address }
	}
	if err := c.call(ctx, &r, "address_dump", nil); err != nil {
		return nil, err
	}
	for _, p := range r.Partitions {
		out = append(out, p.Destinations...)
	}
	return out, nil
}
