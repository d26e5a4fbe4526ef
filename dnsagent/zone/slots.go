package zone

import (
	"strings"

	"github.com/miekg/dns"

	"thor/overlay/lookup"
	"thor/subjects"
)

// lookupLabel is the name below the apex under which slots have names.
const lookupLabel = lookup.DNSLabel

// heirAfter is how much less the heir is preferred than the owner, and the remote
// than the heir, as SRV priority.
const heirAfter = 10

// slotNames are the names <slot>.<role>.lookup.D of one role: one for each slot
// of its lookup table, far too many to be written down. Their records are made
// when they are asked for.
type slotNames struct {
	zone    *Zone
	roster  *lookup.Roster // nil: the role has no members, or no table
	members map[subjects.NodeID]slotMember
	srvs    []SRV
	naptr   []dns.NAPTR // with what stands left of the slot as Replacement
	ttl     uint32
	ttls    uint32 // of NAPTR
}

// A slotMember is where an owner, heir or remote is found.
type slotMember struct {
	target string
	member *subjects.Member // whose addresses in the role are the owner's
}

// addLookups gives every role with a lookup table the names of its slots. The
// roles of services have them always: no such name must be denied while a role
// happens to have no members.
func (a *assembly) addLookups() {
	a.zone.slots = make(map[string]*slotNames)
	services := make(map[subjects.Role]*Service)
	for i := range a.cfg.Services {
		if s := &a.cfg.Services[i]; !s.Role.Infrastructure() {
			services[s.Role] = s
			a.addSlots(s.Role, s)
		}
	}
	for _, r := range a.status.RoleNames() {
		_, ok := a.status.Lookup[r]
		if _, err := subjects.ParseRole(string(r)); err == nil && ok && services[r] == nil {
			a.addSlots(r, nil)
		}
	}
}

func (a *assembly) addSlots(role subjects.Role, s *Service) {
	n := &slotNames{zone: a.zone, ttl: seconds(a.cfg.TTL.Role), ttls: seconds(a.cfg.TTL.NAPTR)}
	label := role.HostLabel()
	if s != nil {
		n.srvs, label = s.SRV, s.Host
		for _, v := range s.SRV {
			if v.NAPTR != "" {
				n.naptr = append(n.naptr, dns.NAPTR{Order: v.Order, Preference: 100, Flags: "s", Service: v.NAPTR, Replacement: v.Name})
			}
		}
	}
	if l, ok := a.status.Lookup[role]; ok {
		n.roster, _ = lookup.NewRoster(l.Bits, lookup.MembersFor(l, a.status.Roles[role])) // nil if it is impossible, as without members
	}
	members, targets := serving(a.status, role), a.targets[role]
	n.members = make(map[subjects.NodeID]slotMember, len(members))
	for i, m := range members {
		if s == nil {
			targets = append(targets, a.target(m, label))
		}
		n.members[m.Node] = slotMember{targets[i], m}
	}
	a.zone.slots[role.HostLabel()] = n
	a.zone.at(a.name(role.HostLabel() + "." + lookupLabel))
}

// slotNode makes the node of a name below lookup.D; nil if there is none. Names
// are <slot>.<role>.lookup.D, and _service._protocol in front of it.
func (z *Zone) slotNode(name string) *node {
	front, ok := strings.CutSuffix(name, "."+lookupLabel+"."+z.apex)
	if !ok {
		return nil
	}
	front, role := cutLast(front)
	service, label := cutLast(front)
	if n := z.slots[role]; n != nil && label != "" {
		return n.node(name, service, label)
	}
	return nil
}

// cutLast cuts the last label off labels.
func cutLast(labels string) (before, last string) {
	i := strings.LastIndexByte(labels, '.')
	return labels[:max(i, 0)], labels[i+1:]
}

// node makes the node of one slot's name, or of service in front of it.
func (n *slotNames) node(name, service, label string) *node {
	if n.roster == nil {
		if n.known(service) && plausibleLabel(label) {
			return &node{}
		}
		return nil
	}
	slot, ok := lookup.ParseLabel(n.roster.Bits(), label)
	if !ok || !n.known(service) {
		return nil
	}
	out := &node{}
	owner, heir, remote, err := n.roster.At(slot)
	if err != nil {
		return out // all drain: the name exists and has no addresses
	}
	if service != "" {
		out.add(n.srvSet(name, service, owner, heir, remote))
		return out
	}
	if m := n.members[owner].member; m != nil {
		for _, is4 := range []bool{true, false} {
			out.add(addressSet(name, n.ttl, sorted(family(m.Addresses, is4))))
		}
	}
	if len(n.naptr) > 0 {
		out.add(n.naptrSet(name))
	}
	return out
}

func (n *node) add(s *rrset) {
	if s != nil && len(s.rrs) > 0 {
		n.sets = append(n.sets, s)
	}
}

// known reports whether service is nothing, a configured one such as "_sip._udp",
// or the end of one.
func (n *slotNames) known(service string) bool {
	for _, v := range n.srvs {
		if service == v.Name || strings.HasSuffix(v.Name, "."+service) {
			return true
		}
	}
	return service == ""
}

// plausibleLabel accepts the label of a slot of some table.
func plausibleLabel(label string) bool {
	for bits := lookup.MinBits; bits <= lookup.MaxBits; bits++ {
		if _, ok := lookup.ParseLabel(bits, label); ok {
			return true
		}
	}
	return false
}

// srvSet names the owner first, then the heir, and then the remote if it is another
// one, by priority.
func (n *slotNames) srvSet(name, service string, owner, heir, remote subjects.NodeID) *rrset {
	nodes := []subjects.NodeID{owner, heir, remote}
	if remote == heir {
		nodes = nodes[:2]
	}
	set := &rrset{rtype: dns.TypeSRV}
	for _, v := range n.srvs {
		if v.Name != service {
			continue
		}
		for i, node := range nodes {
			m, ok := n.members[node]
			if !ok {
				continue
			}
			set.rrs = append(set.rrs, &dns.SRV{
				Hdr: header(name, dns.TypeSRV, n.ttl), Priority: v.Priority + uint16(i)*heirAfter,
				Weight: subjects.DefaultWeight, Port: v.Port, Target: m.target,
			})
		}
	}
	set.glue = n.zone.glue(set.rrs)
	return set
}

func (n *slotNames) naptrSet(name string) *rrset {
	set := &rrset{rtype: dns.TypeNAPTR}
	for _, p := range n.naptr {
		p.Hdr, p.Replacement = header(name, dns.TypeNAPTR, n.ttls), p.Replacement+"."+name
		set.rrs = append(set.rrs, &p)
	}
	return set
}
