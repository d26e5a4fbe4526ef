package broker

import (
	"cmp"
	"fmt"
	"maps"
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

// carries reports whether JetStream runs on this broker: not where no entry of JetStreamSites is
// for its site, nor where WithoutJetStream says so.
func (c *Config) carries() bool {
	return !c.WithoutJetStream && (len(c.JetStreamSites) == 0 || slices.Contains(c.JetStreamSites, string(c.site())))
}

// Warnings are what c permits and a lost site would not forgive.
func (c Config) Warnings() (ps []setting.Problem) {
	c = c.withDefaults()
	warn := func(format string, args ...any) {
		ps = append(ps, setting.Problem{Key: "jetstream_sites", Text: fmt.Sprintf(format, args...)})
	}
	if c.ClusterListen == "" || c.site() == "" && len(c.JetStreamSites) == 0 {
		return nil
	}
	if !c.spreads() {
		warn("names fewer than %d sites: all copies of the lease and of the status may lie in one; two sites need a third one with a broker, as a witness", leastSites)
	}
	total := len(c.JetStreamSites)
	count := make(map[string]int)
	for _, s := range c.JetStreamSites {
		count[s]++
	}
	for _, s := range slices.Sorted(maps.Keys(count)) {
		if left := total - count[s]; left <= total/2 {
			warn("the loss of site %s would leave %d of %d brokers with JetStream, no majority: have three, one a site, or five, two a site at most", s, left, total)
		}
	}
	return ps
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
	if c.WithoutJetStream && c.ClusterListen == "" {
		bad("without_jetstream", "a broker that stands alone is the only one that can have it")
	}
	return ps
}
