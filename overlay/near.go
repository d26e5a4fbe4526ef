package overlay

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"thor/subjects"
)

// A nearness says how far a broker is; less is nearer.
type nearness int

const (
	onMachine nearness = iota
	inSite
	elsewhere // or unknown where
)

// A neighbourhood knows which brokers are near this process. The zero value finds all
// equally far.
type neighbourhood struct {
	machine func(host string) bool     // the host is this machine; nil: it makes no difference
	site    func() subjects.Site       // where this process is, "": unknown; nil: never known
	domain  string                     // of the network
	brokers []subjects.Member          // those of the newest status
	names   map[string]subjects.NodeID // by URL: the broker that greeted there last
}

// greeted notes which broker has answered at a URL.
func (n *neighbourhood) greeted(at string, name subjects.NodeID) {
	if n.names == nil {
		n.names = make(map[string]subjects.NodeID)
	}
	n.names[at] = name
}

// of is how near each broker of a list is. One that is on this machine counts as that only
// if it is the only one: where all are on one machine it makes no difference.
func (n *neighbourhood) of(list []string) map[string]nearness {
	out := make(map[string]nearness, len(list))
	here := 0
	for _, s := range list {
		out[s] = elsewhere
		u, err := url.Parse(s)
		if err != nil {
			continue
		}
		if n.inSite(s, u) {
			out[s] = inSite
		}
		if n.machine != nil && n.machine(u.Hostname()) {
			here++
		}
	}
	if here != 1 {
		return out
	}
	for _, s := range list {
		if u, err := url.Parse(s); err == nil && n.machine(u.Hostname()) {
			out[s] = onMachine
		}
	}
	return out
}

// ownSite is where this process is; "": unknown.
func (n *neighbourhood) ownSite() subjects.Site {
	if n.site == nil {
		return ""
	}
	return n.site()
}

// inSite reports whether the broker at a URL is known to stand in the site of this process.
func (n *neighbourhood) inSite(s string, u *url.URL) bool {
	own := n.ownSite()
	if own == "" {
		return false
	}
	m := n.broker(s, u)
	return m != nil && m.Place() == own
}

// broker is what the status says of the broker at a URL, nil for nothing: of the one that
// greeted there, else of the one with that name or address in the status.
func (n *neighbourhood) broker(s string, u *url.URL) *subjects.Member {
	name, known := n.names[s]
	if !known {
		name = subjects.NodeID(strings.TrimSuffix(u.Hostname(), "."+n.domain))
	}
	byName := slices.IndexFunc(n.brokers, func(m subjects.Member) bool { return m.Node == name })
	if byName >= 0 {
		return &n.brokers[byName]
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if known || err != nil {
		return nil
	}
	byAddress := slices.IndexFunc(n.brokers, func(m subjects.Member) bool {
		port := m.Attrs[subjects.AttrPort]
		return (port == "" || port == u.Port()) && slices.Contains(m.Addresses, addr.Unmap())
	})
	if byAddress < 0 {
		return nil
	}
	return &n.brokers[byAddress]
}

// nearer are the brokers of list that are nearer than the one at a URL. Where the status
// has brokers in the own site and none of the list is known to be one, those are that have not
// greeted yet: one of them may be it.
func (n *neighbourhood) nearer(list []string, at string) (out []string) {
	near := n.of(list)
	mine, known := near[at]
	if !known {
		mine = elsewhere
	}
	found := false
	for _, s := range list {
		found = found || near[s] < elsewhere
		if near[s] < mine {
			out = append(out, s)
		}
	}
	own := n.ownSite()
	if found || mine < elsewhere || own == "" || !slices.ContainsFunc(n.brokers, func(m subjects.Member) bool { return m.Place() == own }) {
		return out
	}
	for _, s := range list {
		if _, known := n.names[s]; !known && s != at && near[s] == elsewhere {
			out = append(out, s)
		}
	}
	return out
}
