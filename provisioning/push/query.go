package push

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"thor/overlay"
	"thor/overlay/media"
	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

const (
	queryTime   = 2 * time.Second // of one query to one node
	queryAtOnce = 32
)

var errUnknownNetwork = errors.New("push: no status has been received yet")

// NodeStatistics is what one node counts.
type NodeStatistics struct {
	Node    subjects.NodeID
	Role    subjects.Role
	Address netip.Addr // the one to show
	// Sections are counts by domain, by what is counted: "online_accounts",
	// "online_devices".
	Sections map[string]map[string]int
}

// members are the nodes that serve subscribers.
func (p *Pusher) members() ([]subjects.Member, error) {
	v := p.net.View()
	switch {
	case v.Status == nil:
		return nil, errUnknownNetwork
	case !v.Connected:
		return nil, overlay.ErrNotConnected
	}
	return v.Status.Roles[p.cfg.Role], nil
}

// Statistics queries every node that serves subscribers. It returns what has
// arrived when ctx ends, in no order: a node that does not answer is left out. The
// error is that no node can be queried.
func (p *Pusher) Statistics(ctx context.Context) ([]NodeStatistics, error) {
	ms, err := p.members()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var out []NodeStatistics
	forEach(ms, func(m subjects.Member) {
		s, err := query(ctx, p, m.Node, subjects.VerbStatistics, nil, subscriber.ParseStatistics)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for role, sections := range s.Roles {
			out = append(out, NodeStatistics{Node: m.Node, Role: role, Address: m.Address(), Sections: sections})
		}
	})
	return out, nil
}

// Locations queries the nodes where the devices of keys register: owners, and
// draining previous owners. A key without devices is absent. It returns what has
// arrived when ctx ends; the error is that no node can be queried.
func (p *Pusher) Locations(ctx context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error) {
	if _, err := p.members(); err != nil {
		return nil, err
	}
	type batch struct {
		node subjects.NodeID
		keys []string
	}
	byNode := make(map[subjects.NodeID][]string)
	for _, k := range keys {
		for _, n := range p.registrars(k) {
			byNode[n] = append(byNode[n], k)
		}
	}
	var batches []batch
	for n, ks := range byNode {
		for part := range slices.Chunk(ks, subscriber.MaxLocationKeys) {
			batches = append(batches, batch{n, part})
		}
	}
	var mu sync.Mutex
	out := make(map[string][]ngnpro.DeviceLocation)
	forEach(batches, func(b batch) {
		req := subscriber.LocationsRequest{V: subjects.Version, Keys: b.keys}
		got, err := query(ctx, p, b.node, subjects.VerbLocations, req.Encode(), subscriber.ParseLocations)
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, k := range b.keys {
			for _, c := range got.Contacts[k] {
				out[k] = append(out[k], location(c))
			}
		}
	})
	return out, nil
}

// NodeMedia is what one node's relays carry.
type NodeMedia struct {
	Member subjects.Member
	Relays []media.Relay
	Err    error // why the node did not tell
}

// Media queries the nodes of media relays, those that only accepts. It returns what has
// arrived when ctx ends, in the order of the nodes; the error is that no node can be
// queried.
func (p *Pusher) Media(ctx context.Context, q media.Request, only func(*subjects.Member) bool) ([]NodeMedia, error) {
	if _, err := p.members(); err != nil {
		return nil, err
	}
	var out []NodeMedia
	for _, m := range p.net.View().Status.Roles[subjects.MediaRelay] {
		if only == nil || only(&m) {
			out = append(out, NodeMedia{Member: m})
		}
	}
	q.V = subjects.Version
	of := make([]*NodeMedia, len(out))
	for i := range out {
		of[i] = &out[i]
	}
	forEach(of, func(x *NodeMedia) {
		r, err := query(ctx, p, x.Member.Node, subjects.VerbMedia, q.Encode(), media.ParseReport)
		if x.Err = err; err == nil {
			x.Relays = r.Relays
		}
	})
	return out, nil
}

// location is a contact as clients see it: behind no NAT both addresses are one.
func location(c subscriber.Contact) ngnpro.DeviceLocation {
	d := ngnpro.DeviceLocation{
		Address: c.Address, Port: c.Port, PublicAddress: c.PublicAddress, PublicPort: c.PublicPort,
		Expires: c.Expires, UserAgent: c.UserAgent, Transport: c.Transport,
	}
	if d.PublicAddress == "" {
		d.PublicAddress, d.PublicPort = d.Address, d.Port
	}
	return d
}

// registrars are the nodes where the devices of key register, or did.
func (p *Pusher) registrars(key string) []subjects.NodeID {
	a := nodesOf(p.table(), key)
	return slices.DeleteFunc(a.Holders(), func(n subjects.NodeID) bool { return !a.Serves(n) })
}

// query sends a request to the agent of one node and parses its answer.
func query[T any](ctx context.Context, p *Pusher, node subjects.NodeID, verb string, data []byte, parse func([]byte) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTime)
	defer cancel()
	var out T
	r, err := p.net.Ask(ctx, subjects.AgentRequest(node, verb), data)
	if err == nil && r.Code != "" {
		err = errors.New(string(r.Code) + ": " + r.Text)
	}
	if err == nil {
		out, err = parse(r.Data)
	}
	if err != nil {
		p.log.Debug().Err(err).Str("peer", string(node)).Str("subject", verb).Msg("a node does not answer")
	}
	return out, err
}

// forEach calls f for each of xs, several at once, and waits.
func forEach[T any](xs []T, f func(T)) {
	var g errgroup.Group
	g.SetLimit(queryAtOnce)
	for _, x := range xs {
		g.Go(func() error { f(x); return nil })
	}
	_ = g.Wait() // f has no error
}
