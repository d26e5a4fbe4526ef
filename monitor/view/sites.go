package view

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"thor/subjects"
)

// siteLines are a line for each site that a member names; none where none does. A site that no
// member's certificate names is marked: it does not count.
func siteLines(s *subjects.Status) string {
	type site struct {
		counts
		certified bool
	}
	sites := make(map[subjects.Site]*site)
	for _, r := range s.RoleNames() {
		for _, m := range s.Roles[r] {
			at := m.Place()
			if at == "" {
				continue
			}
			if sites[at] == nil {
				sites[at] = new(site)
			}
			x := sites[at]
			x.certified = x.certified || m.Site != ""
			x.total++
			if m.Serves() {
				x.serving++
			}
		}
	}
	var b strings.Builder
	for _, at := range slices.Sorted(maps.Keys(sites)) {
		x, note := sites[at], ""
		if !x.certified {
			note = ", announced only"
		}
		fmt.Fprintf(&b, "site %s: %d of %d members serve%s\n", safe(string(at), subjects.MaxSite), x.serving, x.total, note)
	}
	return b.String()
}
