package doctor

import (
	"fmt"
	"strings"

	"thor/subjects"
)

// sites say what the loss of each site would cost. Members whose site is not known stay.
func sites(st *subjects.Status) (fs []Finding) {
	var free []string // sites that may be lost
	for _, at := range st.Places() {
		if cost := costOf(st, at); len(cost) > 0 {
			fs = append(fs, Finding{
				Note, fmt.Sprintf("the loss of site %s: %s", at, strings.Join(cost, "; ")),
				"no site with half of the brokers with JetStream or more, and members of each role in two sites (docs/operate.md, Sites)",
			})
			continue
		}
		free = append(free, string(at))
	}
	if len(free) > 0 {
		fs = append(fs, ok("a site may be lost, with a majority of the brokers left and members of each role: %s", strings.Join(free, ", ")))
	}
	return fs
}

// costOf is what would be missing without a site.
func costOf(st *subjects.Status, site subjects.Site) (cost []string) {
	all, left := 0, 0 // brokers with JetStream; those elsewhere on which it works
	for i := range st.Roles[subjects.EventServer] {
		m := &st.Roles[subjects.EventServer][i]
		switch js := m.Attrs[subjects.AttrJetStream]; {
		case js == "": // it is not to run there
			continue
		case m.Place() != site && js == "ok" && m.State == subjects.Up:
			left++
		}
		all++
	}
	for _, l := range st.Lost { // they count for a majority until they are taken out
		if l.Role == subjects.EventServer {
			all++
		}
	}
	if all > 0 && left <= all/2 {
		cost = append(cost, fmt.Sprintf("%d of %d brokers with JetStream are left, no majority: no manager is elected, and no status changes", left, all))
	}
	var last []string
	for _, x := range st.Without(site) {
		if x.Left == 0 && x.Role != subjects.Monitor {
			last = append(last, string(x.Role))
		}
	}
	if len(last) > 0 {
		cost = append(cost, "nothing is left of "+strings.Join(last, ", "))
	}
	return cost
}
