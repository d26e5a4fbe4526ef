package provisioning

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"thor/overlay"
	"thor/overlay/subscriber"
	"thor/provisioning/ngnpro"
	"thor/provisioning/push"
	"thor/subjects"
)

// A Network tells what the network's status is. An *overlay.Node is one.
type Network interface {
	// Watch delivers the view at once, and later ones.
	Watch(context.Context) <-chan *overlay.View
}

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

func networkOperations() []operation {
	return []operation{
		get("getStatus", func(c *call, _ *nothing) (string, error) {
			st, err := c.confirmed()
			if err != nil {
				return "", err
			}
			return toJSON(networkStatus(st, c.v)), nil
		}),
		get("getStatistics", func(c *call, _ *nothing) (string, error) {
			total, err := c.cfg.Store.Domains.CountAccounts(c.ctx)
			if err != nil {
				return "", err
			}
			nodes := c.nodeStatistics()
			if !c.v.Admin {
				seen, err := c.domainsSeen()
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

// publicRoles are those that customers see.
var publicRoles = []subjects.Role{
	subjects.SIPProxy, subjects.MediaRelay, subjects.ProvisioningServer, "xcap_server", subjects.DNSManager, subjects.Database, "voicemail_server",
}

// networkStatus is the answer of getStatus: nodes by name, each with its
// address, version and roles, and for administrators with what its roles
// announce. Where two roles of a node announce different values under one name,
// those of the database stay under that name and others get the role's before it.
func networkStatus(st *subjects.Status, v ngnpro.Viewer) map[string]map[string]any {
	out := make(map[string]map[string]any)
	if st == nil {
		return out
	}
	roles := st.RoleNames()
	slices.SortStableFunc(roles, func(a, b subjects.Role) int { return cmp.Compare(rank(a), rank(b)) })
	for _, role := range roles {
		if !v.Admin && !slices.Contains(publicRoles, role) {
			continue
		}
		for i := range st.Roles[role] {
			m := &st.Roles[role][i]
			e := out[string(m.Node)]
			if e == nil {
				e = map[string]any{"ip": m.Address().String(), "version": m.Version, "roles": []string{}}
				out[string(m.Node)] = e
			}
			e["roles"] = append(e["roles"].([]string), string(role))
			if v.Admin {
				describe(e, role, m)
			}
		}
	}
	for _, e := range out {
		slices.Sort(e["roles"].([]string))
	}
	return out
}

func rank(r subjects.Role) int {
	if r == subjects.Database {
		return 0
	}
	return 1
}

func describe(e map[string]any, role subjects.Role, m *subjects.Member) {
	put := func(name string, value any) {
		if old, ok := e[name]; ok && old != value {
			name = string(role) + "." + name
		}
		e[name] = value
	}
	for _, k := range slices.Sorted(keys(m.Attrs)) {
		if k != "roles" { // a list here, and nothing a member may say
			put(k, m.Attrs[k])
		}
	}
	if m.Priority != 0 {
		put("priority", m.Priority)
	}
	if m.State != subjects.Up {
		put("state", string(m.State))
		put("reason", m.Reason)
	}
}

func keys[V any](m map[string]V) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// sections are counts by domain, by what is counted.
type sections = map[string]map[string]int

// statistics is the answer of getStatistics: by node address and role, and in
// sum under "summary".
func statistics(total map[string]int, nodes []push.NodeStatistics) map[string]map[string]sections {
	sum := sections{"online_accounts": {}, "total_accounts": total}
	out := map[string]map[string]sections{"summary": {string(subjects.SIPProxy): sum}}
	for _, n := range nodes {
		addr, role := n.Address.String(), string(n.Role)
		if out[addr] == nil {
			out[addr] = make(map[string]sections)
		}
		if out[addr][role] == nil {
			out[addr][role] = make(sections)
		}
		for section, byDomain := range n.Sections {
			add(out[addr][role], section, byDomain)
			if n.Role == subjects.SIPProxy {
				add(sum, section, byDomain)
			}
		}
	}
	return out
}

func add(s sections, section string, byDomain map[string]int) {
	if s[section] == nil {
		s[section] = make(map[string]int)
	}
	for d, n := range byDomain {
		s[section][d] += n
	}
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

// domainsSeen are the domains that the caller sees.
func (c *call) domainsSeen() (map[string]bool, error) {
	seen := make(map[string]bool)
	for start := 0; ; {
		q := &ngnpro.SipDomainQuery{Range: &ngnpro.Range{Start: start, Count: ngnpro.MaxCount}}
		total, ds, err := c.cfg.Store.Domains.Find(c.ctx, c.v, q)
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

func only(byDomain map[string]int, seen map[string]bool) map[string]int {
	out := make(map[string]int)
	for d, n := range byDomain {
		if seen[d] {
			out[d] = n
		}
	}
	return out
}

func onlyNodes(nodes []push.NodeStatistics, seen map[string]bool) []push.NodeStatistics {
	out := slices.Clone(nodes)
	for i := range out {
		s := make(sections)
		for section, byDomain := range out[i].Sections {
			s[section] = only(byDomain, seen)
		}
		out[i].Sections = s
	}
	return out
}

type sipIDsIn struct {
	IDs []ngnpro.SipID `soap:"sipIds"`
}

// deviceLocations answers for each subscriber in the order asked; what the
// caller does not see has no devices.
func deviceLocations(c *call, in *sipIDsIn) ([]ngnpro.DeviceLocations, error) {
	if len(in.IDs) > subscriber.MaxKeys {
		return nil, ngnpro.ErrInvalid.With("sipIds has more than %d items", subscriber.MaxKeys)
	}
	out := make([]ngnpro.DeviceLocations, len(in.IDs))
	var ask []string
	for i := range in.IDs {
		if err := in.IDs[i].Clean(); err != nil {
			return nil, err
		}
		if seen, err := c.sees(in.IDs[i]); err != nil {
			return nil, err
		} else if seen {
			ask = append(ask, in.IDs[i].Key())
		}
	}
	if c.cfg.Nodes == nil || len(ask) == 0 {
		return out, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, nodesWait)
	defer cancel()
	found, err := c.cfg.Nodes.Locations(ctx, ask)
	if err != nil {
		return nil, ngnpro.ErrUnavailable.With("the nodes cannot be asked: try again later")
	}
	for i, id := range in.IDs {
		if slices.Contains(ask, id.Key()) {
			out[i].Locations = found[id.Key()]
		}
	}
	return out, nil
}

func (c *call) sees(id ngnpro.SipID) (bool, error) {
	if c.v.Admin {
		return true, nil
	}
	_, err := c.cfg.Store.Accounts.Get(c.ctx, c.v, id)
	if isFault(err, ngnpro.ErrAccountNotFound) {
		return false, nil
	}
	return err == nil, err
}
