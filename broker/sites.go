package broker

import (
	"cmp"
	"fmt"
	"slices"

	"thor/overlay/setting"
	"thor/subjects"
)

// siteTag begins the tag by which nats-server knows where a broker is.
const siteTag = "site:"

// leastSites is in how many sites brokers with JetStream have to be before copies are kept in
// different ones: nats-server refuses to make three copies where it finds fewer.
const leastSites = 3

// site is where the broker is: its certificate decides.
func (c *Config) site() subjects.Site {
	if c.Identity == nil {
		return c.Site
	}
	return cmp.Or(c.Identity.Site, c.Site)
}

// spreads reports whether copies are to lie in different sites.
func (c *Config) spreads() bool {
	sites := slices.Clone(c.JetStreamSites)
	slices.Sort(sites)
	return len(slices.Compact(sites)) >= leastSites
}

func (c *Config) checkSites() (ps []setting.Problem) {
	bad := func(key, format string, args ...any) {
		ps = append(ps, setting.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if c.Identity != nil && c.Site != "" && c.Identity.Site != "" && c.Site != c.Identity.Site {
		bad("", "site %s, and the certificate says %s: they have to agree", c.Site, c.Identity.Site)
	}
	for i, s := range c.JetStreamSites {
		if site, err := subjects.ParseSite(s); err != nil || site == "" {
			bad(fmt.Sprintf("jetstream_sites[%d]", i), "%q is not a site: 1 to %d characters of a-z, 0-9 and hyphens", subjects.Printable(s, 40), subjects.MaxSite)
		}
	}
	// Without a certificate the site may be in it.
	if c.Identity != nil && len(c.JetStreamSites) > 0 && !slices.Contains(c.JetStreamSites, string(c.site())) {
		bad("jetstream_sites", "the site of this broker, %q, is not among them", c.site())
	}
	return ps
}
