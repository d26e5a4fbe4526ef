package zone

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"thor/subjects"
)

// addHosts gives every node its name, and keeps those of departed nodes.
//
// A node that has a service answers with the addresses of its services only:
// requests inside a dialog go to this name, and must not reach the address at
// which the machine runs a part of the network itself. So do those of a node
// whose last service departed while it goes on being such a part. A node that is
// only a monitor or an operator has no name.
func (a *assembly) addHosts() {
	nodes, infra := make(map[subjects.NodeID][]netip.Addr), make(map[subjects.NodeID][]netip.Addr)
	for r, ms := range a.status.Roles {
		if !r.NamesHost() {
			continue
		}
		into := nodes
		if strings.HasPrefix(string(r), "thor_") {
			into = infra
		}
		for i := range ms {
			have := into[ms[i].Node]
			if all := union(have, ms[i].Addresses); len(all) > len(have) {
				into[ms[i].Node] = all
			}
		}
	}
	for _, d := range a.status.Departed {
		if len(nodes[d.Node]) == 0 {
			nodes[d.Node] = d.Addresses
		}
	}
	for node, as := range infra {
		if len(nodes[node]) == 0 {
			nodes[node] = as
		}
	}
	a.hosts = make(map[subjects.NodeID]host, len(nodes))
	for node, as := range nodes {
		h := host{name: a.name(string(node))}
		if _, err := subjects.ParseNodeID(string(node)); err == nil && a.free(h.name) {
			h.addrs = sorted(as)
			a.addHost(h.name, h.addrs)
		}
		a.hosts[node] = h
	}
}

// union is all, or as itself if all is nothing, and those of as that it has not.
func union(all, as []netip.Addr) []netip.Addr {
	if len(all) == 0 {
		return slices.Clip(as)
	}
	for _, ad := range as {
		if !slices.Contains(all, ad) {
			all = append(all, ad)
		}
	}
	return all
}

func (a *assembly) addHost(name string, as []netip.Addr) {
	n := a.zone.at(name)
	for _, is4 := range []bool{true, false} {
		own, ttl := family(as, is4), seconds(a.cfg.TTL.Host)
		if old := a.oldSet(name, addressType(is4)); old.hasAddresses(own, ttl) {
			n.sets = append(n.sets, old)
		} else if set := addressSet(name, ttl, own); set != nil {
			n.sets = append(n.sets, set)
		}
	}
}

// sorted are the addresses of as in order, each once.
func sorted(as []netip.Addr) []netip.Addr {
	if len(as) < 2 {
		return as
	}
	out := slices.Clone(as)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// target is the host name of m, whose addresses are exactly those m announces:
// that of its node, or if the node has others too, one of m's own below label.
func (a *assembly) target(m *subjects.Member, label string) string {
	as, node := sorted(m.Addresses), a.hosts[m.Node]
	if slices.Equal(node.addrs, as) {
		return node.name
	}
	own := a.name(string(m.Node) + "." + label)
	if a.free(own) {
		a.addHost(own, as)
	}
	return own
}

// family are the addresses of as of one IP version, each once.
func family(as []netip.Addr, is4 bool) []netip.Addr {
	if len(as) == 1 && as[0].Is4() && is4 {
		return as
	}
	var out []netip.Addr
	for _, a := range as {
		if a.IsValid() && a.Unmap().Is4() == is4 && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out[:min(len(out), subjects.MaxAddresses)]
}

func addressType(is4 bool) uint16 {
	if is4 {
		return dns.TypeA
	}
	return dns.TypeAAAA
}

// addressSet is an A or AAAA set; nil for no addresses. All are of one family.
func addressSet(name string, ttl uint32, as []netip.Addr) *rrset {
	if len(as) == 0 {
		return nil
	}
	set := &rrset{rtype: addressType(as[0].Is4()), rrs: make([]dns.RR, len(as))}
	// Records and addresses of a set are in one piece each.
	size := as[0].BitLen() / 8
	ips := make([]byte, 0, size*len(as))
	for _, a := range as {
		ips = append(ips, a.AsSlice()...)
	}
	ip := func(i int) net.IP { return ips[i*size : (i+1)*size : (i+1)*size] }
	h := header(name, set.rtype, ttl)
	if set.rtype == dns.TypeA {
		records := make([]dns.A, len(as))
		for i := range records {
			records[i] = dns.A{Hdr: h, A: ip(i)}
			set.rrs[i] = &records[i]
		}
		return set
	}
	records := make([]dns.AAAA, len(as))
	for i := range records {
		records[i] = dns.AAAA{Hdr: h, AAAA: ip(i)}
		set.rrs[i] = &records[i]
	}
	return set
}
