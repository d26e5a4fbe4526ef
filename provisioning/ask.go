package provisioning

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"thor/overlay"
	"thor/provisioning/ngnpro"
	"thor/subjects"
)

const (
	askTime   = 2 * time.Second // of one question to one node
	askAtOnce = 32
)

// errUnknownNetwork says that no status has been received yet.
var errUnknownNetwork = errors.New("provisioning: nothing is known of the network yet")

// members are the nodes that serve subscribers.
func (l *Live) members() ([]subjects.Member, error) {
	v := l.net.View()
	switch {
	case v.Status == nil:
		return nil, errUnknownNetwork
	case !v.Connected:
		return nil, overlay.ErrNotConnected
	}
	return v.Status.Roles[l.cfg.Role], nil
}

// Statistics asks every node that serves subscribers what it counts.
func (l *Live) Statistics(ctx context.Context) ([]NodeStatistics, error) {
	ms, err := l.members()
	if err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var out []NodeStatistics
	eachOf(ms, func(m subjects.Member) {
		var s *subjects.NodeStatistics
		err := l.question(ctx, m.Node, subjects.VerbStatistics, nil, func(b []byte) (err error) {
			s, err = subjects.ParseNodeStatistics(b)
			return err
		})
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

// Locations asks the nodes that may know where the devices of keys are: owners,
// and residences of what registered before a drain.
func (l *Live) Locations(ctx context.Context, keys []string) (map[string][]ngnpro.DeviceLocation, error) {
	if _, err := l.members(); err != nil {
		return nil, err
	}
	type batch struct {
		node subjects.NodeID
		keys []string
	}
	byNode := make(map[subjects.NodeID][]string)
	for _, k := range keys {
		for _, n := range l.servers(k) {
			byNode[n] = append(byNode[n], k)
		}
	}
	var batches []batch
	for n, ks := range byNode {
		for part := range slices.Chunk(ks, subjects.MaxLocationKeys) {
			batches = append(batches, batch{n, part})
		}
	}
	var mu sync.Mutex
	out := make(map[string][]ngnpro.DeviceLocation)
	eachOf(batches, func(b batch) {
		req := subjects.LocationsRequest{V: subjects.Version, Keys: b.keys}
		var got *subjects.Locations
		err := l.question(ctx, b.node, subjects.VerbLocations, req.Encode(), func(b []byte) (err error) {
			got, err = subjects.ParseLocations(b)
			return err
		})
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

// location is a contact as clients see it: behind no NAT both addresses are one.
func location(c subjects.Contact) ngnpro.DeviceLocation {
	d := ngnpro.DeviceLocation{
		Address: c.Address, Port: c.Port, PublicAddress: c.PublicAddress, PublicPort: c.PublicPort,
		Expires: c.Expires, UserAgent: c.UserAgent, Transport: c.Transport,
	}
	if d.PublicAddress == "" {
		d.PublicAddress, d.PublicPort = d.Address, d.Port
	}
	return d
}

// servers are the nodes where the devices of key register, or did.
func (l *Live) servers(key string) []subjects.NodeID {
	t := l.table()
	if t == nil {
		return nil
	}
	p, err := t.Find(key)
	if err != nil {
		return nil
	}
	if p.Residence() != p.Owner() {
		return []subjects.NodeID{p.Owner(), p.Residence()}
	}
	return []subjects.NodeID{p.Owner()}
}

// question asks the node agent of one node.
func (l *Live) question(ctx context.Context, node subjects.NodeID, verb string, data []byte, take func([]byte) error) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := l.net.Ask(ctx, subjects.AgentRequest(node, verb), data)
	if err == nil && r.Code != "" {
		err = errors.New(string(r.Code) + ": " + r.Text)
	}
	if err == nil {
		err = take(r.Data)
	}
	if err != nil {
		l.log.Debug().Err(err).Str("peer", string(node)).Str("subject", verb).Msg("a node does not answer")
	}
	return err
}

// eachOf calls f for each of xs, several at once, and waits.
func eachOf[T any](xs []T, f func(T)) {
	slots := make(chan struct{}, askAtOnce)
	var g sync.WaitGroup
	for _, x := range xs {
		slots <- struct{}{}
		g.Go(func() {
			defer func() { <-slots }()
			f(x)
		})
	}
	g.Wait()
}
