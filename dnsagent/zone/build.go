package zone

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"thor/overlay/setting"
	"thor/subjects"
)

// A Builder makes zones of one configuration. It is immutable.
type Builder struct {
	cfg     Config // filled
	digest  string
	static  []dns.RR
	keys    []dns.RR // DNSKEY
	mailbox string
}

// NewBuilder checks cfg and parses its static records, once for all zones. The
// error joins every problem.
func NewBuilder(cfg Config) (*Builder, error) {
	static, problems := cfg.check()
	if err := setting.Join("zone", problems); err != nil {
		return nil, err
	}
	b := &Builder{cfg: cfg.filled(), digest: cfg.Digest(), static: static}
	b.mailbox, _ = mailbox(b.cfg.Contact) // checked
	return b, nil
}

// Signed is b for a zone that is signed by keys, whose records these are.
func (b *Builder) Signed(keys []dns.RR) *Builder {
	c := *b
	c.keys = keys
	text := []byte(b.digest)
	for _, k := range keys {
		text = append(text, k.String()...)
	}
	c.digest = subjects.Digest(text)
	return &c
}

// Digest is the digest of the builder's configuration, and of the keys.
func (b *Builder) Digest() string { return b.digest }

// Apex is the zone's name, lower case, with the final dot.
func (b *Builder) Apex() string { return b.cfg.Domain }

// Build is NewBuilder and its Build in one step.
func Build(cfg Config, s *subjects.Status) (*Zone, error) {
	b, err := NewBuilder(cfg)
	if err != nil {
		return nil, err
	}
	return b.Build(s)
}

// Build makes the zone of s. It fails if s is nil or of another network; what it
// cannot use of s, such as a role name of a later version, it leaves out.
func (b *Builder) Build(s *subjects.Status) (*Zone, error) {
	if s == nil {
		return nil, errors.New("build zone: no status")
	}
	if s.Domain != "" && canonical(s.Domain) != b.cfg.Domain {
		return nil, fmt.Errorf("build zone %s: the status is of %q", b.cfg.Domain, s.Domain)
	}
	a := &assembly{
		Builder: b, status: s,
		hosts: make(map[subjects.NodeID][]netip.Addr),
		owned: make(map[string]bool),
		zone: &Zone{
			apex: b.cfg.Domain, digest: b.digest, mark: s.Mark(), serial: uint32(s.Generation),
			names: make(map[string]*node, 64),
		},
	}
	// Earlier sources win a name that two want: configuration, roles, nodes.
	a.addStatic()
	a.addRoles()
	a.addHosts()
	for i := range b.cfg.Services {
		a.addSRVs(&b.cfg.Services[i])
	}
	a.addLookups()
	a.addAll()
	a.addApex()
	a.zone.link()
	return a.zone, nil
}

// An assembly is a zone in the making.
type assembly struct {
	*Builder
	status *subjects.Status
	zone   *Zone
	hosts  map[subjects.NodeID][]netip.Addr // what <node>.D resolves to, sorted
	owned  map[string]bool                  // names of services and roles
}

func (a *assembly) name(label string) string { return label + "." + a.cfg.Domain }

// free reports whether addresses may be put at name.
func (a *assembly) free(name string) bool {
	if a.owned[name] {
		return false
	}
	n := a.zone.names[name]
	return n == nil || n.set(dns.TypeA) == nil && n.set(dns.TypeAAAA) == nil && n.set(dns.TypeCNAME) == nil
}

func (a *assembly) addStatic() {
	a.zone.static = make(map[string]bool)
	for _, rr := range a.static {
		a.zone.static[rr.Header().Name] = true
		rr = dns.Copy(rr)
		n := a.zone.at(rr.Header().Name)
		if set := n.set(rr.Header().Rrtype); set != nil {
			ttl := min(set.rrs[0].Header().Ttl, rr.Header().Ttl) // one TTL per set: RFC 2181 5.2
			set.rrs = append(set.rrs, rr)
			for _, r := range set.rrs {
				r.Header().Ttl = ttl
			}
			continue
		}
		n.sets = append(n.sets, &rrset{rtype: rr.Header().Rrtype, rrs: []dns.RR{rr}})
	}
	for _, n := range a.zone.names {
		for _, set := range n.sets {
			slices.SortFunc(set.rrs, func(x, y dns.RR) int { return strings.Compare(x.String(), y.String()) })
		}
	}
}

// addRoles puts the addresses of every role that has a name at that name.
func (a *assembly) addRoles() {
	configured := make(map[subjects.Role]bool)
	for _, s := range a.cfg.Services {
		configured[s.Role] = true
		a.owned[a.name(s.Host)] = true
		a.addRole(a.name(s.Host), s.Role)
	}
	for _, r := range a.status.RoleNames() {
		if _, err := subjects.ParseRole(string(r)); err != nil || configured[r] || r.Infrastructure() {
			continue
		}
		if name := a.name(r.HostLabel()); a.free(name) {
			a.owned[name] = true
			a.addRole(name, r)
		}
	}
}

// addRole makes name exist, with the addresses of the serving members of role.
func (a *assembly) addRole(name string, role subjects.Role) {
	n := a.zone.at(name)
	ttl, limit := seconds(a.cfg.TTL.Role), a.cfg.slice(role)
	members := serving(a.status, role)
	for _, is4 := range []bool{true, false} {
		weights := make(map[netip.Addr]uint64, len(members))
		addrs := make([]netip.Addr, 0, len(members))
		for _, m := range members {
			own := family(m.Addresses, is4)
			for _, ad := range own {
				if weights[ad] == 0 {
					addrs = append(addrs, ad)
				}
				// A member is drawn by its weight, however many addresses it has.
				weights[ad] += uint64(weight(m)) * shares / uint64(len(own))
			}
		}
		slices.SortFunc(addrs, netip.Addr.Compare)
		set := addressSet(name, ttl, addrs)
		if set == nil {
			continue
		}
		w := make([]uint64, len(addrs))
		for i, ad := range addrs {
			w[i] = weights[ad]
		}
		set.draw = newDraw(limit, w)
		n.sets = append(n.sets, set)
	}
}

// shares can be divided by any number of addresses of a member without rest.
const shares = 840 // lcm(1..MaxAddresses)

func serving(s *subjects.Status, role subjects.Role) []*subjects.Member {
	ms := s.Roles[role]
	out := make([]*subjects.Member, 0, len(ms))
	for i := range ms {
		if ms[i].Serves() && slices.ContainsFunc(ms[i].Addresses, netip.Addr.IsValid) {
			out = append(out, &ms[i])
		}
	}
	return out
}

func weight(m *subjects.Member) int { return orDefault(m.Weight, subjects.DefaultWeight) }

func family(as []netip.Addr, is4 bool) []netip.Addr {
	var out []netip.Addr
	for _, a := range as {
		if a.IsValid() && a.Unmap().Is4() == is4 && !slices.Contains(out, a.Unmap()) {
			out = append(out, a.Unmap())
		}
	}
	return out[:min(len(out), subjects.MaxAddresses)]
}

// addressSet is an A or AAAA set; nil for no addresses. All are of one family.
func addressSet(name string, ttl uint32, as []netip.Addr) *rrset {
	if len(as) == 0 {
		return nil
	}
	set := &rrset{rtype: dns.TypeAAAA, rrs: make([]dns.RR, len(as))}
	if as[0].Is4() {
		set.rtype = dns.TypeA
	}
	h := dns.RR_Header{Name: name, Rrtype: set.rtype, Class: dns.ClassINET, Ttl: ttl}
	for i, a := range as {
		if set.rtype == dns.TypeA {
			set.rrs[i] = &dns.A{Hdr: h, A: a.AsSlice()}
		} else {
			set.rrs[i] = &dns.AAAA{Hdr: h, AAAA: a.AsSlice()}
		}
	}
	return set
}

// addHosts gives every node its name, and keeps those of departed nodes.
//
// A node that has a service answers with the addresses of its services only:
// requests inside a dialog go to this name, and must not reach the address at
// which the machine runs a part of the network itself. So do those of a node
// whose last service departed while it goes on being such a part.
func (a *assembly) addHosts() {
	infra := make(map[subjects.NodeID][]netip.Addr)
	for r, ms := range a.status.Roles {
		into := a.hosts
		if strings.HasPrefix(string(r), "thor_") {
			into = infra
		}
		for i := range ms {
			into[ms[i].Node] = append(into[ms[i].Node], ms[i].Addresses...)
		}
	}
	for _, d := range a.status.Departed {
		if len(a.hosts[d.Node]) == 0 {
			a.hosts[d.Node] = d.Addresses
		}
	}
	for node, as := range infra {
		if len(a.hosts[node]) == 0 {
			a.hosts[node] = as
		}
	}
	for node, as := range a.hosts {
		a.hosts[node] = nil
		if _, err := subjects.ParseNodeID(string(node)); err == nil && a.free(a.name(string(node))) {
			a.hosts[node] = sorted(as)
			a.addHost(a.name(string(node)), a.hosts[node])
		}
	}
}

func (a *assembly) addHost(name string, as []netip.Addr) {
	n := a.zone.at(name)
	for _, is4 := range []bool{true, false} {
		if set := addressSet(name, seconds(a.cfg.TTL.Host), family(as, is4)); set != nil {
			n.sets = append(n.sets, set)
		}
	}
}

func sorted(as []netip.Addr) []netip.Addr {
	out := slices.Clone(as)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// target is the host name of m, whose addresses are exactly those m announces:
// that of its node, or if the node has others too, one of m's own below label.
func (a *assembly) target(m *subjects.Member, label string) string {
	as := sorted(m.Addresses)
	if host := a.name(string(m.Node)); slices.Equal(a.hosts[m.Node], as) {
		return host
	}
	own := a.name(string(m.Node) + "." + label)
	if a.free(own) {
		a.addHost(own, as)
	}
	return own
}

func (a *assembly) addSRVs(s *Service) {
	members := serving(a.status, s.Role)
	weights := make([]uint64, len(members))
	targets := make([]string, len(members))
	for i, m := range members {
		weights[i] = uint64(weight(m))
		targets[i] = a.target(m, s.Host)
	}
	limit := a.cfg.slice(s.Role)
	// Weights count once. If all members fit the answer the client draws by
	// them (RFC 2782); if not, our draw did, and the client draws evenly.
	even := len(members) > limit && slices.Max(weights) != slices.Min(weights)
	for _, v := range s.SRV {
		name := a.name(v.Name)
		n := a.zone.at(name)
		if len(members) == 0 {
			continue
		}
		set := &rrset{rtype: dns.TypeSRV, rrs: make([]dns.RR, len(members))}
		h := dns.RR_Header{Name: name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: seconds(a.cfg.TTL.Role)}
		for i := range members {
			w := uint16(weights[i])
			if even {
				w = subjects.DefaultWeight
			}
			set.rrs[i] = &dns.SRV{Hdr: h, Priority: v.Priority, Weight: w, Port: port(members[i], s.Role, v.Port), Target: targets[i]}
		}
		set.draw = newDraw(limit, weights)
		n.sets = append(n.sets, set)
	}
}

// port is where m serves: event servers say it, since each may listen at another
// port and a client has no other way to find them.
func port(m *subjects.Member, role subjects.Role, configured uint16) uint16 {
	if role == subjects.EventServer {
		if p, err := strconv.ParseUint(m.Attrs[subjects.AttrPort], 10, 16); err == nil && p != 0 {
			return uint16(p)
		}
	}
	return configured
}
