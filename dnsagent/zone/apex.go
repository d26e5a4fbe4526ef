package zone

import (
	"cmp"
	"slices"

	"github.com/miekg/dns"

	"thor/subjects"
)

func (a *assembly) addApex() {
	apex := a.zone.at(a.cfg.Domain)
	hosts := a.nameServers()
	primary := a.cfg.Primary
	if primary == "" {
		primary = a.cfg.Domain
		if len(hosts) > 0 {
			primary = hosts[0]
		}
	}
	t := &a.cfg.Timers
	soa := &dns.SOA{
		Hdr: header(a.cfg.Domain, dns.TypeSOA, seconds(a.cfg.TTL.SOA)), Ns: primary, Mbox: a.mailbox, Serial: a.zone.serial,
		Refresh: seconds(t.Refresh), Retry: seconds(t.Retry), Expire: seconds(t.Expire), Minttl: seconds(a.cfg.TTL.Negative),
	}
	apex.sets = append(apex.sets, &rrset{rtype: dns.TypeSOA, rrs: []dns.RR{soa}})
	negative := *soa
	negative.Hdr.Ttl = min(soa.Hdr.Ttl, soa.Minttl) // RFC 2308 3
	a.zone.negative = &negative

	if len(hosts) > 0 {
		ns := &rrset{rtype: dns.TypeNS}
		for _, host := range hosts {
			ns.rrs = append(ns.rrs, &dns.NS{Hdr: header(a.cfg.Domain, dns.TypeNS, seconds(a.cfg.TTL.NS)), Ns: host})
		}
		apex.sets = append(apex.sets, ns)
	}
	if len(a.keys) > 0 {
		apex.sets = append(apex.sets, &rrset{rtype: dns.TypeDNSKEY, rrs: a.keys})
	}
	if naptr := a.naptr(); len(naptr.rrs) > 0 {
		apex.sets = append(apex.sets, naptr)
	}
}

func header(name string, rtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rtype, Class: dns.ClassINET, Ttl: ttl}
}

// nameServers are the configured ones, or the hosts of the name servers that
// serve. While all of them drain they stay: a zone cannot be without.
func (a *assembly) nameServers() []string {
	if len(a.cfg.NameServers) > 0 {
		return slices.Sorted(slices.Values(a.cfg.NameServers))
	}
	members := serving(a.status, subjects.DNSManager)
	if len(members) == 0 {
		ms := a.status.Roles[subjects.DNSManager]
		for i := range ms {
			members = append(members, &ms[i])
		}
	}
	var out []string
	for _, m := range members[:min(len(members), MaxNS)] {
		out = append(out, a.target(m, subjects.DNSManager.HostLabel()))
	}
	return out
}

func (a *assembly) naptr() *rrset {
	set := &rrset{rtype: dns.TypeNAPTR}
	for _, s := range a.cfg.Services {
		for _, v := range s.SRV {
			if v.NAPTR == "" {
				continue
			}
			set.rrs = append(set.rrs, &dns.NAPTR{
				Hdr:   header(a.cfg.Domain, dns.TypeNAPTR, seconds(a.cfg.TTL.NAPTR)),
				Order: v.Order, Preference: 100, Flags: "s", Service: v.NAPTR, Replacement: a.name(v.Name),
			})
		}
	}
	slices.SortFunc(set.rrs, func(x, y dns.RR) int {
		a, b := x.(*dns.NAPTR), y.(*dns.NAPTR)
		return cmp.Or(cmp.Compare(a.Order, b.Order), cmp.Compare(a.Service, b.Service), cmp.Compare(a.Replacement, b.Replacement))
	})
	return set
}
