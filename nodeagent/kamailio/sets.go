package kamailio

import (
	"context"
	"strings"

	"thor/nodeagent/rpc"
	"thor/overlay/check"
)

// UpSince is when Kamailio was started, in its own words: another one after a restart.
func (c *Client) UpSince(ctx context.Context) (string, error) {
	var r struct {
		UpSince string `json:"up_since"`
	}
	if err := c.call(ctx, &r, "core.uptime"); err != nil {
		return "", err
	}
	if r.UpSince == "" {
		return "", &check.Fault{Text: "kamailio core.uptime: does not tell up_since"}
	}
	return r.UpSince, nil
}

// Busy reports whether err is Kamailio's refusal to reload a table again so soon.
func Busy(err error) bool {
	no := rpc.Refused(err)
	if no == nil {
		return false
	}
	text := strings.ToLower(no.Message)
	return strings.Contains(text, "ongoing reload") || strings.Contains(text, "too short reload interval") || strings.Contains(text, "try later")
}

// do runs a method whose result says nothing.
func (c *Client) do(ctx context.Context, method string, params ...any) error {
	var ignored any
	return c.call(ctx, &ignored, method, params...)
}

// ReloadDispatcher has the module dispatcher read its list_file.
func (c *Client) ReloadDispatcher(ctx context.Context) error { return c.do(ctx, "dispatcher.reload") }

// SetDispatcherState sets the state of the destination uri: "a", "i", "t" or "d".
func (c *Client) SetDispatcherState(ctx context.Context, group int, uri, state string) error {
	return c.do(ctx, "dispatcher.set_state", state, group, uri) // the group is refused as text
}

// A Destination is one of the module dispatcher.
type Destination struct {
	Group int
	URI   string
	Flags string // "AX": the state, and whether it is probed
}

// Destinations are those of all groups of the module dispatcher.
func (c *Client) Destinations(ctx context.Context) (out []Destination, err error) {
	var r struct {
		Records []struct {
			Set struct {
				ID      int
				Targets []struct{ Dest Destination }
			}
		}
	}
	err = c.call(ctx, &r, "dispatcher.list", "short")
	if no := rpc.Refused(err); no != nil && strings.Contains(no.Message, "No Destination Sets") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, rec := range r.Records {
		for _, t := range rec.Set.Targets {
			t.Dest.Group = rec.Set.ID
			out = append(out, t.Dest)
		}
	}
	return out, nil
}

// ReloadRTPEngine has the module rtpengine read its database. Kamailio asks every relay
// whether it lives, one after the other, before it answers.
func (c *Client) ReloadRTPEngine(ctx context.Context) error { return c.do(ctx, "rtpengine.reload") }

// EnableRTPEngine has the relay url, in all sets, get new sessions or none.
func (c *Client) EnableRTPEngine(ctx context.Context, url string, on bool) error {
	n := 0
	if on {
		n = 1
	}
	return c.do(ctx, "rtpengine.enable", url, n)
}

// A Relay is one of the module rtpengine.
type Relay struct {
	Set      int
	URL      string
	Weight   int
	Disabled any // 0, 1 after a failure, or "1(permanent)"
}

// Relays are those of all sets of the module rtpengine.
func (c *Client) Relays(ctx context.Context) (out []Relay, err error) {
	err = c.call(ctx, &out, "rtpengine.show", "all")
	if no := rpc.Refused(err); no != nil && no.Code == 404 {
		return nil, nil
	}
	return out, err
}

// ReloadAddresses has the module permissions read its address_file.
func (c *Client) ReloadAddresses(ctx context.Context) error {
	return c.do(ctx, "permissions.addressReload")
}

// An Address is one of the module permissions.
type Address struct {
	Group int
	Item  struct{ IP string }
}

// Addresses are the single addresses of all groups of the module permissions.
func (c *Client) Addresses(ctx context.Context) (out []Address, err error) {
	err = c.call(ctx, &out, "permissions.addressDump")
	return out, err
}
