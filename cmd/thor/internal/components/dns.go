package components

import (
	"thor/cmd/thor/internal/config"
	"thor/dnsagent/powerdns"
)

// PowerDNS is the writer of the file's database of a PowerDNS, nil without one, with the
// problems of reading what it refers to.
func PowerDNS(f *config.File) (*powerdns.Config, config.Problems) {
	p := f.DNS.PowerDNS
	if p == nil {
		return nil, nil
	}
	c := p.Writer
	c.Domain = f.Network.Domain
	var err error
	if c.Roots, err = Roots(p.CA); err != nil {
		return nil, config.Problems{f.Problem("dns.powerdns.ca", "%v", err)}
	}
	return &c, nil
}
