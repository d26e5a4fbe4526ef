package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"thor/cmd/thor/internal/doctor/gather"
	"thor/dnsagent/zone"
	"thor/provisioning"
	"thor/subjects"
)

// zoneConfig is the zone by the file, if it is a name server's too, or else the one
// that name servers have by default.
func (d *daemon) zoneConfig() zone.Config {
	if d.file.DNS != nil {
		return d.file.DNS.Zone(d.file.Network.Domain)
	}
	return zone.DefaultConfig(d.file.Network.Domain)
}

// unservedRecord says why name servers would leave out a provisioned record.
func (d *daemon) unservedRecord(have []string, line string) string {
	c := d.zoneConfig()
	return c.Refuses(have, line, d.net.View().Status)
}

const (
	apexTries = 3
	apexTime  = 500 * time.Millisecond // for one server's answer
)

// apex asks name servers of the network, one after the other, for the apex of their
// zone.
func (d *daemon) apex(ctx context.Context) (*provisioning.Apex, error) {
	st := d.net.View().Status
	if st == nil {
		return nil, errors.New("no status")
	}
	errs := []error{errors.New("no name server answers")}
	ms := st.Roles[subjects.DNSManager]
	for i := range ms[:min(len(ms), apexTries)] {
		a, err := askApex(ctx, gather.AddressOf(&ms[i], nil), dns.Fqdn(d.file.Network.Domain))
		if err == nil {
			return a, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func askApex(ctx context.Context, server, domain string) (*provisioning.Apex, error) {
	a := &provisioning.Apex{Nameservers: []string{}}
	c := &dns.Client{Net: "tcp", Timeout: apexTime} // which no rate limit concerns
	for _, t := range []uint16{dns.TypeSOA, dns.TypeNS} {
		r, _, err := c.ExchangeContext(ctx, new(dns.Msg).SetQuestion(domain, t), server)
		if err != nil {
			return nil, err
		}
		for _, rr := range r.Answer {
			switch rr := rr.(type) {
			case *dns.SOA:
				a.Email = address(rr.Mbox)
				a.TTL, a.Minimum, a.Retry, a.Expire = int(rr.Hdr.Ttl), int(rr.Minttl), int(rr.Retry), int(rr.Expire)
				a.Serial = int(rr.Serial)
			case *dns.NS:
				a.Nameservers = append(a.Nameservers, strings.TrimSuffix(rr.Ns, "."))
			}
		}
	}
	if a.Email == "" {
		return nil, errors.New("the answer has no SOA record")
	}
	slices.Sort(a.Nameservers)
	return a, nil
}

// address is the mail address that a domain name stands for (RFC 1035 3.3.13).
func address(mbox string) string {
	labels := dns.SplitDomainName(mbox)
	if len(labels) < 2 {
		return mbox
	}
	return strings.ReplaceAll(labels[0], `\.`, ".") + "@" + strings.Join(labels[1:], ".")
}
