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
	static  map[string]*node // the names of static records, with those alone
	records map[string]*node // the same of provisioned ones
	keys    []dns.RR         // DNSKEY
	mailbox string

	badRecords []Unserved // provisioned ones that no status makes good
}

// NewBuilder checks cfg and parses its static and provisioned records, once for all
// zones. The error joins every problem.
func NewBuilder(cfg Config) (*Builder, error) {
	k := cfg.check()
	if err := setting.Join("zone", k.problems); err != nil {
		return nil, err
	}
	records, bad := k.records(k.static)
	b := &Builder{cfg: cfg.filled(), digest: cfg.Digest(), static: staticNodes(k.static), records: staticNodes(records), badRecords: bad}
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

// Askers is the table of the configuration, for a name server at own.
func (b *Builder) Askers(own subjects.Site) *Askers { return b.cfg.Askers(own) }

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
func (b *Builder) Build(s *subjects.Status) (*Zone, error) { return b.BuildAfter(nil, s) }

// BuildAfter is Build for a zone that shares with an earlier one, prev, what it has alike.
func (b *Builder) BuildAfter(prev *Zone, s *subjects.Status) (*Zone, error) {
	if s == nil {
		return nil, errors.New("build zone: no status")
	}
	if s.Domain != "" && canonical(s.Domain) != b.cfg.Domain {
		return nil, fmt.Errorf("build zone %s: the status is of %q", b.cfg.Domain, s.Domain)
	}
	a := &assembly{
		Builder: b, status: s, owned: make(map[string]bool), targets: make(map[subjects.Role][]string),
		zone: &Zone{
			apex: b.cfg.Domain, digest: b.digest, mark: s.Mark(), serial: uint32(s.Generation), status: s,
			names: make(map[string]*node, 64),
		},
	}
	if prev != nil && prev.digest == b.digest {
		a.prev = prev
		a.zone.names = make(map[string]*node, len(prev.names))
	}
	// Earlier sources win a name that two want: configuration, roles, nodes, provisioning.
	a.addStatic()
	a.addRoles()
	a.addHosts()
	for i := range b.cfg.Services {
		a.addSRVs(&b.cfg.Services[i])
	}
	a.addLookups()
	a.addAll()
	a.addApex()
	a.addRecords()
	a.zone.link(prev)
	return a.zone, nil
}

// An assembly is a zone in the making.
type assembly struct {
	*Builder
	prev    *Zone // of an earlier status and the same configuration; nil: none
	status  *subjects.Status
	zone    *Zone
	hosts   map[subjects.NodeID]host
	owned   map[string]bool            // names of services and roles
	targets map[subjects.Role][]string // host names of the serving members, of roles with a service
}

// A host is the name of a node and what it resolves to, sorted.
type host struct {
	name  string
	addrs []netip.Addr
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
	a.zone.static = make(map[string]bool, len(a.static))
	for name, n := range a.static {
		a.zone.static[name] = true
		to := a.zone.at(name)
		for _, s := range n.sets {
			to.sets = append(to.sets, &rrset{rtype: s.rtype, rrs: s.rrs})
		}
	}
}

// staticNodes sorts static records by name and type.
func staticNodes(all []dns.RR) map[string]*node {
	names := make(map[string]*node)
	for _, rr := range all {
		name, rtype := rr.Header().Name, rr.Header().Rrtype
		n := names[name]
		if n == nil {
			n = &node{}
			names[name] = n
		}
		set := n.set(rtype)
		if set == nil {
			set = &rrset{rtype: rtype}
			n.sets = append(n.sets, set)
		}
		set.rrs = append(set.rrs, dns.Copy(rr))
	}
	for _, n := range names {
		for _, set := range n.sets {
			ttl := set.rrs[0].Header().Ttl
			for _, rr := range set.rrs {
				ttl = min(ttl, rr.Header().Ttl) // one TTL per set: RFC 2181 5.2
			}
			for _, rr := range set.rrs {
				rr.Header().Ttl = ttl
			}
			slices.SortFunc(set.rrs, func(x, y dns.RR) int { return strings.Compare(x.String(), y.String()) })
		}
	}
	return names
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
	if old := a.prev.node(name); old != nil && a.sameMembers(role) {
		for _, s := range old.sets {
			if s.draw != nil && s.rtype != dns.TypeSRV {
				n.sets = append(n.sets, s)
			}
		}
		return
	}
	members := serving(a.status, role)
	p := a.cfg.preference(role)
	p.By = "" // addresses have no priorities
	prefers := p.concerns(members)
	for _, is4 := range []bool{true, false} {
		drawn := make([]drawnAddress, 0, len(members))
		for _, m := range members {
			own := family(m.Addresses, is4)
			for i, ad := range own {
				// A member is drawn by its weight, however many addresses it has.
				d := drawnAddress{addr: ad, weight: uint64(weight(m)) * shares / uint64(len(own))}
				if prefers {
					d.standing = standingOf(m)
					if i > 0 {
						d.up = 0 // it counts once
					}
				}
				drawn = append(drawn, d)
			}
		}
		drawn = sums(drawn)
		addrs, weights, standings := make([]netip.Addr, len(drawn)), make([]uint64, len(drawn)), make([]standing, len(drawn))
		for i, d := range drawn {
			addrs[i], weights[i], standings[i] = d.addr, d.weight, d.standing
		}
		if set := addressSet(name, ttl, addrs); set != nil {
			set.draw = newDraw(limit, weights)
			if prefers {
				set.draw = set.draw.preferring(p, standings, weights)
			}
			n.sets = append(n.sets, set)
		}
	}
}

// A drawnAddress is one of a member of a role.
type drawnAddress struct {
	addr   netip.Addr
	weight uint64
	standing
}

// sums are the addresses in order, each once, with its weights added up.
func sums(drawn []drawnAddress) []drawnAddress {
	slices.SortFunc(drawn, func(a, b drawnAddress) int { return a.addr.Compare(b.addr) })
	out := drawn[:0]
	for _, d := range drawn {
		if n := len(out); n > 0 && d.addr == out[n-1].addr {
			out[n-1].weight += d.weight
			out[n-1].standing = out[n-1].with(d.standing)
			continue
		}
		out = append(out, d)
	}
	return out
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

func (a *assembly) addSRVs(s *Service) {
	members := serving(a.status, s.Role)
	weights := make([]uint64, len(members))
	targets := make([]string, len(members))
	for i, m := range members {
		weights[i] = uint64(weight(m))
		targets[i] = a.target(m, s.Host)
	}
	a.targets[s.Role] = targets
	same := a.sameMembers(s.Role)
	limit := a.cfg.slice(s.Role)
	// Weights count once. If all members fit the answer the client draws by
	// them (RFC 2782); if not, our draw did, and the client draws evenly.
	even := len(members) > limit && slices.Max(weights) != slices.Min(weights)
	p := a.cfg.preference(s.Role)
	standings, real := make([]standing, len(members)), make([]uint16, len(members))
	for i, m := range members {
		standings[i], real[i] = standingOf(m), uint16(weights[i])
	}
	for _, v := range s.SRV {
		name := a.name(v.Name)
		n := a.zone.at(name)
		if len(members) == 0 {
			continue
		}
		if old := a.oldSet(name, dns.TypeSRV); same && old.hasTargets(targets) {
			n.sets = append(n.sets, &rrset{rtype: dns.TypeSRV, rrs: old.rrs, draw: old.draw, vary: old.vary})
			continue
		}
		set := &rrset{rtype: dns.TypeSRV, rrs: make([]dns.RR, len(members))}
		records, h := make([]dns.SRV, len(members)), header(name, dns.TypeSRV, seconds(a.cfg.TTL.Role))
		for i := range members {
			w := uint16(weights[i])
			if even {
				w = subjects.DefaultWeight
			}
			records[i] = dns.SRV{Hdr: h, Priority: v.Priority, Weight: w, Port: port(members[i], s.Role, v.Port), Target: targets[i]}
			set.rrs[i] = &records[i]
		}
		set.draw = newDraw(limit, weights)
		if draw := set.draw.preferring(p, standings, weights); draw != set.draw {
			set.draw, set.vary = draw, &variation{}
			if even {
				set.vary.weights = real
			}
		}
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
