package view

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"thor/subjects"
)

// placed adds to places where the nodes of s are: of who is lost the status does not say it.
func placed(places map[subjects.NodeID]subjects.Site, s *subjects.Status) map[subjects.NodeID]subjects.Site {
	next := places
	for _, ms := range s.Roles {
		for i := range ms {
			n, at := ms[i].Node, ms[i].Place()
			if at == "" || next[n] == at {
				continue
			}
			if len(next) == len(places) { // the map of the model before stays as it is
				if next = maps.Clone(places); next == nil {
					next = make(map[subjects.NodeID]subjects.Site)
				}
			}
			next[n] = at
		}
	}
	return next
}

// silentSites are the sites of which the newest word is that nothing is heard. A manager that
// begins to lead tells anew which they are.
func silentSites(events []subjects.Event) map[subjects.Site]time.Time {
	var out map[subjects.Site]time.Time
	for i := range events {
		switch e := &events[i]; e.Kind {
		case subjects.EventElected:
			out = nil
		case subjects.EventGuard, subjects.EventGuardEnd:
			at := e.GuardedSite()
			if at == "" {
				continue
			}
			if delete(out, at); e.Kind == subjects.EventGuard {
				if out == nil {
					out = make(map[subjects.Site]time.Time)
				}
				out[at] = e.Time
			}
		}
	}
	return out
}

// sitesLine says how each site is, on every page.
func (m *Model) sitesLine() string {
	line := " sites  "
	for i := range m.sites {
		x := &m.sites[i]
		it, t := m.siteWords(x)
		more := fmt.Sprintf("  +%d", len(m.sites)-i)
		if width(line)+2+width(it)+len(more) > m.width && i < len(m.sites)-1 || width(line)+2+width(it) > m.width {
			return line + more
		}
		line += m.paint(t, it) + "  "
	}
	return strings.TrimRight(line, " ")
}

// siteWords are the counts of a site, and what is wrong with it.
func (m *Model) siteWords(x *Site) (string, tone) {
	s := fmt.Sprintf("%s %d/%d", siteName(x.Site), x.Serving, x.Total)
	if !x.Certified {
		s += " announced only"
	}
	since, silent := m.silent[x.Site]
	switch {
	case x.Lost > 0 && x.Serving == 0:
		return fmt.Sprintf("✗ %s lost %d", s, x.Lost), alarm
	case silent:
		return fmt.Sprintf("◐ %s silent %s", s, seconds(m.now.Sub(since))), alarm
	case x.Lost > 0:
		return fmt.Sprintf("◐ %s lost %d", s, x.Lost), alarm
	case x.Suspect > 0 || x.Serving == 0 && x.Draining == 0:
		return "◐ " + s, alarm
	}
	return s, normal
}

// grouped reports whether members are shown in their sites.
func (m *Model) grouped() bool { return m.bySite && len(m.sites) > 0 }

// groupBySite shows members in sites, or in roles again. The chosen one stays chosen.
func (m Model) groupBySite() Model {
	if m.page == membersPage && len(m.sites) > 0 {
		m.bySite = !m.bySite
	}
	return m
}

// rowsBySite are the members in their sites, each below a heading: who is lost or held first,
// then by role and address, or by the key that was chosen. Those of no site come last.
func (m *Model) rowsBySite(f filter) []row {
	all := m.sortedRows(f)
	if m.sort[membersPage] == (sorting{}) {
		slices.SortStableFunc(all, func(a, b row) int {
			return cmp.Or(-compareBool(a.gone, b.gone), cmp.Compare(a.role, b.role), a.m.Address().Compare(b.m.Address()))
		})
	}
	shown := make(map[subjects.Site][]row)
	for _, r := range all {
		shown[r.m.Place()] = append(shown[r.m.Place()], r)
	}
	var out []row
	for i := range m.sites {
		x := &m.sites[i]
		if rows := shown[x.Site]; len(rows) > 0 || len(f) == 0 {
			out = append(append(out, row{site: x}), rows...)
			delete(shown, x.Site)
		}
	}
	for _, at := range slices.Sorted(maps.Keys(shown)) {
		if at != "" { // none of its members is left, and they went one by one
			out = append(append(out, row{title: siteName(at) + "  no member is left", t: alarm}), shown[at]...)
		}
	}
	if rows := shown[""]; len(rows) > 0 {
		out = append(append(out, row{title: "no site", t: strong}), rows...)
	}
	return out
}

// siteHeading is the heading of a site: its counts, and those of its roles.
func (m *Model) siteHeading(x *Site) string {
	words, t := m.siteWords(x)
	if t == normal {
		t = strong
	}
	for _, r := range m.roles() {
		var c counts
		for ms, i := m.members(r), 0; i < len(ms); i++ {
			if ms[i].Place() == x.Site {
				c.add(&ms[i])
			}
		}
		if c.total > 0 {
			words += fmt.Sprintf("  %s %d/%d", safe(string(r), 63), c.serving, c.total)
		}
	}
	return m.paint(t, words)
}

// roleBar is one sign for each member of a role, by site where there are any.
func (m *Model) roleBar(r subjects.Role) string {
	ms := m.members(r)
	if len(m.sites) == 0 {
		return m.bar(count(ms), m.most[r])
	}
	by := make(map[subjects.Site]*counts)
	for i := range ms {
		at := ms[i].Place()
		if by[at] == nil {
			by[at] = new(counts)
		}
		by[at].add(&ms[i])
	}
	var parts []string
	for _, at := range slices.Sorted(maps.Keys(by)) {
		name := "no site"
		if at != "" {
			name = siteName(at)
		}
		parts = append(parts, name+" "+m.bar(*by[at], by[at].total))
	}
	if gone := m.most[r] - len(ms); gone > 0 {
		parts = append(parts, m.paint(faint, fmt.Sprintf("%d gone", gone)))
	}
	return strings.Join(parts, "  ")
}

// withSite is cols with the site behind the node where there are sites.
func (m *Model) withSite(cols []column) []column {
	if len(m.sites) == 0 {
		return cols
	}
	i := slices.IndexFunc(cols, func(c column) bool { return c.title == nodeOf.title })
	return slices.Insert(slices.Clone(cols), i+1, siteOf)
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
