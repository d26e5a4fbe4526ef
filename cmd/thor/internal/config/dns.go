package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"thor/dnsagent"
	"thor/dnsagent/powerdns"
	"thor/dnsagent/zone"
	"thor/overlay/setting"
)

// DNS configures the name server.
type DNS struct {
	Server dnsagent.Config `toml:",inline"`
	// Addresses that the name server announces.
	Addresses []netip.Addr `toml:"addresses" reload:"yes" default:"(those of the certificate)"`
	// Keep the default services of the roles that no [[dns.service]] names.
	ListedOnly bool `toml:"default_services,not" reload:"yes"`
	// Serve the records that are provisioned, by the Dns port of a provisioning server. They hide
	// no name of the network or of this file. All name servers have the same.
	FileOnly bool `toml:"provisioned,not"`
	// Address of metrics and health.
	HTTP string `toml:"http" form:"listen" default:"127.0.0.1:9504" off:"yes"`
	// Database of a PowerDNS that is kept in step with the zone.
	PowerDNS *PowerDNS `toml:"powerdns" default:"(none)"`
}

// PowerDNS is the database of a PowerDNS that is kept in step with the zone.
type PowerDNS struct {
	Writer powerdns.Config `toml:",inline"`
	// Authorities in PEM that the database server's certificate must be from, for tls=true.
	CA string `toml:"ca" form:"file" default:"(the system's)"`
}

// Zone is what the section makes of the zone of domain: with the default services
// after those of the file.
func (d *DNS) Zone(domain string) zone.Config {
	c := d.Server.Zone
	c.Domain = domain
	listed := append([]zone.Service{}, c.Services...)
	if c.Services = listed; d.ListedOnly {
		return c
	}
	for _, s := range zone.DefaultConfig(domain).Services {
		if !slices.ContainsFunc(listed, func(l zone.Service) bool { return l.Role == s.Role }) {
			c.Services = append(c.Services, s)
		}
	}
	return c
}

func (d *DNS) check(f *File) {
	if p := d.PowerDNS; p != nil {
		if d.Server.KeyFile != "" {
			f.d.add("dns.dnssec_key_file", "cannot be used with [dns.powerdns]: PowerDNS would have the keys' records and no signatures; it can sign by itself")
		}
		f.addAll("dns.powerdns", p.Writer.Validate())
		if p.CA != "" && !p.Writer.DSN.IsZero() && !p.Writer.DSN.TLS() {
			f.d.add("dns.powerdns.ca", "is an authority to trust, but uri does not say tls=true")
		}
	}
	c := d.Server
	c.Zone = d.Zone(f.Network.Domain)
	for _, p := range c.Validate() {
		var i int
		switch n, _ := fmt.Sscanf(p.Key, "service[%d]", &i); {
		case strings.HasPrefix(p.Key, "domain"):
			f.addAll("network", []setting.Problem{p})
		case n == 1 && i >= len(d.Server.Zone.Services): // a default one
			f.d.add("dns.default_services", "%s", p.Text)
		default:
			f.addAll("dns", []setting.Problem{p})
		}
	}
}
