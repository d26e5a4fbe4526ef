package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"thor/subjects"
)

var siteMembersDesc = prometheus.NewDesc("thor_site_members",
	"Members in the status by where they are, announced sites too; none without a site. The active manager alone has it.", []string{"site", "role", "state"}, nil)

// siteMembers tells of the members of each site. Both functions are called with each scrape.
type siteMembers struct {
	status func() *subjects.Status
	active func() bool
}

// Describe makes it a prometheus.Collector.
func (siteMembers) Describe(out chan<- *prometheus.Desc) { out <- siteMembersDesc }

// Collect makes it a prometheus.Collector. Where a role has a member, each state has a value.
func (s siteMembers) Collect(out chan<- prometheus.Metric) {
	status := s.status()
	if status == nil || !s.active() {
		return
	}
	type place struct {
		site subjects.Site
		role subjects.Role
	}
	counts := make(map[place]map[subjects.State]int)
	for role, ms := range status.Roles {
		for i := range ms {
			at := place{ms[i].Place(), role}
			if at.site == "" {
				continue
			}
			if counts[at] == nil {
				counts[at] = map[subjects.State]int{subjects.Up: 0, subjects.Suspect: 0, subjects.Draining: 0}
			}
			counts[at][ms[i].State]++
		}
	}
	for at, states := range counts {
		for state, n := range states {
			out <- prometheus.MustNewConstMetric(siteMembersDesc, prometheus.GaugeValue, float64(n), string(at.site), string(at.role), string(state))
		}
	}
}
